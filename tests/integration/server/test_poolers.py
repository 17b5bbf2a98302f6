"""Connections through pgbouncer: what kind they are, and that whoever uses them leaves and expects nothing there."""

from __future__ import annotations

from contextlib import AsyncExitStack

import asyncpg
import pytest

from reference_server import connection_kind as self_test
from reference_server.connection_kind import ConnectionKind, connection_kind
from reference_server.store.pool import open_pool, transact, write
from tests.support.awkward_defaults import awkward_defaults
from tests.support.pgbouncer import pooled

NEEDED = {
    "transaction_isolation": "read committed",
    "transaction_read_only": "off",
    "statement_timeout": "12s",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "1min",
    "bytea_output": "hex",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "row_security": "on",
    "standard_conforming_strings": "on",
}


async def test_the_kind_of_a_connection_is_found_out_by_asking(
    emptied_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await connection_kind(emptied_db) is ConnectionKind.DIRECT
    async with pooled(emptied_db) as address:
        assert await connection_kind(address) is ConnectionKind.TRANSACTION_POOLER
    async with pooled(emptied_db, "session") as address:
        assert await connection_kind(address) is ConnectionKind.SESSION_POOLER
    monkeypatch.setattr(self_test, "ANSWER_WITHIN_S", 0.3)
    async with pooled(emptied_db, "session", size=1) as address:  # it has no second session to give
        assert await connection_kind(address) is ConnectionKind.SESSION_POOLER


async def settings_of(connection: asyncpg.Connection) -> dict[str, str]:
    row = await connection.fetchrow("select " + ", ".join(f"current_setting('{n}') as \"{n}\"" for n in NEEDED))
    assert row is not None
    return dict(row)


@pytest.mark.parametrize("mode", ["direct", "session", "transaction"])
async def test_sessions_have_what_the_server_needs_whatever_the_defaults_are(emptied_db: str, mode: str) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(awkward_defaults(emptied_db))
        address = emptied_db
        if mode in ("session", "transaction"):
            address = await stack.enter_async_context(pooled(emptied_db, mode))
        pool = await open_pool(address, await connection_kind(address), max_size=2, deadline_s=7)
        try:
            assert await transact(pool, settings_of) == NEEDED
            assert await write(pool, settings_of) == NEEDED
        finally:
            await pool.close()


async def test_a_server_that_its_operator_made_read_only_stays_so(emptied_db: str) -> None:
    # Where a setting of the whole server would be, which other tests would feel: it is nobody's default either.
    pool = await open_pool(f"{emptied_db}&default_transaction_read_only=on", max_size=1)
    try:
        assert (await transact(pool, settings_of))["transaction_read_only"] == "on"
    finally:
        await pool.close()
