"""Dedicated connections of a worker, outside the pool, and the pauses before connecting again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from typing import Literal

import asyncpg

from reference_server.connection_kind import ConnectionKind
from reference_server.store.pool import CONNECTION_LOST, connection_options, prepare_connection

CONNECT_DEADLINE_S = 10.0
MAX_PAUSE_S = 5.0
HOST_CHARS = 15  # Postgres cuts the name of a connection at 63 bytes
LINK_ERRORS = (*CONNECTION_LOST, asyncpg.PostgresError)


def worker_id_of(hostname: str) -> str:
    """An id that is new at every start, so that a worker is never taken for an earlier one on the same machine.

    It contains the last HOST_CHARS characters of the host's name, where generated names differ.
    """
    host = hostname.split(".", maxsplit=1)[0][-HOST_CHARS:]
    return f"{host}:{os.getpid()}:{secrets.token_hex(4)}"


@contextlib.asynccontextmanager
async def dedicated(
    dsn: str,
    worker_id: str,
    purpose: Literal["listen", "beat"],
    deadline_s: float,
    kind: ConnectionKind = ConnectionKind.DIRECT,
) -> AsyncIterator[asyncpg.Connection]:
    """One connection outside the pool, so that a busy pool cannot delay it; closed at the end.

    Its application_name shows that this worker is connected (`workers` in store/operator_facts.sql).
    """
    connection = await asyncpg.connect(
        dsn,
        timeout=CONNECT_DEADLINE_S,
        command_timeout=deadline_s,
        server_settings={"application_name": f"reference_server worker {worker_id} {purpose}"},
        **(connection_options(kind) | {"statement_cache_size": 0}),
    )
    try:
        await prepare_connection(connection, deadline_s)
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
