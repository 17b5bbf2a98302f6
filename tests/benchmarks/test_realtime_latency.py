"""From the acknowledged commit to the official client's callback: 20 inserts a second, row security on."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from realtime import AsyncRealtimeClient

from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.standalone import create_app, create_service
from tests.support.golden import OWNERS, SECRET, mint, serving
from tests.support.waiting import until

TABLE = """
create table public.bench (id int primary key, owner uuid not null, note text not null);
alter table public.bench enable row level security;
create policy bench_owner on public.bench for select to authenticated using (owner = auth.uid());
alter publication supabase_realtime add table public.bench;
"""
INSERTS, RATE = 200, 20
LIMITS = replace(Limits(), users=1_000, joins_per_second=1_000)


@asynccontextmanager
async def subscriber(port: int, name: str, arrived: dict[int, list[float]]) -> AsyncIterator[None]:
    live: list[Any] = []
    client = AsyncRealtimeClient(f"ws://127.0.0.1:{port}/realtime/v1", mint("authenticated:owner-a"))
    await client.connect()
    channel = client.channel(name)

    def change(payload: Any) -> None:
        arrived.setdefault(payload["data"]["record"]["id"], []).append(time.perf_counter())

    channel.on_postgres_changes("INSERT", change, table="bench", schema="public")
    channel.on_system(live.append)
    await channel.subscribe()
    await until(lambda: live, "the subscription")
    try:
        yield
    finally:
        await client.close()


@pytest.mark.parametrize("subscribers", [1, 100])
async def test_commit_to_callback(bare_db: str, subscribers: int) -> None:
    writer = await asyncpg.connect(bare_db, timeout=10)
    await writer.execute(TABLE)
    await writer.execute("set synchronous_commit = on")  # as in production: what is acknowledged is in the WAL
    committed: dict[int, float] = {}
    arrived: dict[int, list[float]] = {}
    async with serving(create_app(create_service(bare_db, SECRET, limits=LIMITS))) as port:
        watchers = [subscriber(port, f"bench-{n}", arrived) for n in range(subscribers)]
        for watcher in watchers:
            await watcher.__aenter__()
        started = time.perf_counter()
        for n in range(INSERTS):
            await asyncio.sleep(max(0.0, started + n / RATE - time.perf_counter()))
            await writer.execute("insert into public.bench values ($1, $2, $3)", n, OWNERS["owner-a"], "x" * 500)
            committed[n] = time.perf_counter()
        await until(lambda: sum(map(len, arrived.values())) == INSERTS * subscribers, "every delivery", 60)
        for watcher in watchers:
            await watcher.__aexit__(None, None, None)
    await writer.close(timeout=5)
    # A client in the writer's own loop may hear of the row before the writer hears of its commit.
    waits = sorted(max(0.0, at - committed[n]) * 1000 for n, times in arrived.items() for at in times)
    print(
        f"\ncommit → callback, {subscribers} subscriber(s), {RATE} inserts/s, row security on: "
        f"median {statistics.median(waits):.1f} ms, p95 {waits[int(len(waits) * 0.95)]:.1f} ms, max {waits[-1]:.1f} ms"
    )
    assert len(waits) == INSERTS * subscribers
