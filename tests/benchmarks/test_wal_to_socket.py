"""From commit to a subscriber's sink or socket, and rows a second, against a bare reader of the same stream.

The baseline, measured in the same run, is psycopg2 reading the same publication through the same
event loop without decoding anything: what the database and the driver cost. Figures are printed,
never asserted.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import asyncpg
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect

from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.standalone import create_app, create_service
from reference_server.replication import stream as wal
from reference_server.replication.pgoutput import Commit, Message
from reference_server.replication.stream import WalStream
from tests.support.feeds import Subscriber, running_feed, subscribe, user
from tests.support.golden import SECRET, serving
from tests.support.server_process import token

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

# Many processes, each watched by its own user: rows a second for so long.
ROWS_PER_S, SPELL_S, WRITERS = 200, 5, 8
# Not measured here: supabase/realtime v2.122.0 with Postgres 15 on two shared cores, written at 200 rows/s, bare
# readers, limits raised.
REFERENCE = {200: "delivered_per_s=166 median_p99=1800/2700 ms", 500: "delivered_per_s=74 median_p99=10000/17000 ms"}
ONE = "insert into public.bench (id, process_id, owner, kind, data) values ($1, $2, $3, 'step_completed', $4)"
DATA = orjson.dumps({"step": "research", "text": "x" * 400}).decode()


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
    dsn: str,
    conn: asyncpg.Connection,
    title: str,
    first_id: int,
    base_median: float,
    base_rate: float,
    *,
    distinct: bool = False,
) -> None:
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
            report(
                f"{title}, {number} subscribers, burst",
                rows_per_s=round(rate),
                deliveries_per_s=round(rate * number),
                of_bare=f"{rate / base_rate:.2f}",
            )
            assert all(len(reader.changes) == PACED + rows for reader in readers)
        first_id += 500_000


@dataclass
class Watchers:
    """When each row reached whoever may see it, by row id; every socket is one user's with one process."""

    processes: list[uuid.UUID]
    arrived: dict[int, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, number: int, connection: ClientConnection) -> None:
        async for frame in connection:
            now = time.perf_counter()
            _, _, topic, event, payload = orjson.loads(frame)
            if event != "postgres_changes":
                continue
            record = payload["data"]["record"]
            if record["owner"] != owner_of(number) or record["id"] in self.arrived:
                self.wrong.append(f"{topic}: row {record['id']} of {record['owner']}")
            self.arrived[record["id"]] = now
            self.news.set()

    async def count(self, number: int) -> None:
        async with asyncio.timeout(90):
            while len(self.arrived) < number:
                self.news.clear()
                await self.news.wait()


def owner_of(number: int) -> str:
    return f"user-{number}"


async def spell(dsn: str, processes: list[uuid.UUID], first_id: int) -> tuple[float, dict[int, float]]:
    """Single commits at the pace, to each process in turn; when it began, and each acknowledgement by row id."""
    acknowledged: dict[int, float] = {}
    turns = itertools.count()
    async with asyncpg.create_pool(
        dsn, min_size=WRITERS, max_size=WRITERS, server_settings={"synchronous_commit": "on"}
    ) as pool:
        begun = time.perf_counter()

        async def write() -> None:
            while (turn := next(turns)) < ROWS_PER_S * SPELL_S:
                await asyncio.sleep(max(0.0, begun + turn / ROWS_PER_S - time.perf_counter()))
                at = turn % len(processes)
                await pool.execute(ONE, first_id + turn, processes[at], owner_of(at), DATA)
                acknowledged[first_id + turn] = time.perf_counter()

        await asyncio.gather(*(write() for _ in range(WRITERS)))
        return begun, acknowledged


def tail(begun: float, acknowledged: dict[int, float], arrived: dict[int, float]) -> dict[str, object]:
    late = sorted(max(0.0, arrived[row] - at) * 1000 for row, at in acknowledged.items())
    return {
        "written_per_s": round(len(acknowledged) / (max(acknowledged.values()) - begun)),
        "delivered_per_s": round(len(late) / (max(arrived.values()) - begun)),
        "median_p99": f"{statistics.median(late):.1f}/{late[int(len(late) * 0.99)]:.1f} ms",
    }


@asynccontextmanager
async def watching(port: int, processes: list[uuid.UUID]) -> AsyncIterator[Watchers]:
    watchers = Watchers(processes)
    async with AsyncExitStack() as stack:
        readers = []
        for number, process in enumerate(processes):
            key = token(owner_of(number), secret=SECRET)
            url = f"ws://127.0.0.1:{port}/realtime/v1/websocket?vsn=2.0.0&apikey={key}"
            connection = await stack.enter_async_context(
                connect(url, compression=None, ping_interval=None, open_timeout=30)
            )
            binding = {"event": "INSERT", "schema": "public", "table": "bench", "filter": f"process_id=eq.{process}"}
            config = {"config": {"postgres_changes": [binding]}}
            await connection.send(orjson.dumps(["1", "1", f"realtime:{process}", "phx_join", config]).decode())
            reply = orjson.loads(await asyncio.wait_for(connection.recv(), 30))
            assert reply[4]["status"] == "ok", reply
            readers.append(asyncio.create_task(watchers.read(number, connection)))
        try:
            yield watchers
        finally:
            for reader in readers:
                reader.cancel()
            results = await asyncio.gather(*readers, return_exceptions=True)
    failures = [result for result in results if isinstance(result, Exception)]
    assert not failures, failures


@pytest.mark.parametrize("number", sorted(REFERENCE))
async def test_many_processes_each_with_its_own_user(bare_db: str, number: int) -> None:
    conn = await asyncpg.connect(bare_db, timeout=10)
    await conn.execute(TABLES + RLS)
    await conn.close(timeout=5)
    processes = [uuid.uuid4() for _ in range(number)]
    rows = ROWS_PER_S * SPELL_S

    # The bare reader knows no rows: the first commit it reads is taken for the first that was acknowledged.
    async with bare_reader(bare_db) as (counts, news):
        arrivals: list[float] = []

        async def follow() -> None:
            while len(arrivals) < rows:
                await news.wait()
                news.clear()
                arrivals.extend([time.perf_counter()] * (counts[1] - len(arrivals)))

        following = asyncio.create_task(follow())
        begun, acknowledged = await spell(bare_db, processes, 1)
        await asyncio.wait_for(following, 30)
        report(
            f"{number} processes, bare stream",
            **tail(begun, acknowledged, dict(zip(acknowledged, arrivals, strict=True))),
        )

    limits = replace(Limits(), users=10_000, joins_per_second=10_000)
    service = create_service(bare_db, SECRET, limits=limits)
    async with serving(create_app(service)) as port, watching(port, processes) as watchers:
        begun, acknowledged = await spell(bare_db, processes, 1_000_000)
        await watchers.count(rows)
        report(f"{number} processes × 1 socket, row security", **tail(begun, acknowledged, watchers.arrived))
    print(f"\n{'  the real server, measured elsewhere, for comparison':<58}{REFERENCE[number]}")
    assert watchers.wrong == []
