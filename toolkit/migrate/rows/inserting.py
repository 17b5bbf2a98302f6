"""One INSERT into a table of any schema: which values its rows get, and the statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from toolkit.errors import ToolkitError
from toolkit.migrate.rows.fitting import Values, fitting
from toolkit.migrate.rows.shapes import Column, ForeignKey, Shape
from toolkit.migrate.rows.values import alternatives, literal, natural
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_rows as sql
from toolkit.sql.quoting import quote_identifier

DEADLINE_S = 30
SHIFT = 1000  # serials of rows that must keep out of the way of others
_MOST_KEYS = 60


class RowRefused(ToolkitError):
    """A table takes no such row; `table`, and `why` in the database's own words."""

    def __init__(self, table: str, why: str) -> None:
        super().__init__(f"{table} takes no row: {why}", "Give it rows with --seed-data.")
        self.table = table
        self.why = why


@dataclass(frozen=True)
class Row:
    """A row as the database returned it: every column, generated ones too, as text."""

    table: str
    values: Mapping[str, str | None]


@dataclass(frozen=True)
class Style:
    """How much of a row is written: only what it cannot do without, or all; and whether with some NULLs."""

    required_only: bool = False
    nulls: bool = True
    shift: int = 0


FIRST_TRY = Style()
TRIES = (
    FIRST_TRY,
    Style(nulls=False),
    Style(required_only=True),
    Style(shift=SHIFT),
    Style(required_only=True, shift=2 * SHIFT),
)


async def insert(
    conn: Connection, shape: Shape, serials: Sequence[int], given: Mapping[str, str | None], style: Style
) -> list[Row]:
    plan = await plan_rows(conn, shape, serials, given, style)
    if not any(plan):
        query = sql.INSERT_DEFAULTS.format(table=shape.quoted, returned=returned(shape))
        records = [record for _ in plan for record in await conn.fetch(query, timeout=DEADLINE_S)]
    else:
        records = await conn.fetch(statement(shape, plan), timeout=DEADLINE_S)
    names = [column.name for column in shape.columns]
    # A table without columns returns one all the same, see `returned`.
    return [Row(shape.table, dict(zip(names, record.values(), strict=bool(names)))) for record in records]


def returned(shape: Shape) -> str:
    return ", ".join(sql.AS_TEXT.format(column=quote_identifier(column.name)) for column in shape.columns) or "1"


def statement(shape: Shape, plan: Sequence[Values]) -> str:
    written = [column for column in shape.columns if any(column.name in values for values in plan)]
    if not written:
        return sql.INSERT_DEFAULTS.format(table=shape.quoted, returned=returned(shape))
    rows = (
        "(" + ", ".join(literal(v[c.name], c.type) if c.name in v else "default" for c in written) + ")" for v in plan
    )
    return sql.INSERT.format(
        table=shape.quoted,
        columns=", ".join(quote_identifier(column.name) for column in written),
        overriding=sql.OVERRIDING if any(column.identity == "a" for column in written) else "",
        rows=", ".join(rows),
        returned=returned(shape),
    )


async def plan_rows(
    conn: Connection, shape: Shape, serials: Sequence[int], given: Mapping[str, str | None], style: Style
) -> list[Values]:
    """Column → value for each row; a column that is missing takes its default. Raises RowRefused."""
    parents = [(key, await keys_of(conn, key)) for key in shape.foreign_keys if not set(key.columns) <= given.keys()]
    fixed: dict[str, Sequence[str | None]] = {name: [value] for name, value in given.items()}
    for key, rows in parents:
        for place, name in enumerate(key.columns):
            if name not in fixed and key.table != shape.table:
                null = () if shape.column(name).not_null else (None,)
                fixed[name] = [*dict.fromkeys(row[place] for row in rows), *null]
    wanted = [serial + style.shift for serial in serials]
    groups = await fitting(conn, shape, wanted, fixed) if shape.conditions or _has_checks(shape) else []
    return [_row(shape, serial, given, style, groups=groups, parents=parents) for serial in wanted]


def _has_checks(shape: Shape) -> bool:
    return any(column.kind.checks for column in shape.columns)


