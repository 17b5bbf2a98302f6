"""A connection of its own that is kept up: connect, use until it breaks, wait, connect again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg

from reference_server.store.pool import CONNECTION_LOST, prepare_connection

CONNECT_DEADLINE_S = 10.0
MAX_PAUSE_S = 5.0
LINK_ERRORS = (*CONNECTION_LOST, asyncpg.PostgresError)


@contextlib.asynccontextmanager
async def dedicated(dsn: str, application_name: str, deadline_s: float) -> AsyncIterator[asyncpg.Connection]:
    """One connection outside the pool, so that a busy pool cannot delay it; closed at the end."""
    connection = await asyncpg.connect(
        dsn,
        timeout=CONNECT_DEADLINE_S,
        command_timeout=deadline_s,
        statement_cache_size=0,
        server_settings={"application_name": application_name},
    )
    try:
        await prepare_connection(connection)
        yield connection
    finally:
        try:
            async with asyncio.timeout(2):
                await connection.close()
        except LINK_ERRORS:
            connection.terminate()


class Backoff:
    """Pauses between attempts: doubling from 0.1 s to 5 s, back to the start after a success."""

    def __init__(self) -> None:
        self._pause_s = 0.1

    def succeeded(self) -> None:
        self._pause_s = 0.1

    async def wait(self) -> None:
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(MAX_PAUSE_S, self._pause_s * 2)
