"""The statements of an application that knows only the old schema, and whether the database still accepts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg

from toolkit.migrate.rows.inserting import Row, RowRefused, where_key
from toolkit.migrate.rows.one_row import insert_row
from toolkit.migrate.rows.shapes import Column, Shape
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_locks as sql

Verb = Literal["insert", "select", "update", "delete", "commit"]
_DEADLINE_S = 30
_SERIAL = 700_000  # far from the rows that were seeded
# An application lets a counter give its numbers. These clients write them down, out of reach of the counter: a
# migration that inserts rows takes the next ones.
_FAR = {"int2": 32_000, "int4": 1_900_000_000, "int8": 1_900_000_000, "numeric": 1_900_000_000}


@dataclass(frozen=True)
class ClientStatement:
    """One statement of an old client."""

    table: str
    verb: Verb
    sql: str

    @property
    def reads(self) -> bool:
        """Whether a reader sends it; writers send the others."""
        return self.verb == "select"


@dataclass(frozen=True)
class Client:
    """An old client of one table: what it says, in the order in which it says it, about a row of its own.

    `refused` is why there is no row to write (the table takes none); it then only reads.
    """

    table: str
    said: tuple[ClientStatement, ...]
    refused: str = ""


@dataclass(frozen=True)
class RefusedStatement:
    """A statement that the database refused."""

    said: ClientStatement
    sqlstate: str
    message: str


def client_of(shape: Shape, row: Row | None, neighbour: Row | None = None, refused: str = "") -> Client:
    """The statements about a row (None: the table takes none) and about one that was there: every column is named, no
    value is cast."""
    columns = ", ".join(quoted(column.name) for column in shape.columns) or "true"
    if row is None:
        read = sql.SELECT_SOME.format(columns=columns, table=shape.quoted)
        return Client(shape.table, (ClientStatement(shape.table, "select", read),), refused)
    key = where_key(shape, row)
    given = [column for column in shape.columns if not column.generated and column.name in row.values]
    insert = sql.INSERT.format(
        table=shape.quoted,
        columns=", ".join(quoted(column.name) for column in given),
        overriding=sql.OVERRIDING if any(column.identity for column in given) else "",
        values=", ".join(literal(row.values[column.name]) for column in given),
    )
    touch = _touch(shape, neighbour)
    said: list[tuple[Verb, str]] = [
        ("insert", insert),
        ("select", sql.SELECT.format(columns=columns, table=shape.quoted, key=key)),
        ("update", touch),
        *(("update", _update(shape, column, row.values[column.name], key)) for column in given if column.updatable),
        ("delete", sql.DELETE.format(table=shape.quoted, key=key)),
    ]
    return Client(shape.table, tuple(ClientStatement(shape.table, verb, text) for verb, text in said if text))


def _touch(shape: Shape, neighbour: Row | None) -> str:
    """Writes a row that others may hold without changing it; '' where there is none or nothing can be set."""
    settable = [column.name for column in shape.columns if column.updatable and column.name not in shape.primary_key]
    if neighbour is None or not settable:
        return ""
    return sql.TOUCH.format(table=shape.quoted, column=quoted(settable[0]), key=where_key(shape, neighbour))


async def _any_row(conn: Connection, shape: Shape) -> Row | None:
    if not shape.columns:
        return None
    columns = ", ".join(sql.AS_TEXT.format(column=quoted(column.name)) for column in shape.columns)
    found = await conn.fetchrow(sql.ANY_ROW.format(columns=columns, table=shape.quoted), timeout=_DEADLINE_S)
    if found is None:
        return None
    return Row(shape.table, {column.name: value for column, value in zip(shape.columns, found.values(), strict=True)})


def _update(shape: Shape, column: Column, value: str | None, key: str) -> str:
    """To the value it has: what it is about is whether the old client may say it."""
    return sql.UPDATE.format(table=shape.quoted, column=quoted(column.name), value=literal(value), key=key)


def literal(value: str | None) -> str:
    """A value as a client's driver would send it: its type is for the database to find."""
    return "null" if value is None else "'" + value.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name that SQL takes as it stands."""
    return '"' + name.replace('"', '""') + '"'


async def clients(conn: Connection, shapes: Mapping[str, Shape]) -> tuple[Client, ...]:
    """An old client for each table, with a row that the database has taken once. Nothing stays."""
    found = []
    for table, shape in shapes.items():
        transaction = conn.transaction()
        await transaction.start()
        try:
            neighbour = await _any_row(conn, shape)
            row = await _own_row(conn, shapes, table)
        except RowRefused as why:
            found.append(client_of(shape, None, refused=str(why)))
        else:
            found.append(client_of(shape, row, neighbour))
        finally:
            await transaction.rollback()
    return tuple(found)


async def _own_row(conn: Connection, shapes: Mapping[str, Shape], table: str) -> Row:
    """Raises RowRefused."""
    counted = [column for column in shapes[table].columns if column.counted and column.kind.name in _FAR]
    if counted:
        try:
            far = {column.name: str(_FAR[column.kind.name]) for column in counted}
            return await insert_row(conn, shapes, table, _SERIAL, far)
        except RowRefused:
            pass  # a rule wants lower numbers
    return await insert_row(conn, shapes, table, _SERIAL)


async def refusals(conn: Connection, of: Sequence[Client]) -> tuple[RefusedStatement, ...]:
    """Say everything once and take it back; what the database refused.

    Each statement is tried by itself, so that one that fails does not hide the next; constraints that would be looked
    at on commit are looked at too (verb "commit").
    """
    found = []
    for client in of:
        transaction = conn.transaction()
        await transaction.start()
        try:
            check = ClientStatement(client.table, "commit", sql.CHECK_DEFERRED)
            for said in (*client.said, *([check] if len(client.said) > 1 else [])):
                try:
                    async with conn.transaction():
                        await conn.execute(said.sql, timeout=_DEADLINE_S)
                except asyncpg.PostgresError as error:
                    found.append(RefusedStatement(said, error.sqlstate or "", str(error).split("\n")[0]))
        finally:
            await transaction.rollback()
    return tuple(found)


def newly_refused(
    before: Sequence[RefusedStatement], after: Sequence[RefusedStatement]
) -> tuple[RefusedStatement, ...]:
    """What was understood before and no longer is."""
    known = {refusal.said for refusal in before}
    return tuple(refusal for refusal in after if refusal.said not in known)
