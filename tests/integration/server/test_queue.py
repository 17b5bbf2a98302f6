"""The queue's own rules: dependencies, priority, schedule, and the lease by the database's clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from reference_server.generation.content import KeywordAnalysis
from reference_server.generation.deterministic_writer import DeterministicWriter
from reference_server.generation.views import WorkerSeen
from reference_server.generation.writer import Assignment
from reference_server.store import tasks
from reference_server.store.pool import transact
from reference_server.workers.link import worker_id_of
from tests.support.generation import Bench, bench, eventually
from toolkit.contract.tasks import PRIORITY, TaskType


async def process(b: Bench) -> UUID:
    return UUID(str(await b.pool.fetchval("insert into generated_articles_state (user_id) values ('u') returning id")))


async def enqueue(b: Bench, process_id: UUID, **options: Any) -> UUID:
    names = {
        "p_depends_on": "uuid[]",
        "p_dependency_type": "text",
        "p_priority": "integer",
        "p_scheduled_for": "timestamptz",
    }
    given = "".join(f", {name} => ${i}::{names[name]}" for i, name in enumerate(options, start=2))
    query = f"select enqueue_background_task($1, 'generation_continue'{given})"
    return UUID(str(await b.pool.fetchval(query, process_id, *options.values())))


async def claim(b: Bench) -> tasks.Claimed | None:
    return await transact(b.pool, lambda db: tasks.claim(db, "w", "host", tuple(TaskType)))


async def status(b: Bench, task_id: UUID) -> str:
    return str(await b.pool.fetchval("select status from background_tasks where id = $1", task_id))


@pytest.mark.parametrize("ends", ["completed", "failed", "cancelled"])
async def test_what_depends_on_a_task_follows_its_end(emptied_db: str, ends: str) -> None:
    async with bench(emptied_db) as b:
        parent_process, child_process = await process(b), await process(b)
        parent = await enqueue(b, parent_process)
        child = await enqueue(b, child_process, p_depends_on=[parent])
        grandchild = await enqueue(b, child_process, p_depends_on=[child])
        anyway = await enqueue(b, child_process, p_depends_on=[parent], p_dependency_type="always")
        claimed = await claim(b)
        assert claimed is not None
        assert claimed.id == parent
        assert await claim(b) is None, "nothing else may run before its parent has ended"
        if ends == "completed":
            assert await transact(b.pool, lambda db: tasks.complete(db, parent, claimed.claim_token))
        elif ends == "failed":
            token = claimed.claim_token
            assert (
                await transact(b.pool, lambda db: tasks.fail(db, parent, token, "no", {}, retryable=False)) == "failed"
            )
        else:
            await b.service.cancel(parent_process)
        assert await status(b, anyway) == "pending"
        late = await enqueue(b, child_process, p_depends_on=[parent], p_dependency_type="always")
        assert await status(b, child) == ("pending" if ends == "completed" else "cancelled")
        assert await status(b, grandchild) == ("pending" if ends == "completed" else "cancelled")
        claimed_next = {(await claim(b)).id for _ in range(3 if ends == "completed" else 2)}  # type: ignore[union-attr]
        assert claimed_next == {anyway, late} | ({child} if ends == "completed" else set())
        assert await claim(b) is None


async def test_priority_then_schedule_then_age(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        now = await b.pool.fetchval("select now()")
        due = [(5, -1), (7, -1), (7, -5), (10, 60), (6, -1)]
        ids = [
            await enqueue(b, await process(b), p_priority=priority, p_scheduled_for=now + timedelta(minutes=minutes))
            for priority, minutes in due
        ]
        order = []
        while (claimed := await claim(b)) is not None:
            order.append(ids.index(claimed.id))
        assert order == [2, 1, 4, 0], "the one scheduled for later is not due"


async def test_work_begun_goes_before_new_work(emptied_db: str) -> None:
    assert PRIORITY[TaskType.CONTINUE] > PRIORITY[TaskType.RESUME] > PRIORITY[TaskType.START]


async def test_tasks_of_paused_processes_wait_and_unknown_types_are_left_alone(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        process_id = await b.start()
        await b.pool.fetchval("select enqueue_background_task($1, 'somebody_elses')", process_id)
        await b.service.pause(process_id)
        assert await claim(b) is None
        await b.service.resume(process_id)
        claimed = await claim(b)
        assert claimed is not None
        assert claimed.task_type == TaskType.START
        assert await claim(b) is None


class Held(DeterministicWriter):
    """Its first piece of work lasts until the test ends it."""

    def __init__(self) -> None:
        super().__init__(7)
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def analyze_keywords(self, job: Assignment) -> KeywordAnalysis:
        self.begun.set()
        await self.go_on.wait()
        return await super().analyze_keywords(job)


async def test_idle_workers_are_seen_and_dead_ones_told_from_them(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        writer = Held()
        busy = b.worker(writer, heartbeat_seconds=0.05)
        await b.start()
        async with asyncio.timeout(10):
            await writer.begun.wait()
        idle, polling = b.worker(), b.worker(listen=False)

        async def seen() -> dict[str, WorkerSeen]:
            return {worker.worker_id: worker for worker in (await b.service.queue_status()).workers}

        async def all_there() -> bool:
            found = await seen()
            return len(found) == 3 and found[busy.worker_id].listening and found[idle.worker_id].listening

        await eventually(all_there, "three workers are seen")
        found = await seen()
        assert {worker_id: (w.running, w.connected, w.listening) for worker_id, w in found.items()} == {
            busy.worker_id: (1, True, True),
            idle.worker_id: (0, True, True),
            polling.worker_id: (0, True, False),
        }
        assert found[busy.worker_id].last_heartbeat is not None
        assert found[busy.worker_id].hostname == busy.hostname
        assert found[idle.worker_id].last_heartbeat is None
        assert found[idle.worker_id].hostname == idle.worker_id.split(":")[0]

        for worker in (busy, idle):
            await b.kill(worker)
        await b.pool.execute(
            "insert into background_tasks (process_id, task_type, status, worker_id, worker_hostname, heartbeat_at,"
            " claim_token, started_at) select id, 'somebody_elses', 'running', 'gone:1:a', 'gone', now(),"
            " gen_random_uuid(), now() from generated_articles_state"
        )

        async def only_the_polling_one_is_connected() -> bool:
            return {w.worker_id for w in (await seen()).values() if w.connected} == {polling.worker_id}

        await eventually(only_the_polling_one_is_connected, "workers that ended are no longer connected")
        gone = (await seen())["gone:1:a"]
        assert (gone.running, gone.connected, gone.listening) == (1, False, False)


@pytest.mark.parametrize("hostname", ["a", "reference-server-worker-7d9f8b6c5d-x2x4z", "ip-1.in." + "x" * 60])
def test_a_worker_id_fits_the_name_of_a_connection(hostname: str) -> None:
    worker_id = worker_id_of(hostname)
    assert len(f"reference_server worker {worker_id} listen") <= 63
    assert worker_id != worker_id_of(hostname)


async def test_one_turn_is_given_out_once(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        process_id = await process(b)
        task = tasks.NewTask(uuid4(), TaskType.CONTINUE, {}, max_retries=1, retry_delay_s=1, created_by="test")
        for _ in range(2):
            await transact(b.pool, lambda db: tasks.enqueue(db, process_id, task))
        assert await b.pool.fetchval("select count(*) from background_tasks") == 1
