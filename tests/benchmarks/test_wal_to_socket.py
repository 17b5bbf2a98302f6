"""From commit to a subscriber's sink, and rows a second, against a bare reader of the same stream.

The baseline, measured in the same run, is psycopg2 reading the same publication through the same
event loop without decoding anything: what the database and the driver cost. Figures are printed,
never asserted.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from reference_server.replication import stream as wal
from reference_server.replication.pgoutput import Commit, Message
from reference_server.replication.stream import WalStream
from tests.support.feeds import Subscriber, running_feed, subscribe, user

TABLES = """
create table public.bench (id bigint primary key, process_id uuid not null, owner text not null, kind text,
                           data jsonb not null default '{}', at timestamptz not null default now());
alter publication supabase_realtime add table public.bench;
"""
RLS = """
alter table public.bench enable row level security;
create policy own on public.bench for select to authenticated using (owner = (auth.jwt() ->> 'sub'));
"""
PROCESS = "00000000-0000-4000-8000-000000000001"
INSERT = (
    "insert into public.bench (id, process_id, owner, kind, data) select g, $2::uuid, 'me', 'step_completed', "
    "jsonb_build_object('step', 'research', 'text', repeat('x', 400), 'n', g) "
    "from generate_series($1::bigint, $3::bigint) g"
)
PACED, PACE_S = 200, 0.02
BURST = 20_000


def report(title: str, **figures: object) -> None:
    print(f"\n{title:<58}" + "  ".join(f"{name}={value}" for name, value in figures.items()), end="")


def milliseconds(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{statistics.median(ordered) * 1000:.2f}/{ordered[int(len(ordered) * 0.95)] * 1000:.2f} ms"


async def paced(conn: asyncpg.Connection, first_id: int, seen: Callable[[], Awaitable[None]]) -> list[float]:
    """Latencies from commit acknowledgement; the sink may be called before the acknowledgement is read."""
    latencies = []
    for number in range(first_id, first_id + PACED):
        waiting = asyncio.ensure_future(seen())
        await asyncio.sleep(0)
        await conn.execute(INSERT, number, PROCESS, number)
        acknowledged = time.perf_counter()
        await asyncio.wait_for(waiting, 10)
        latencies.append(max(0.0, time.perf_counter() - acknowledged))
        await asyncio.sleep(PACE_S)
    return latencies


@asynccontextmanager
async def bare_reader(dsn: str) -> AsyncIterator[tuple[list[int], asyncio.Event]]:
    """Counts transactions' ends and messages of the stream, nothing decoded but the message kind."""
    counts, news = [0, 0], asyncio.Event()

    def kind_only(data: bytes) -> Message:
        counts[0] += 1
        if data[:1] == b"C":
            counts[1] += 1
            news.set()
        return Commit(0, 0, 0)

    async def nothing(*_: object) -> None:
        return None

    patched = pytest.MonkeyPatch()
    patched.setattr(wal, "decode", kind_only)
    stream = WalStream(dsn, "supabase_realtime", lambda message: None, nothing, nothing)
    await stream.start(10)
    try:
        yield counts, news
    finally:
        await stream.stop()
        patched.undo()


async def test_commit_to_sink(bare_db: str) -> None:
    conn = await asyncpg.connect(bare_db, timeout=10, server_settings={"synchronous_commit": "on"})
    await conn.execute(TABLES)
    async with bare_reader(bare_db) as (counts, news):

        async def commit_seen() -> None:
            news.clear()
            await news.wait()

        base = await paced(conn, 1, commit_seen)
        report("bare stream, paced", median_p95=milliseconds(base))
        before, begun = counts[0], time.perf_counter()
        await conn.execute(INSERT, 1_000_000, PROCESS, 1_000_000 + BURST - 1)
        while counts[0] < before + BURST + 2:
            await commit_seen()
        base_rate = BURST / (time.perf_counter() - begun)
        report("bare stream, one transaction", rows_per_s=round(base_rate))
    base_median = statistics.median(base)

    await measure(bare_db, conn, "no row security", 2_000_000, base_median, base_rate)
    await conn.execute(RLS)
    await measure(bare_db, conn, "row security, one identity", 4_000_000, base_median, base_rate)
    await measure(bare_db, conn, "row security, an identity each", 6_000_000, base_median, base_rate, distinct=True)
    await conn.close(timeout=5)
    print()


async def measure(
    dsn: str, conn: asyncpg.Connection, title: str, first_id: int, base_median: float, base_rate: float,
    *, distinct: bool = False,
) -> None:  # fmt: skip
    for number in (1, 100):
        async with running_feed(dsn) as feed:
            readers: list[Subscriber] = []
            for at in range(number):
                claims = user("me") | ({"session_id": at} if distinct else {})
                readers.append(await subscribe(feed, claims, {"table": "bench", "filter": f"process_id=eq.{PROCESS}"}))
            last = readers[-1]

            async def all_seen(last: Subscriber = last) -> None:
                wanted = len(last.changes) + 1
                await last.count(wanted)

            latencies = await paced(conn, first_id, all_seen)
            ratio = statistics.median(latencies) / base_median
            report(f"{title}, {number} subscribers, paced", median_p95=milliseconds(latencies), x_bare=f"{ratio:.1f}")
            rows = BURST if number == 1 else BURST // 10
            begun = time.perf_counter()
            await conn.execute(INSERT, first_id + 10_000, PROCESS, first_id + 10_000 + rows - 1)
            await last.until(lambda me, rows=rows: len(me.changes) == PACED + rows, 120)  # type: ignore[misc]
            rate = rows / (time.perf_counter() - begun)
            report(f"{title}, {number} subscribers, burst", rows_per_s=round(rate),
                   deliveries_per_s=round(rate * number), of_bare=f"{rate / base_rate:.2f}")  # fmt: skip
            assert all(len(reader.changes) == PACED + rows for reader in readers)
        first_id += 500_000
