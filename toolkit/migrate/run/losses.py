"""Finds, inside its transaction, what a rollback destroyed: tables, columns, and rows of tables that stay.

Rows are counted by the server's statistics of the session, so that large tables cost nothing, and rows destroyed by a
trigger, a cascade or a function count too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.errors import EnvironmentError_
from toolkit.migrate.folder.headers import Destroyed
from toolkit.postgres.connection import Connection
from toolkit.sql import history as sql


@dataclass(frozen=True)
class TableFacts:
    """A table under its name: which one it is, and its columns."""

    oid: int
    columns: frozenset[str]


@dataclass(frozen=True)
class RowFacts:
    """Rows of a table or of one of its partitions: `table` is the name of the root, `file` where they are stored,
    `writes` how many the session has updated and deleted."""

    table: str
    file: int
    writes: int


@dataclass(frozen=True)
class Holdings:
    """Everything that a rollback could take away, at one moment of its transaction."""

    tables: Mapping[str, TableFacts]
    rows: Mapping[int, RowFacts]


async def take_stock(conn: Connection) -> Holdings:
    """Read the holdings. Raises EnvironmentError_ on a server that does not count writes."""
    if not await conn.fetchval(sql.COUNTS_WRITES, timeout=10):
        raise EnvironmentError_(
            "The server does not count writes (track_counts is off), so nobody could see what a rollback does to rows.",
            "Set track_counts = on; autovacuum needs it too.",
        )
    return Holdings(
        {
            row["table_name"]: TableFacts(row["oid"], frozenset(row["columns"]))
            for row in await conn.fetch(sql.USER_COLUMNS, timeout=60)
        },
        {
            row["oid"]: RowFacts(row["table_name"], row["file"], row["writes"])
            for row in await conn.fetch(sql.ROW_WRITES, timeout=60)
        },
    )


def losses(before: Holdings, after: Holdings) -> tuple[Destroyed, ...]:
    """What is gone: tables (also one that was made anew under its name), columns, and rows of tables that stay."""
    found: list[Destroyed] = []
    for name, table in sorted(before.tables.items()):
        now = after.tables.get(name)
        if now is None or now.oid != table.oid:
            found.append(Destroyed(name))
        else:
            found += [Destroyed(name, (column,)) for column in sorted(table.columns - now.columns)]
    changed = {
        rows.table
        for oid, rows in before.rows.items()
        if oid in after.rows and (after.rows[oid].file, after.rows[oid].writes) != (rows.file, rows.writes)
    }
    gone = {loss.table for loss in found if not loss.columns}
    return (*found, *(Destroyed(name, rows_only=True) for name in sorted(changed - gone)))


def undeclared(lost: tuple[Destroyed, ...], declared: tuple[Destroyed, ...]) -> tuple[Destroyed, ...]:
    """Those losses that no declaration covers; a table declared as a whole covers its columns and rows."""
    whole = {entry.table for entry in declared if entry.whole_table}
    parts = {(entry.table, column) for entry in declared for column in entry.columns}
    rows = {entry.table for entry in declared if entry.rows_only}
    return tuple(
        loss
        for loss in lost
        if loss.table not in whole
        and not (loss.rows_only and loss.table in rows)
        and not (loss.columns and all((loss.table, column) in parts for column in loss.columns))
    )
