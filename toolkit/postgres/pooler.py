"""Whether a connection leads through a transaction pooler, found out by asking and never by the port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

# A pooler that gives the same session to one client twice by chance does not do so this often.
_ROUNDS = 8
_ANSWER_WITHIN_S = 3.0
_NO_ANSWER = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


async def pools_transactions(conn: Connection, open_another: Callable[[], Awaitable[Connection]]) -> bool:
    """Whether each transaction of `conn` may run in another session; a direct connection costs one round trip.

    `open_another` opens a second connection to the same address, which is closed again.
    """
    seen = {await _session(conn)}
    if seen == {conn.get_server_pid()}:  # a pooler makes up the number it announces to its client
        return False
    others: set[int] = set()
    try:
        second = await open_another()
    except _NO_ANSWER:  # a session pooler may have no second session to give
        second = None
    try:
        for _ in range(_ROUNDS):
            if second is not None:
                try:
                    others.add(await _session(second))
                except _NO_ANSWER:
                    second.terminate()
                    second = None
            seen.add(await _session(conn))
            if seen & others or len(seen) > 1 or len(others) > 1:
                return True
    finally:
        if second is not None:
            second.terminate()
    return False


async def _session(conn: Connection) -> int:
    """The process id of the Postgres session that this one transaction runs in."""
    async with asyncio.timeout(_ANSWER_WITHIN_S), conn.transaction():
        await conn.execute("set local statement_timeout = 0")  # the role's may be very short
        return int(await conn.fetchval("select pg_catalog.pg_backend_pid()"))
