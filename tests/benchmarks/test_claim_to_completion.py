"""How many steps a second the workers record, and how soon a task is begun; each against a baseline of the same run.

Throughput is compared with the bare queue: the same claim and completion, two transactions a task, no
process state, no events, no next task. Latency is compared with a worker that only polls.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from uuid import UUID

from reference_server.generation.content import KeywordAnalysis
from reference_server.generation.deterministic_writer import DeterministicWriter
from reference_server.generation.writer import Assignment
from reference_server.store import tasks
from reference_server.store.pool import transact
from reference_server.workers.observer import Counts
from tests.support.generation import Bench, bench
from toolkit.contract.tasks import TaskType

PROCESSES = 60
CONNECTIONS = 4
STARTS = 60
POLL_S = 1.0


async def test_steps_a_second(migrated_db: str) -> None:
    async with bench(migrated_db) as b:
        bare = await _bare_queue(b)
        counts = Counts()
        for i in range(PROCESSES):
            await b.start(auto_mode=True, company_name=str(i))
        began = time.perf_counter()
        b.worker(observer=counts, concurrency=CONNECTIONS)
        while counts.steps["editing"] < PROCESSES or counts.ended["completed"] < counts.claimed:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        took = time.perf_counter() - began
        steps = sum(counts.steps.values())
        events = await b.pool.fetchval("select count(*) from process_events")
        assert steps == PROCESSES * 9
    rate = steps / took
    print(
        f"\n{PROCESSES} generations, {CONNECTIONS} tasks at once: {rate:.0f} steps/s, {events / took:.0f} events/s, "
        f"{PROCESSES / took:.1f} articles/s; the bare queue does {bare:.0f} tasks/s: {bare / rate:.1f} to a step"
    )


async def _bare_queue(b: Bench) -> float:
    """Tasks a second when claiming and completing is all there is."""
    number = 800
    process_ids = [
        row["id"]
        for row in await b.pool.fetch(
            "insert into generated_articles_state (user_id) select 'bare' from generate_series(1, $1) returning id",
            number,
        )
    ]
    await b.pool.execute(
        "select enqueue_background_task(p, 'generation_continue') from unnest($1::uuid[]) p", process_ids
    )

    async def work() -> int:
        done = 0
        while (task := await transact(b.pool, lambda db: tasks.claim(db, "w", "h", tuple(TaskType)))) is not None:
            assert await transact(b.pool, lambda db, t=task: tasks.complete(db, t.id, t.claim_token))  # type: ignore[misc]
            done += 1
        return done

    began = time.perf_counter()
    done = sum(await asyncio.gather(*(work() for _ in range(CONNECTIONS))))
    took = time.perf_counter() - began
    assert done == number
    return number / took


async def test_from_start_to_the_first_step(migrated_db: str) -> None:
    waits = {listen: await _waits(migrated_db, listen=listen) for listen in (True, False)}
    for listen, measured in waits.items():
        print(
            f"\nstart acknowledged → step begun, {'LISTEN' if listen else f'polling every {POLL_S:g} s'}: "
            f"median {statistics.median(measured):.1f} ms, p95 {measured[int(len(measured) * 0.95)]:.1f} ms"
        )
    ratio = statistics.median(waits[False]) / statistics.median(waits[True])
    print(f"\nLISTEN is {ratio:.0f} times as quick as polling")


async def _waits(dsn: str, *, listen: bool) -> list[float]:
    """Milliseconds from the acknowledged start to the writer's first call, sorted."""
    begun: dict[str | None, float] = {}

    class Watched(DeterministicWriter):
        async def analyze_keywords(self, job: Assignment) -> KeywordAnalysis:
            begun[job.request.company_name] = time.perf_counter()
            return await super().analyze_keywords(job)

    async with bench(dsn) as b:
        worker = b.worker(Watched(), listen=listen, poll_seconds=POLL_S)
        while listen and not worker.status.listening:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        started: dict[str, float] = {}
        mark = "listen" if listen else "poll"
        processes: list[UUID] = []
        for n in range(STARTS):
            name = f"{mark} {n}"
            processes.append(await b.start(company_name=name))
            started[name] = time.perf_counter()
            await asyncio.sleep(0.11)
        await asyncio.gather(*(b.until(p, lambda view: view.is_waiting_for_input) for p in processes))
        # The worker may begin before the starter hears that its transaction has ended.
        return sorted(max(0.0, begun[name] - at) * 1000 for name, at in started.items())
