"""Readers and writers of the old schema, at a steady pace that does not slow down during a stall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Literal

import asyncpg

from toolkit.migrate.prove.locks.clients import Client, ClientStatement
from toolkit.postgres.connection import Connection, connected

Role = Literal["reader", "writer"]
MOST_STREAMS = 24
_SHORTEST_INTERVAL_S = 0.01
_MOST_A_SECOND = 250
_DEADLINE_S = 60


@dataclass(frozen=True)
class Request:
    """One statement of the traffic. Times are seconds on the clock of the run: `due` is when it was to be sent,
    `ended` when its answer was there. A request that had to stand in line behind a stalled one of its own stream was
    due all the same: its time counts from there. `pid` is the backend; `sqlstate` and `message` are '' when it went
    well."""

    pid: int
    role: Role
    table: str
    verb: str
    due: float
    ended: float
    sqlstate: str = ""
    message: str = ""

    @property
    def ms(self) -> float:
        """What its client waited, in milliseconds."""
        return (self.ended - self.due) * 1000


@dataclass(frozen=True)
class Stream:
    """Statements that one session says over and over, in this order."""

    role: Role
    said: tuple[ClientStatement, ...]


def streams(of: Sequence[Client], busy: Collection[str], unfit: Collection[ClientStatement] = ()) -> tuple[Stream, ...]:
    """A reader and a writer for each busy table (of the first ones, where there are many); one of each for all others.

    `unfit` are statements that failed before anything was migrated; where a row cannot be deleted again, writers do
    not insert either.
    """
    chosen = [client for client in of if client.table in busy][: (MOST_STREAMS - 2) // 2]
    others = [client for client in of if client not in chosen]
    found = []
    for group in (*([client] for client in chosen), others):
        reads = tuple(said for client in group for said in client.said if said.reads and said not in unfit)
        writes = tuple(said for client in group for said in _writes(client, unfit))
        found += [Stream("reader", reads)] if reads else []
        found += [Stream("writer", writes)] if writes else []
    return tuple(found)


def _writes(client: Client, unfit: Collection[ClientStatement]) -> tuple[ClientStatement, ...]:
    writes = tuple(said for said in client.said if not said.reads and said not in unfit)
    verbs = {said.verb for said in writes}
    return writes if {"insert", "delete"} <= verbs else tuple(said for said in writes if said.verb == "update")


@asynccontextmanager
async def running(dsn: str, of: Sequence[Stream], requests: list[Request], started: float) -> AsyncIterator[None]:
    """The streams at work while the block runs, each request written down when it has ended.

    `started` is the event loop's time at which the run's clock shows 0.
    A session that is lost ends its stream with a request that says so. Raises ToolkitError when no session is to be
    had.
    """
    interval = max(_SHORTEST_INTERVAL_S, len(of) / _MOST_A_SECOND)
    async with AsyncExitStack() as stack:
        conns = [await stack.enter_async_context(connected(dsn, f"traffic: {stream.role}")) for stream in of]
        stop = asyncio.Event()
        # Spread over the interval, so that they do not all come at once.
        tasks = [
            asyncio.create_task(
                _keep_saying(conn, stream, requests, stop, _Pace(started, interval, interval * n / len(of)))
            )
            for n, (stream, conn) in enumerate(zip(of, conns, strict=True))
        ]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*tasks)


@dataclass(frozen=True)
class _Pace:
    """Where the clock of the run shows 0, how far a stream's requests are apart, and how far its first is from now."""

    started: float
    interval: float
    lag: float


async def _keep_saying(
    conn: Connection, stream: Stream, requests: list[Request], stop: asyncio.Event, pace: _Pace
) -> None:
    loop = asyncio.get_running_loop()
    pid = conn.get_server_pid()
    due = loop.time() + pace.lag
    for said in cycle(stream.said):
        await asyncio.sleep(max(0.0, due - loop.time()))
        if stop.is_set():
            return
        sqlstate = message = ""
        try:
            await conn.execute(said.sql, timeout=_DEADLINE_S)
        except asyncpg.PostgresError as error:
            sqlstate, message = error.sqlstate or "", str(error).split("\n")[0]
        except (asyncpg.InterfaceError, OSError) as error:
            sqlstate, message = "08006", f"{type(error).__name__}: {error}"
        ended = loop.time()
        requests.append(
            Request(
                pid, stream.role, said.table, said.verb, due - pace.started, ended - pace.started, sqlstate, message
            )
        )
        if conn.is_closed():
            return
        due += pace.interval
