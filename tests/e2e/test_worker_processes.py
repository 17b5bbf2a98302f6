"""Worker processes that are killed, and told to end, in the middle of their work."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import AsyncExitStack

from tests.support.generation import ServiceSettings, bench, eventually
from tests.support.logs import check_log
from tests.support.server_process import running_server
from toolkit.contract.statuses import Status

ENV = {
    "TASK_LEASE_SECONDS": "1.5",
    "TASK_POLL_SECONDS": "0.5",
    "RETRY_BASE_SECONDS": "0",
    "WORKER_CONCURRENCY": "2",
    "WRITER_STEP_LATENCY_MS": "60",
}
PROCESSES = 5


async def test_workers_killed_and_ended_in_the_middle_lose_nothing(migrated_db: str) -> None:
    async with AsyncExitStack() as stack:
        b = await stack.enter_async_context(bench(migrated_db, ServiceSettings(retry_base_seconds=0)))
        starting = (running_server(migrated_db, "--role", "worker", env=ENV) for _ in range(3))
        killed, ended, _ = await asyncio.gather(*(stack.enter_async_context(server) for server in starting))
        processes = [await b.start(auto_mode=True, company_name=str(n)) for n in range(PROCESSES)]

        async def busy(pid: int) -> bool:
            query = "select exists (select from background_tasks where status = 'running' and worker_id like $1)"
            return bool(await b.pool.fetchval(query, f"%:{pid}:%"))

        async def frozen_at_work() -> bool:
            killed.signal(signal.SIGSTOP)
            if await busy(killed.process.pid):
                return True
            killed.signal(signal.SIGCONT)
            return False

        await eventually(frozen_at_work, "the first worker has a task", every_s=0.002)
        killed.process.kill()
        await killed.wait()
        await eventually(lambda: busy(ended.process.pid), "the second worker has a task", every_s=0.002)
        assert await ended.stop() == 0
        assert not await busy(ended.process.pid), "what was not finished was given back"

        told = Counter[str]()
        for process_id in processes:
            view = await b.to_the_end(process_id)
            assert view.status is Status.COMPLETED, view.error_message
            events = await b.events(process_id)
            told.update(check_log(events))
            done = [e.event_data["step_name"] for e in events if e.event_type == "step_completed"]
            assert len(done) == len(set(done)) == 9, "every step was completed once"
            sections = [e.event_data["section_index"] for e in events if e.event_type == "section_completed"]
            assert sections == list(range(4))
        assert told["task_rescued"] >= 1
        assert told["task_retry_scheduled"] == 0
        assert told["generation_started"] == PROCESSES
