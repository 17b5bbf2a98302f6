"""Generations in a test: a pool, a service and workers on one database, and waiting for what they do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg

from reference_server.generation.content import GenerationRequest
from reference_server.generation.deterministic_writer import DeterministicWriter
from reference_server.generation.service import GenerationService
from reference_server.generation.views import ProcessView, StoredEvent
from reference_server.generation.writer import ContentWriter
from reference_server.store.pool import open_pool
from reference_server.workers.loop import ServiceSettings, Worker, WorkerSettings
from reference_server.workers.observer import Counts
from toolkit.contract.prompts import InputType
from toolkit.contract.statuses import ENDED, Status

USER = "user_2abcDEF"
FAST = ServiceSettings(lease_seconds=3, retry_base_seconds=0)
ANSWERS: dict[InputType, tuple[str, dict[str, Any]]] = {
    InputType.SELECT_PERSONA: ("select_persona", {"selected_id": 0}),
    InputType.SELECT_THEME: ("select_theme", {"selected_index": 1}),
    InputType.APPROVE_PLAN: ("approve_plan", {"approved": True}),
    InputType.APPROVE_OUTLINE: ("approve_outline", {"approved": True}),
}


def request(**changes: Any) -> GenerationRequest:
    return GenerationRequest(**{"initial_keywords": ("家庭菜園", "初心者"), **changes})


class Bench:
    """Everything a generation needs, on one database."""

    def __init__(self, dsn: str, pool: asyncpg.Pool, settings: ServiceSettings) -> None:
        self.dsn = dsn
        self.pool = pool
        self.settings = settings
        self.service = GenerationService(pool, settings)
        self._workers: list[tuple[Worker, asyncio.Task[None]]] = []

    def worker(self, writer: ContentWriter | None = None, *, observer: Counts | None = None, **settings: Any) -> Worker:
        """A worker that runs until the test ends."""
        defaults = {"poll_seconds": 0.5, "heartbeat_seconds": 0.5, "sweep_seconds": 0.3, "service": self.settings}
        worker = Worker(
            self.pool,
            self.dsn,
            writer or DeterministicWriter(7),
            WorkerSettings(**{**defaults, **settings}),
            observer=observer,
        )
        self._workers.append((worker, asyncio.create_task(worker.run())))
        return worker

    async def kill(self, worker: Worker) -> None:
        """The worker vanishes without giving anything back."""
        for known, task in self._workers:
            if known is worker:
                for slot in worker._slots.values():
                    slot.lost = "killed"
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        for worker, task in self._workers:
            if not task.done():
                await worker.drain(0)
                task.cancel()
        results = await asyncio.gather(*(task for _, task in self._workers), return_exceptions=True)
        failures = [r for r in results if isinstance(r, Exception)]
        assert not failures, failures

    async def start(self, user: str = USER, **changes: Any) -> UUID:
        return (await self.service.start(user, request(**changes))).process_id

    async def until(
        self, process_id: UUID, is_so: Callable[[ProcessView], bool], *, deadline_s: float = 30
    ) -> ProcessView:
        view = await self.service.get(process_id)
        try:
            async with asyncio.timeout(deadline_s):
                while not is_so(view):
                    await asyncio.sleep(0.02)
                    view = await self.service.get(process_id)
        except TimeoutError:
            raise AssertionError(
                f"still {view.status} at {view.current_step} ({view.error_message}) after {deadline_s} s"
            ) from None
        return view

    async def until_waiting(self, process_id: UUID, input_type: InputType) -> ProcessView:
        return await self.until(process_id, lambda view: view.is_waiting_for_input and view.input_type == input_type)

    async def answer(self, process_id: UUID, input_type: InputType) -> None:
        await self.until_waiting(process_id, input_type)
        await self.service.answer(process_id, *ANSWERS[input_type])

    async def to_the_end(self, process_id: UUID, *, deadline_s: float = 60) -> ProcessView:
        """Answers every prompt until the process has ended."""
        async with asyncio.timeout(deadline_s):
            while True:
                view = await self.until(
                    process_id, lambda view: view.status in ENDED or view.is_waiting_for_input, deadline_s=deadline_s
                )
                if view.status in ENDED:
                    return view
                await self.service.answer(process_id, *ANSWERS[InputType(str(view.input_type))])

    async def events(self, process_id: UUID) -> list[StoredEvent]:
        return list((await self.service.events(process_id, limit=100_000)).events)

    async def completed(self, process_id: UUID) -> ProcessView:
        return await self.until(process_id, lambda view: view.status is Status.COMPLETED)


@contextlib.asynccontextmanager
async def bench(dsn: str, settings: ServiceSettings = FAST) -> AsyncIterator[Bench]:
    pool = await open_pool(dsn, max_size=12)
    made = Bench(dsn, pool, settings)
    try:
        yield made
    finally:
        await made.close()
        async with asyncio.timeout(10):
            await pool.close()


async def eventually(
    is_so: Callable[[], Awaitable[bool]], what: str, *, deadline_s: float = 20, every_s: float = 0.02
) -> None:
    """Waits for a condition."""
    try:
        async with asyncio.timeout(deadline_s):
            while not await is_so():  # noqa: ASYNC110 - the condition lives in the database
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {deadline_s} s") from None
