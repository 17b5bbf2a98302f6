"""The rows of all tables at one moment, read so that the same value reads the same after its column's type changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import asyncpg

from toolkit.migrate.catalog import reading
from toolkit.migrate.row_comparison.table_rows import RowChanges, TableRows, compare_rows, fetch_rows
from toolkit.migrate.rows.shapes import Column, Shape
from toolkit.postgres.connection import Connection
from toolkit.sql import row_comparison as sql
from toolkit.sql.quoting import quote_identifier

_DEADLINE_S = 300
_MOST_ROWS = 20_000  # of one table; of a larger one every second, third … row is looked at


@dataclass(frozen=True)
class Picture:
    """Of every table that exists; `shapes` say how its values were read."""

    shapes: Mapping[str, Shape]
    tables: Mapping[str, TableRows]

    @property
    def rows(self) -> int:
        """How many rows were looked at."""
        return sum(len(table.rows) for table in self.tables.values())


async def take_picture(conn: Connection, shapes: Mapping[str, Shape], reference: Picture | None = None) -> Picture:
    """Look at every row of `shapes`; with a `reference`, at its tables and columns only, read as it read them.

    Of generated columns nothing is kept: their values follow from others.
    """
    found = {}
    async with reading(conn):
        for table, shape in shapes.items():
            if reference is None:
                found[table] = await _take(conn, shape, shape, None)
            elif table in reference.tables:
                found[table] = await _take(conn, shape, reference.shapes[table], reference.tables[table])
    return Picture(shapes if reference is None else reference.shapes, found)


async def _take(conn: Connection, shape: Shape, old: Shape, reference: TableRows | None) -> TableRows:
    present = {column.name: column for column in shape.columns if not column.generated}
    wanted = [column for column in old.columns if column.name in present and not column.generated]
    if reference is not None:
        wanted = [column for column in wanted if column.name in reference.columns]
    values = {column.name: await _value(conn, shape, present[column.name], column) for column in wanted}
    key = reference.key if reference is not None else _key(shape)
    keyed = bool(key) and set(key) <= values.keys()
    key_text = sql.KEY.format(parts=", ".join(values[name] for name in key)) if keyed else sql.NO_KEY
    one_in = reference.one_in if reference is not None else await _one_in(conn, shape, keyed=keyed)
    where = sql.ONE_IN.format(key=key_text, parts=one_in) if one_in > 1 and keyed else ""
    rows = await fetch_rows(conn, _own_rows(shape), key_text, values.values(), where)
    return TableRows(shape.table, tuple(values), rows, key, one_in)


def _own_rows(shape: Shape) -> str:
    """Without the rows of tables that inherit from it: those are looked at as theirs."""
    return shape.quoted if shape.partitioned else f"only {shape.quoted}"


def _key(shape: Shape) -> tuple[str, ...]:
    """Primary key, or what else tells rows apart and is never NULL."""
    never_null = [names for names in shape.uniques if all(shape.column(name).not_null for name in names)]
    usable = [names for names in (shape.primary_key, *never_null) if names]
    return next((names for names in usable if not any(shape.column(name).generated for name in names)), ())


async def _one_in(conn: Connection, shape: Shape, *, keyed: bool) -> int:
    if not keyed:
        return 1
    rows = int(await conn.fetchval(sql.COUNT.format(table=_own_rows(shape)), timeout=_DEADLINE_S))
    return rows // _MOST_ROWS + 1


async def _value(conn: Connection, shape: Shape, now: Column, then: Column) -> str:
    """How to read a column so that the value it had reads the same in its present type, where that is possible."""
    quoted = quote_identifier(now.name)
    if now.type == then.type or _family(now) == _family(then) != "":
        return _canonical(now, quoted)
    for template in (sql.CAST, sql.CAST_BY_TEXT):
        value = _canonical(then, template.format(column=quoted, type=then.type))
        savepoint = conn.transaction()
        await savepoint.start()
        try:
            await conn.execute(sql.TRY.format(value=value, table=_own_rows(shape)), timeout=_DEADLINE_S)
        except asyncpg.PostgresError:
            continue  # the old type cannot be made of it this way
        finally:
            await savepoint.rollback()
        return value
    return _canonical(now, quoted)


def _canonical(column: Column, value: str) -> str:
    return {
        "number": sql.NUMBER,
        "moment": sql.MOMENT if column.kind.name == "timestamptz" else sql.TEXT,
        "document": sql.DOCUMENT,
    }.get(_family(column), sql.TEXT).format(column=value)


def _family(column: Column) -> str:
    """Types of one family read alike; '' for those that stand alone."""
    kind = column.kind
    if kind.shape == "enum" or (kind.shape == "base" and (kind.category == "S" or kind.name == "uuid")):
        return "text"
    if kind.shape != "base":
        return ""
    if kind.name in {"int2", "int4", "int8", "numeric"}:
        return "number"
    if kind.name in {"timestamp", "timestamptz"}:
        return "moment"
    return "document" if kind.name in {"json", "jsonb"} else ""


def compare(before: Picture, after: Picture, *, only_common: bool = False) -> tuple[RowChanges, ...]:
    """What became of the rows of `before`; a table whose rows are as they were is not mentioned. Pure.

    `only_common` leaves out what `after` has no table or column for.
    """
    found = []
    for table, old in before.tables.items():
        new = after.tables.get(table)
        if new is None:
            if not only_common and old.rows:
                found.append(RowChanges(table, gone=True))
            continue
        changes = compare_rows(old, new)
        if only_common or not old.rows:
            changes = replace(changes, missing_columns=())
        if changes.lines():
            found.append(changes)
    return tuple(found)
