"""How long readers and writers wait for our own migration while a transaction of 3 s is open on the table it alters:
with the runner's lock handling, and with none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.prove.locks.modes import READS
from toolkit.migrate.prove.locks.observed_runs import Ahead, UnderTraffic, inspect, under_traffic
from toolkit.migrate.prove.locks.stalls import during, percentile, stalls
from toolkit.migrate.prove.locks.traffic import Role, streams
from toolkit.migrate.prove.subject.claims import ProveOptions, Subject
from toolkit.migrate.prove.subject.states import States
from toolkit.migrate.run.locks import LockPolicy
from toolkit.migrate.run.run_model import Options
from toolkit.migrate.scratch.databases import Scratch, scratch_on
from toolkit.migrate.scratch.platform import prepare_platform
from toolkit.postgres.cluster import MIGRATOR, PostgresCluster
from toolkit.resources import migrations_dir

VERSION = "20250727000000"
TABLE = "public.generated_articles_state"
READERS, AHEAD_S, TRAFFIC_S = 8, 3.0, 0.5
POLICIES = {
    "lock_timeout 250 ms": LockPolicy(lock_timeout_ms=250),
    "as it is by default": LockPolicy(),
    "none (waits its turn)": LockPolicy(lock_timeout_ms=3_600_000),
}
ROLES: tuple[Role, ...] = ("reader", "writer")


@pytest.fixture
async def scratch(cluster: PostgresCluster) -> AsyncIterator[Scratch]:
    async with scratch_on(cluster.admin_dsn(), MIGRATOR) as made:
        yield made


@pytest.mark.timeout(300)
async def test_stalls_with_and_without_the_guard(scratch: Scratch, tmp_path: Path) -> None:
    subject = await _subject(scratch, tmp_path)
    migration = subject.migration(VERSION)
    inspection = await inspect(subject, migration)
    chosen = streams(inspection.clients, {TABLE})
    more = [stream for stream in chosen if stream.role == "reader"][:1] * (READERS - 1)
    held = Ahead(inspection.quoted[TABLE], TABLE, READS, AHEAD_S)
    print(
        f"\nour migration, {len(chosen) + len(more)} streams of traffic; longest wait for it, ms (p99 of all requests):"
    )
    for name, policy in POLICIES.items():
        for ahead in (None, held):
            states = _with(subject.states, policy)
            run = await under_traffic(
                replace(subject, states=states), migration, (*chosen, *more), (ahead, ahead), TRAFFIC_S
            )
            assert [passage.failure for passage in run.passages] == ["", ""]
            behind = f"behind {AHEAD_S:.0f} s" if ahead else "nobody ahead"
            for number, look in enumerate(inspection.looks):
                found = stalls(run.passages[number], run.watched[number], run.requests, look.taken)
                longest = {role: max((one.ms for one in found if one.role == role), default=0.0) for role in ROLES}
                print(f"  {name:22} {behind:12} {look.direction:4} {_figures(run, number, longest)}")


async def _subject(scratch: Scratch, tmp_path: Path) -> Subject:
    folder = read_folder(migrations_dir())
    start = await scratch.create()
    conn = await asyncpg.connect(scratch.admin(start), timeout=10)
    try:
        await prepare_platform(conn)
    finally:
        await conn.close(timeout=5)
    versions = tuple(migration.version for migration in folder.migrations)
    options = Options(export_dir=tmp_path)
    return Subject(
        folder, versions, States(scratch, start, folder, versions, rows_each=200, options=options), ProveOptions()
    )


def _with(states: States, policy: LockPolicy) -> States:
    """The same databases under another policy."""
    states.options = replace(states.options, locks=policy)
    return states


def _figures(run: UnderTraffic, number: int, longest: dict[Role, float]) -> str:
    passage = run.passages[number]
    shares = {role: percentile(during(passage, run.requests, role), 0.99) for role in ROLES}
    return (
        "  ".join(f"{role} {longest[role]:7.0f} ({shares[role]:.0f})" for role in ROLES)
        + f"  {passage.attempts} attempts, {passage.ended - passage.started:.2f} s"
    )
