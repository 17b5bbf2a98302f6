"""One plausible row for a table of any schema: inserted, as a statement, and the updates that it allows.

A row refers to existing rows, satisfies the table's conditions where fitting values are found, and differs for each
serial number. When the table refuses it all the same, the error has the database's message.
"""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from toolkit.migrate.rows.inserting import (
    DEADLINE_S,
    FIRST_TRY,
    TRIES,
    Row,
    RowRefused,
    insert,
    plan_rows,
    statement,
    where_key,
    words,
)
from toolkit.migrate.rows.shapes import Column, Shape
from toolkit.migrate.rows.values import literal, natural, successor
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_rows as sql
from toolkit.sql.quoting import quote_identifier


async def insert_row(
    conn: Connection,
    shapes: Mapping[str, Shape],
    table: str,
    serial: int,
    given: Mapping[str, str | None] | None = None,
) -> Row:
    """Insert one row, different for each `serial` (from 1); `given` are values (text) that it must have.

    Inside the caller's transaction a savepoint. Raises RowRefused with the reason of the first of several attempts.
    """
    refusal: RowRefused | None = None
    for style in TRIES:
        try:
            async with conn.transaction():
                await conn.execute(sql.BOUND, timeout=DEADLINE_S)
                rows = await insert(conn, shapes[table], [serial], given or {}, style)
        except RowRefused as refused:
            refusal = refusal or refused
            continue
        except (asyncpg.PostgresError, TimeoutError) as error:
            refusal = refusal or RowRefused(table, words(error))
            continue
        if rows:
            return rows[0]
        refusal = refusal or RowRefused(table, "it answers an INSERT with no row: a trigger or a rule discards it")
    assert refusal is not None
    raise refusal


async def insert_statement(
    conn: Connection,
    shapes: Mapping[str, Shape],
    table: str,
    serial: int,
    given: Mapping[str, str | None] | None = None,
) -> str:
    """The INSERT that `insert_row` would try first, as one statement. Raises RowRefused when a parent has no row."""
    async with conn.transaction():
        await conn.execute(sql.BOUND, timeout=DEADLINE_S)
        return statement(shapes[table], await plan_rows(conn, shapes[table], [serial], given or {}, FIRST_TRY))


def update_statements(shape: Shape, row: Row, *, next_values: bool = False) -> dict[str, str]:
    """Column → an UPDATE of this row that sets it: to the value it has, or (`next_values`) to the next plausible one.

    Keys, unique columns and references always keep their values.
    """
    tied = {name for names in (shape.primary_key, *shape.uniques) for name in names}
    tied |= {name for key in shape.foreign_keys for name in key.columns}
    found = {}
    for column in shape.columns:
        if not column.updatable:
            continue
        value = row.values[column.name]
        if next_values and column.name not in tied:
            value = _next(column, value)
        found[column.name] = sql.UPDATE.format(
            table=shape.quoted,
            column=quote_identifier(column.name),
            value=literal(value, column.type),
            where=where_key(shape, row),
        )
    return found


def _next(column: Column, value: str | None) -> str | None:
    if value is None:
        return (column.choices or (natural(column.kind, column.name, 1),))[0]
    if value in column.choices:
        return column.choices[(column.choices.index(value) + 1) % len(column.choices)]
    other = successor(column.kind, value)
    return value if other is None else other
