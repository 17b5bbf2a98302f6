"""Writes rows into every table, as an application would between a migration and its rollback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg

from toolkit.migrate.prove.subject.claims import Level
from toolkit.migrate.rows.inserting import Row, RowRefused, where_key
from toolkit.migrate.rows.one_row import insert_row, update_statements
from toolkit.migrate.rows.shapes import Shape
from toolkit.postgres.connection import Connection
from toolkit.report.record import counted, shortened
from toolkit.sql import prove_data as sql
from toolkit.sql import prove_rows
from toolkit.sql.quoting import quote_identifier

_DEADLINE_S = 30
_SERIALS = (501, 502)
_MOST_OLD_ROWS = 3


@dataclass
class Written:
    """How much was written: the tables, the numbers of rows, and the tables that refused."""

    tables: set[str] = field(default_factory=set)
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def basis(self) -> tuple[Level, str]:
        """The basis of a claim about these rows."""
        if not self.tables:
            why = "; ".join(shortened((f"{table}: {why}" for table, why in self.refused.items()), 3))
            return Level.NOT_CHECKED, f"no row could be written{': ' + why if why else ': there is no table'}"
        basis = (
            f"{counted(self.inserted, 'row')} inserted, {self.updated} updated and {self.deleted} deleted in "
            f"{counted(len(self.tables), 'table')}"
        )
        if not self.refused:
            return Level.PROVED, basis
        some = "; ".join(shortened((f"{table}: {why}" for table, why in self.refused.items()), 3))
        return Level.SAMPLED, f"{basis}; {counted(len(self.refused), 'table')} took none: {some}"


async def write_rows(conn: Connection, shapes: Mapping[str, Shape], before: Mapping[str, Shape]) -> Written:
    """Insert two rows into each table, update one older row in each column that existed before, and delete one to which
    nothing refers. Everything is committed. `before` are the shapes before the migration."""
    written = Written()
    for table, shape in shapes.items():
        old = await _rows(conn, shape)
        for serial in _SERIALS:
            try:
                await insert_row(conn, shapes, table, serial)
            except RowRefused as refused:
                written.refused.setdefault(table, refused.why)
            else:
                written.tables.add(table)
                written.refused.pop(table, None)
                written.inserted += 1
        if table in before and old:
            written.updated += await _update(conn, shape, before[table], old[0])
            written.deleted += await _attempt(
                conn, sql.DELETE.format(table=shape.quoted, where=where_key(shape, old[-1]))
            )
    return written


async def _rows(conn: Connection, shape: Shape) -> list[Row]:
    if not shape.columns:
        return []
    columns = ", ".join(prove_rows.AS_TEXT.format(column=quote_identifier(column.name)) for column in shape.columns)
    query = sql.SOME_ROWS.format(columns=columns, table=shape.quoted, limit=_MOST_OLD_ROWS)
    names = [column.name for column in shape.columns]
    return [
        Row(shape.table, dict(zip(names, record.values(), strict=True)))
        for record in await conn.fetch(query, timeout=_DEADLINE_S)
    ]


async def _update(conn: Connection, shape: Shape, before: Shape, row: Row) -> int:
    """1 if any column changed. All columns are updated in one message and, if a rule refuses that, one after the
    other."""
    known = {column.name for column in before.columns}
    statements = [
        statement
        for column, statement in update_statements(shape, row, next_values=True).items()
        if column in known and shape.primary_key
    ]
    if not statements:
        return 0
    if await _attempt(conn, "; ".join(statements)):
        return 1
    return max([await _attempt(conn, statement) for statement in statements])


async def _attempt(conn: Connection, statement: str) -> int:
    """1 if the statement changed a row, 0 if a constraint or trigger refused it."""
    try:
        async with conn.transaction():
            return int((await conn.execute(statement, timeout=_DEADLINE_S)).split()[-1] != "0")
    except asyncpg.PostgresError:
        return 0
