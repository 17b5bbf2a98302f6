"""Lets one runner work at a time, and bounds how long others queue behind a lock that it waits for."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from toolkit.errors import RefusalError
from toolkit.postgres.connection import Connection
from toolkit.sql import history as sql

# Any number serves as long as every runner uses the same one.
RUNNER_KEY = int.from_bytes(hashlib.sha256(b"realtime-migration-toolkit migrate").digest()[:8], "big", signed=True)
_FIRST_POLL_S, _LONGEST_POLL_S = 0.025, 1.0


@dataclass(frozen=True)
class LockPolicy:
    """How patient the runner is.

    `lock_timeout_ms`: how long one statement may wait for a table lock. While it waits, every later query on that
    table waits behind it, so this bounds the stall that users see; then the file's transaction is rolled back and
    tried again, after a pause that doubles from `first_pause_s` to `longest_pause_s` with jitter, until
    `deadline_s` has passed. `runner_deadline_s`: how long to wait for another runner to finish.
    """

    lock_timeout_ms: int = 50
    first_pause_s: float = 0.1
    longest_pause_s: float = 2.0
    deadline_s: float = 60.0
    runner_deadline_s: float = 30.0


@asynccontextmanager
async def runner_lock(
    conn: Connection, deadline_s: float, on_wait: Callable[[str], None] = lambda _: None
) -> AsyncIterator[None]:
    """Hold the runner's advisory lock on `conn`; Postgres frees it when the connection ends, however it ends.

    It polls on purpose: a session that waits in pg_advisory_lock holds a snapshot, for whose end CREATE INDEX
    CONCURRENTLY of the other runner waits, so that both wait for each other until the deadlock detector kills the index
    build and leaves an INVALID index.

    Raises RefusalError naming who holds it when the deadline passes.
    """
    started, pause, told = time.monotonic(), _FIRST_POLL_S, False
    while (taken_by := await conn.fetchval(sql.TRY_LOCK, RUNNER_KEY, timeout=10)) is None:
        if time.monotonic() - started > deadline_s:
            raise RefusalError(
                f"Another migration runner is at work: {await _holder(conn)}. Waited {deadline_s:g} s.",
                "Wait until it ends; if it hangs, end it with `select pg_terminate_backend(PID)`.",
            )
        if not told:
            on_wait(f"waiting for another runner: {await _holder(conn)}")
            told = True
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_POLL_S)
    try:
        yield
    finally:
        if not conn.is_closed() and not await conn.fetchval(sql.UNLOCK, RUNNER_KEY, timeout=10):
            # The connection is in another session now: in the one that took the lock it would stay for ever.
            await conn.execute(sql.END_IDLE_HOLDER, RUNNER_KEY, taken_by, timeout=10)


async def refuse_without_lock(conn: Connection) -> None:
    """Raises RefusalError when the session that this transaction runs in does not hold the runner's lock."""
    if not await conn.fetchval(sql.HOLDS_LOCK, RUNNER_KEY, timeout=10):
        raise RefusalError(
            "The session of this transaction does not hold the runner's lock, so another runner may be at work. Either "
            "the address leads to a pooler that gives each transaction another session, or a file released the lock "
            "(pg_advisory_unlock_all).",
            "Use the direct connection or a pooler in session mode (on Supabase: port 5432), or take the release out "
            "of the file.",
        )


async def _holder(conn: Connection) -> str:
    row = await conn.fetchrow(sql.LOCK_HOLDER, RUNNER_KEY, timeout=10)
    if row is None:
        return "it has just finished"
    where = f" from {row['client_addr']}" if row["client_addr"] else ""
    since = f" since {row['backend_start']:%H:%M:%S}Z" if row["backend_start"] else ""
    return f"pid {row['pid']}, {row['application_name'] or 'unnamed'} as {row['usename'] or 'unknown'}{where}{since}"


def is_lock_conflict(error: BaseException) -> bool:
    """Whether trying again may help: a lock was not available (55P03), or we were a deadlock's victim (40P01)."""
    return isinstance(error, asyncpg.LockNotAvailableError | asyncpg.DeadlockDetectedError)


async def with_lock_retries(
    attempt: Callable[[int], Awaitable[None]], policy: LockPolicy, on_retry: Callable[[int, float], Awaitable[None]]
) -> int:
    """Run `attempt(number)` until it succeeds, again after lock conflicts; returns how many attempts it took.

    `attempt` is the whole transaction, so nothing of a failed one remains. Raises what it raised when the policy's
    deadline has passed, or at once for anything that is no lock conflict.
    """
    started, pause, number = time.monotonic(), policy.first_pause_s, 1
    while True:
        try:
            await attempt(number)
            return number
        except asyncpg.PostgresError as error:
            if not is_lock_conflict(error) or time.monotonic() - started + pause > policy.deadline_s:
                raise
            # Jitter keeps us from meeting a periodic long transaction at each of its turns.
            delay = pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret depends on it
            await on_retry(number, delay)
            await asyncio.sleep(delay)
            pause, number = min(pause * 2, policy.longest_pause_s), number + 1


async def who_blocks(conn: Connection) -> tuple[str, ...]:
    """The oldest open transactions of other sessions that hold table locks: candidates for who was in the way."""
    return tuple(
        f"pid {row['pid']} ({row['application_name'] or row['usename']}), open for {row['seconds']:.1f} s, "
        f"{row['state']}: {_without_values(row['query'] or '')}"
        for row in await conn.fetch(sql.BLOCKERS, timeout=10)
    )


def _without_values(query: str) -> str:
    """Somebody else's query names tables, which helps; its literals are somebody's data."""
    return re.sub(r"'[^']*'?|\b\d[\w.]*\b", "…", " ".join(query.split()))
