"""Values that satisfy a table's own conditions (CHECKs, domains, partitions), found by asking the database.

A condition is evaluated as it stands over many candidates: constants it names, their neighbours, texts made from its
patterns, ordinary values. So any condition is understood that one of the candidates satisfies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from toolkit.migrate.rows.shapes import Column, Shape
from toolkit.migrate.rows.values import alternatives, literal, natural
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_rows as sql
from toolkit.sql.quoting import quote_identifier

_DEADLINE_S = 30
_MOST_COMBINATIONS = 20_000
_MOST_ALONE = 400
_MOST_KEPT = 200
_VALUE = re.compile(r"\bVALUE\b")

Values = dict[str, str | None]


@dataclass(frozen=True)
class _Part:
    """Columns that conditions tie together, and those conditions."""

    columns: tuple[str, ...]
    conditions: tuple[str, ...]


async def fitting(
    conn: Connection,
    shape: Shape,
    serials: Sequence[int],
    fixed: Mapping[str, Sequence[str | None]],
) -> list[list[Values]]:
    """For each group of columns that conditions tie together: combinations of values that satisfy them all.

    `fixed` limits columns to these values (a foreign key's, or those that the caller gave). A group for which nothing
    was found, or whose conditions cannot be evaluated by themselves, is left out: the table will say what it wants.
    """
    found = []
    for part in _parts(shape):
        combinations = await _solve(conn, shape, part, serials, fixed)
        if combinations:
            found.append(_varied(shape, combinations))
    return found


def _parts(shape: Shape) -> list[_Part]:
    groups: list[tuple[set[str], list[str]]] = []
    wanted = [(set(condition.columns), condition.expression) for condition in shape.conditions]
    for column in shape.columns:
        name = quote_identifier(column.name)
        wanted += [({column.name}, name.join(_VALUE.split(check))) for check in column.kind.checks]
    for columns, expression in wanted:
        touching = [group for group in groups if group[0] & columns]
        merged = (columns.union(*(g[0] for g in touching)), [*(e for g in touching for e in g[1]), expression])
        groups = [group for group in groups if group not in touching] + [merged]
    known = {column.name for column in shape.columns}
    return [_Part(tuple(c.name for c in shape.columns if c.name in g[0]), tuple(g[1])) for g in groups if g[0] <= known]


async def _solve(
    conn: Connection,
    shape: Shape,
    part: _Part,
    serials: Sequence[int],
    fixed: Mapping[str, Sequence[str | None]],
) -> list[Values]:
    columns = [shape.column(name) for name in part.columns]
    if any(column.generated or (column.counted and column.name not in fixed) for column in columns):
        return []
    most = _MOST_ALONE if len(columns) == 1 else max(3, int(_MOST_COMBINATIONS ** (1 / len(columns))))
    pools = {
        column.name: list(fixed[column.name]) if column.name in fixed else _pool(column, serials, part.conditions, most)
        for column in columns
    }
    joined = " || '|' || ".join(f"coalesce(t{number}, '')" for number in range(len(columns)))
    query = sql.FITTING.format(
        texts=", ".join(f"t{number}" for number in range(len(columns))),
        pools=", ".join(
            sql.POOL.format(
                number=number,
                type=_base_type(column),
                column=quote_identifier(column.name),
                values=", ".join(literal(value) for value in pools[column.name][:most]),
            )
            for number, column in enumerate(columns)
        ),
        conditions=" and ".join(sql.HOLDS.format(condition=condition) for condition in part.conditions),
        texts_joined=joined,
        limit=_MOST_KEPT,
    )
    savepoint = conn.transaction()
    await savepoint.start()
    try:
        rows = await conn.fetch(query, timeout=_DEADLINE_S)
    except asyncpg.PostgresError:
        # A candidate that the type cannot read, a function that objects: the table itself will be the judge.
        return []
    finally:
        await savepoint.rollback()
    return [dict(zip(part.columns, row.values(), strict=True)) for row in rows]


def _base_type(column: Column) -> str:
    """The domain itself would raise for a candidate that does not fit; its conditions are asked like any other."""
    if not column.kind.checks:
        return column.type
    return {"varchar": "text", "bpchar": "text", "bool": "boolean"}.get(column.kind.name, column.kind.name)


def _pool(column: Column, serials: Sequence[int], conditions: Sequence[str], most: int) -> list[str | None]:
    ordinary = [natural(column.kind, column.name, serial) for serial in serials]
    others = list(alternatives(column.kind, column.name, serials[0], conditions))
    ends: list[str | None] = [] if column.not_null else [None]
    # Both deserve room where it is tight: a few ordinary ones, then what the conditions name.
    few = max(1, most // 3)
    mixed = [*ordinary[:few], *others[: most - few - 1], *ordinary[few:], *others]
    return [*list(dict.fromkeys(mixed))[: most - len(ends)], *ends]


def _varied(shape: Shape, combinations: list[Values]) -> list[Values]:
    """Where a column is unique by itself, each of its values once; rows without NULL before rows with."""
    alone = {names[0] for names in (shape.primary_key, *shape.uniques) if len(names) == 1}
    kept: list[Values] = []
    seen: set[tuple[str, str]] = set()
    for values in combinations:
        marks = {(name, value) for name, value in values.items() if name in alone and value is not None}
        if not marks & seen:
            kept.append(values)
            seen |= marks
    return sorted(kept, key=lambda values: sum(value is None for value in values.values()) > len(values) // 2)