def _row(
    shape: Shape,
    serial: int,
    given: Mapping[str, str | None],
    style: Style,
    *,
    groups: Sequence[Sequence[Values]],
    parents: Sequence[tuple[ForeignKey, Sequence[tuple[str, ...]]]],
) -> Values:
    values: Values = dict(given)
    for group in groups:
        matching = [choice for choice in group if all(choice.get(n, v) == v for n, v in values.items())]
        if matching and not (style.required_only and not any(shape.column(n).required for n in matching[0])):
            values.update(matching[serial % len(matching)])
    for place, (key, rows) in enumerate(sorted(parents, key=lambda parent: -len(parent[0].columns))):
        step = serial + place * (serial // max(len(rows), 1))
        _refer(shape, values, key, rows, turn=step, serial=serial, style=style)
    for number, column in enumerate(shape.columns):
        if column.name not in values and not column.generated and _is_written(shape, column, serial + number, style):
            values[column.name] = _value(column, serial, style, number)
    return values


def _is_written(shape: Shape, column: Column, turn: int, style: Style) -> bool:
    if column.required:
        return True
    if style.required_only or column.counted or column.generated:
        return False
    if column.has_default:
        # Of keys the application's own are as good as any; of the rest every other row shows something else.
        return column.name not in shape.primary_key and turn % 2 == 0
    return True


def _value(column: Column, serial: int, style: Style, number: int) -> str | None:
    if not column.not_null and style.nulls and (serial + number) % 6 == 5:
        return None
    if column.choices:
        return column.choices[serial % len(column.choices)]
    if column.kind.checks and (mined := alternatives(column.kind, column.name, serial)):
        return mined[0]
    return natural(column.kind, column.name, serial)


def _refer(
    shape: Shape,
    values: Values,
    key: ForeignKey,
    rows: Sequence[tuple[str, ...]],
    *,
    turn: int,
    serial: int,
    style: Style,
) -> None:
    """Make the row refer to one of `rows`, agreeing with what it already has. Raises RowRefused."""
    if any(name in values and values[name] is None for name in key.columns):
        return
    open_ones = [name for name in key.columns if name not in values]
    if not open_ones and any(tuple(values[name] for name in key.columns) == row for row in rows):
        return
    nullable = [name for name in open_ones if not shape.column(name).not_null]
    agreeing = [row for row in rows if all(values.get(n, v) == v for n, v in zip(key.columns, row, strict=True))]
    if agreeing and not (nullable and (style.required_only or (style.nulls and turn % 7 == 6))):
        values.update(zip(key.columns, agreeing[turn % len(agreeing)], strict=True))
    elif nullable:
        values.update(dict.fromkeys(nullable, None))
    elif key.table == shape.table:
        for name, referred in zip(key.columns, key.references, strict=True):
            own = natural(shape.column(referred).kind, referred, serial)
            values[referred] = values[name] = values.get(name) or values.get(referred) or own
    elif any(shape.column(name).required for name in open_ones) or open_ones:
        raise RowRefused(shape.table, f"{key.table}, which it refers to, holds no row that fits")


async def keys_of(conn: Connection, key: ForeignKey) -> list[tuple[str, ...]]:
    schema, _, name = key.table.partition(".")
    columns = [quote_identifier(column) for column in key.references]
    query = sql.KEYS.format(
        columns=", ".join(sql.AS_TEXT.format(column=column) for column in columns),
        table=f"{quote_identifier(schema)}.{quote_identifier(name)}",
        present=" and ".join(f"{column} is not null" for column in columns),
        limit=_MOST_KEYS,
    )
    return [tuple(record.values()) for record in await conn.fetch(query, timeout=DEADLINE_S)]


def words(error: BaseException) -> str:
    """The database's own words."""
    if isinstance(error, asyncpg.PostgresError):
        return f"{' '.join(str(error).split())} [{error.sqlstate}]"
    return f"no answer within {DEADLINE_S} s"


def where_key(shape: Shape, row: Row) -> str:
    """The SQL condition that finds exactly this row: by primary key, else by every column (its twins too, then)."""
    if shape.primary_key:
        return " and ".join(
            f"{quote_identifier(name)} = {literal(row.values[name], shape.column(name).type)}"
            for name in shape.primary_key
        )
    return " and ".join(
        f"{quote_identifier(name)}::text is not distinct from {literal(value)}" for name, value in row.values.items()
    )
