"""Whether DATABASE_URL leads to Postgres itself or to a pooler, found out by asking and never by the port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from enum import StrEnum

import asyncpg

from reference_server.database_trouble import DATABASE_TROUBLE

# A pooler that gives the same session to one client twice by chance does not do so this often.
ROUNDS = 8
ANSWER_WITHIN_S = 3.0


class ConnectionKind(StrEnum):
    """`DIRECT` and `SESSION_POOLER` connections keep one Postgres session as long as they live; through a
    `TRANSACTION_POOLER` each transaction has another one, so nothing may be left in a session."""

    DIRECT = "direct"
    SESSION_POOLER = "session_pooler"
    TRANSACTION_POOLER = "transaction_pooler"


NO_REALTIME_THROUGH_A_POOLER = (
    "DATABASE_URL leads to a connection pooler, and Realtime reads the write-ahead log, which takes a direct "
    "connection to Postgres. Give it that one (on Supabase: Connect -> Direct connection)"
)


async def connection_kind(dsn: str, *, deadline_s: float = 10.0) -> ConnectionKind:
    """Connects twice and compares the sessions. Raises OSError or an asyncpg error when nobody answers."""
    async with _connected(dsn, deadline_s) as first:
        seen = {await _session(first)}
        if seen == {first.get_server_pid()}:  # a pooler makes up the number it announces to its client
            return ConnectionKind.DIRECT
        shared = False
        # A session pooler may have no second session to give: then the first connection's answers decide.
        with contextlib.suppress(*DATABASE_TROUBLE):
            async with _connected(dsn, deadline_s) as second:
                others: set[int] = set()
                for _ in range(ROUNDS):
                    others.add(await _session(second))
                    seen.add(await _session(first))
                    shared = bool(seen & others) or len(others) > 1 or len(seen) > 1
                    if shared:
                        break
        for _ in range(0 if shared else ROUNDS):
            seen.add(await _session(first))
    return ConnectionKind.TRANSACTION_POOLER if shared or len(seen) > 1 else ConnectionKind.SESSION_POOLER


@contextlib.asynccontextmanager
async def _connected(dsn: str, deadline_s: float) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        dsn, timeout=deadline_s, statement_cache_size=0, server_settings={"application_name": "reference_server"}
    )
    try:
        yield connection
        async with asyncio.timeout(2):
            await connection.close()
    finally:
        connection.terminate()  # nothing is left to do where it was closed


async def _session(connection: asyncpg.Connection) -> int:
    """The process id of the Postgres session that this one transaction runs in."""
    async with asyncio.timeout(ANSWER_WITHIN_S), connection.transaction():
        await connection.execute("set local statement_timeout = 0")  # the role's may be very short
        return int(await connection.fetchval("select pg_catalog.pg_backend_pid()"))
