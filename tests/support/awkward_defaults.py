"""A database whose defaults were made for other programs than ours."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import asyncpg

AWKWARD = {
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "statement_timeout": "3s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "3s",
    "idle_session_timeout": "3s",
    "search_path": "nowhere",
    "bytea_output": "escape",
    "datestyle": "German",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "extra_float_digits": "-15",
    "row_security": "off",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
}
_TRANSACTION_TIMEOUT = "select exists (select from pg_settings where name = 'transaction_timeout')"
_AS_OURS = "set statement_timeout = 0; set default_transaction_read_only = off; set idle_session_timeout = 0"


@contextlib.asynccontextmanager
async def awkward_defaults(dsn: str) -> AsyncIterator[None]:
    """New sessions of the database begin with them for the length of the block."""
    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        name = '"' + await conn.fetchval("select current_database()") + '"'
        settings = AWKWARD | ({"transaction_timeout": "3s"} if await conn.fetchval(_TRANSACTION_TIMEOUT) else {})
        await conn.execute(_AS_OURS)
        await conn.execute(";".join(f"alter database {name} set {key} = '{value}'" for key, value in settings.items()))
        try:
            yield
        finally:
            await conn.execute(f"alter database {name} reset all")
    finally:
        await conn.close(timeout=5)
