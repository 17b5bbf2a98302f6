"""Tables as those meet them who read rows: which there are, their columns and keys, and which rows are their own."""

from __future__ import annotations

from toolkit.postgres.connection import Connection
from toolkit.sql import row_comparison as sql
from toolkit.sql.history import PRIMARY_KEY
from toolkit.sql.quoting import quote_name

_DEADLINE_S = 30


async def user_tables(conn: Connection) -> tuple[str, ...]:
    """Every table (`schema.name`) outside the system's schemas and the migration history; of partitions their root."""
    return tuple(row["name"] for row in await conn.fetch(sql.TABLES, timeout=_DEADLINE_S))


async def columns_of(conn: Connection, table: str) -> tuple[str, ...]:
    """The columns of a table (`schema.name`), in their order."""
    return tuple(row["name"] for row in await conn.fetch(sql.COLUMNS, quote_name(table), timeout=_DEADLINE_S))


async def primary_key_of(conn: Connection, table: str) -> tuple[str, ...]:
    """The columns of its primary key; none where it has none."""
    return tuple(row["name"] for row in await conn.fetch(PRIMARY_KEY, quote_name(table), timeout=_DEADLINE_S))


async def own_rows_of(conn: Connection, table: str) -> str:
    """The table for a FROM clause, without the rows of tables that inherit from it: those are read as theirs. The rows
    of partitions are their root's."""
    quoted = quote_name(table)
    return f"{await conn.fetchval(sql.ONLY, quoted, timeout=_DEADLINE_S)}{quoted}"
