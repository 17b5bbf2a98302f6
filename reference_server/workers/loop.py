"""The worker: claims tasks, runs their steps, records the outcome, and drains when told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import UUID

import asyncpg
import structlog

from reference_server.connection_kind import ConnectionKind
from reference_server.generation.errors import StaleClaim
from reference_server.generation.moves import ServiceSettings
from reference_server.generation.steps import Checkpoint, StepRun, run_step
from reference_server.generation.writer import ContentWriter
from reference_server.store.pool import CONNECTION_LOST, DATABASE_REFUSES, CommitUnknown
from reference_server.store.tasks import Claimed
from reference_server.workers.heartbeat import Heartbeat
from reference_server.workers.link import worker_id_of
from reference_server.workers.observer import Counts, Observer
from reference_server.workers.outcome import failure_of
from reference_server.workers.record import Begun, Recorder
from reference_server.workers.rescue import rescue, sweep_prompts
from reference_server.workers.wake import Listener

log = structlog.get_logger(__name__)

_DATABASE_ERRORS = (*CONNECTION_LOST, asyncpg.PostgresError, CommitUnknown)
MAX_CLAIM_PAUSE_S = 5.0
TROUBLE_PAUSE_S, MAX_TROUBLE_PAUSE_S = 0.5, 60.0
T = TypeVar("T")


class CannotRecord(Exception):
    """The database could not be reached, or refused, to write an outcome: that is no failure of the step."""


@dataclass(frozen=True)
class WorkerSettings:
    """`heartbeat_seconds` is at most a third of the lease. With `listen` False the worker only polls."""

    concurrency: int = 4
    poll_seconds: float = 5.0
    heartbeat_seconds: float = 10.0
    sweep_seconds: float | None = None  # half the lease when not given
    call_deadline_seconds: float = 120.0
    step_deadline_seconds: float = 1800.0
    listen: bool = True
    connection: ConnectionKind = ConnectionKind.DIRECT
    service: ServiceSettings = field(default_factory=ServiceSettings)


@dataclass(frozen=True)
class WorkerStatus:
    worker_id: str
    running: int
    concurrency: int
    listening: bool
    draining: bool
    seconds_since_heartbeat: float
    seconds_since_claim: float


@dataclass
class _Slot:
    """A running task, and after it the tasks inherited from it.

    While an outcome is being written, a lost lease does not stop the slot: the guarded write decides.
    """

    task: Claimed
    work: asyncio.Task[None] | None = None
    recording: bool = False
    lost: str | None = None


class Worker:
    """Runs up to `concurrency` tasks at once. `pool` is one of `store.pool.open_pool`, of at least two connections;
    `dsn` is for the connections of its own that listen and beat."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        dsn: str,
        writer: ContentWriter,
        settings: WorkerSettings | None = None,
        *,
        observer: Observer | None = None,
    ) -> None:
        self.settings = settings or WorkerSettings()
        self.hostname = socket.gethostname()
        self.worker_id = worker_id_of(self.hostname)
        self._pool = pool
        self._writer = writer
        self._observer = observer or Counts()
        self._recorder = Recorder(pool, self.worker_id, self.hostname, self.settings.service)
        self._slots: dict[UUID, _Slot] = {}
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._last_claim = time.monotonic()
        self._trouble_pause_s = TROUBLE_PAUSE_S
        self._listener = Listener(dsn, self._wake.set, worker_id=self.worker_id)
        self._heartbeat = Heartbeat(
            dsn,
            worker_id=self.worker_id,
            interval_s=self.settings.heartbeat_seconds,
            lease_s=self.settings.service.lease_seconds,
            running=lambda: tuple(self._slots),
            lost=self._lose,
            kind=self.settings.connection,
        )

    @property
    def listens(self) -> bool:
        """Whether it asks to be told of new tasks. A transaction pooler accepts LISTEN and delivers nothing."""
        return self.settings.listen and self.settings.connection is not ConnectionKind.TRANSACTION_POOLER

    @property
    def status(self) -> WorkerStatus:
        now = time.monotonic()
        return WorkerStatus(
            worker_id=self.worker_id,
            running=len(self._slots),
            concurrency=self.settings.concurrency,
            listening=self._listener.working,
            draining=self._stopping.is_set(),
            seconds_since_heartbeat=now - self._heartbeat.last_beat,
            seconds_since_claim=now - self._last_claim,
        )

    async def run(self) -> None:
        """Works until drained or cancelled; running tasks are then given back."""
        log.info("worker started", worker_id=self.worker_id, concurrency=self.settings.concurrency)
        helpers = [asyncio.create_task(self._heartbeat.run(), name="heartbeat")]
        helpers.append(asyncio.create_task(self._sweep(), name="sweep"))
        if self.listens:
            helpers.append(asyncio.create_task(self._listener.run(), name="listen"))
        claiming = asyncio.create_task(self._claim_until_stopped(), name="claim")
        try:
            done, _ = await asyncio.wait({claiming, *helpers}, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()  # raises what ended a helper: helpers never end by themselves
        finally:
            claiming.cancel()
            await asyncio.gather(claiming, return_exceptions=True)
            await self._give_back()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            log.info("worker ended", worker_id=self.worker_id)

    async def drain(self, deadline_s: float) -> None:
        """Stops claiming; running tasks have `deadline_s` to end, others go back without using up a retry."""
        self._stopping.set()
        self._wake.set()
        running = [slot.work for slot in self._slots.values() if slot.work]
        if running:
            log.info("draining", worker_id=self.worker_id, tasks=len(running), deadline_seconds=deadline_s)
            await asyncio.wait(running, timeout=max(0.0, deadline_s))
        await self._give_back()

    async def _claim_until_stopped(self) -> None:
        await self._dispatch()
        # `drain` decides how long running tasks may go on.
        while running := [slot.work for slot in self._slots.values() if slot.work]:
            await asyncio.wait(running)

    async def _dispatch(self) -> None:
        pause_s = 0.1
        while not self._stopping.is_set():
            patience_s = self.settings.poll_seconds
            # Cleared before the queue is read, so that a task announced from now on ends the wait below.
            self._wake.clear()
            try:
                while len(self._slots) < self.settings.concurrency and not self._stopping.is_set():
                    if not await self._claim():
                        due_s = await self._recorder.next_due()
                        patience_s = patience_s if due_s is None else min(patience_s, max(0.0, due_s) + 0.005)
                        break
                pause_s = 0.1
            except _DATABASE_ERRORS as error:
                # Also raised before the migration: once the queue exists, the worker goes on by itself.
                self._observer.claim_failed()
                log.warning("the task queue cannot be read", error=repr(error), retry_in_seconds=pause_s)
                await self._wait(pause_s, wake=False)
                pause_s = min(MAX_CLAIM_PAUSE_S, pause_s * 2)
                continue
            await self._wait(patience_s, wake=True)

    async def _wait(self, seconds: float, *, wake: bool) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await (self._wake if wake else self._stopping).wait()

    async def _claim(self) -> bool:
        """Takes a task and starts on it; False when there is none."""
        begun = await self._recorder.begin()
        self._last_claim = time.monotonic()
        if begun is None:
            return False
        self._observer.task_claimed(begun.task.task_type)
        if begun.run is None:
            self._observer.task_ended(begun.outcome)
            return True
        if self._stopping.is_set():
            await self._recorder.release(begun.task)
            self._observer.task_ended("released")
            return False
        slot = _Slot(begun.task)
        self._slots[begun.task.claim_token] = slot
        slot.work = asyncio.create_task(self._work(slot, begun.run), name=f"task {begun.task.id}")
        return True

    async def _work(self, slot: _Slot, run: StepRun) -> None:
        begun: Begun | None = Begun(slot.task, run)
        try:
            while begun is not None and begun.run is not None:
                begun = await self._work_on(slot, begun.run)
                if begun is not None:
                    del self._slots[slot.task.claim_token]
                    slot.task = begun.task
                    self._slots[slot.task.claim_token] = slot
                    self._observer.task_claimed(slot.task.task_type)
        finally:
            self._slots.pop(slot.task.claim_token, None)
            self._wake.set()

    async def _work_on(self, slot: _Slot, run: StepRun) -> Begun | None:
        """Runs one task to its end; returns the task inherited from it, if any."""
        task = slot.task
        with structlog.contextvars.bound_contextvars(process_id=str(task.process_id), task_id=str(task.id)):
            try:
                outcome, heir = await self._run(slot, run)
                self._observer.task_ended(outcome)
                return heir
            except StaleClaim as stale:
                self._observer.task_ended("discarded")
                log.info("work discarded", step=run.step, reason=stale.reason)
            except asyncio.CancelledError:
                if slot.lost is None:
                    raise
                self._observer.task_ended("discarded")
                log.info("work stopped", step=run.step, reason=slot.lost)
            except (CannotRecord, *_DATABASE_ERRORS) as error:
                log.error(
                    "the outcome could not be written; the task is given back",
                    error=repr(error),
                    after_seconds=self._trouble_pause_s,
                )
                self._observer.task_ended("released" if await self._give_back_later(slot.task) else "discarded")
        return None

    async def _give_back_later(self, task: Claimed) -> bool:
        """Gives the task back after a pause, which grows as long as the database is in trouble: nobody gains when the
        same work is done again at once. False when that cannot be written either; then the lease expires and another
        worker takes over."""
        pause_s = self._trouble_pause_s
        self._trouble_pause_s = min(MAX_TROUBLE_PAUSE_S, pause_s * 2)
        await asyncio.sleep(pause_s)
        try:
            return await self._recorder.release(task)
        except _DATABASE_ERRORS as error:
            log.warning("a task could not be given back; it will be rescued", error=repr(error))
            return False

    async def _run(self, slot: _Slot, run: StepRun) -> tuple[str, Begun | None]:
        """Runs the step and records the outcome; returns it with the task inherited from it, if any."""
        task, revision = slot.task, run.context.revision

        async def emit(checkpoint: Checkpoint) -> None:
            nonlocal revision
            current = replace(checkpoint, context=replace(checkpoint.context, revision=revision))
            stored = await self._recording(slot, lambda: self._recorder.checkpoint(task, current))
            revision = stored.revision

        began = time.monotonic()
        try:
            async with asyncio.timeout(self.settings.step_deadline_seconds):
                result = await run_step(run, self._writer, emit, call_deadline_s=self.settings.call_deadline_seconds)
            self._observer.step_done(run.step, time.monotonic() - began)
            finished = replace(result, context=replace(result.context, revision=revision))
            inherit = not self._stopping.is_set()
            heir = await self._recording(slot, lambda: self._recorder.finish(task, run, finished, inherit=inherit))
            self._trouble_pause_s = TROUBLE_PAUSE_S
        except (StaleClaim, CannotRecord):
            raise
        except Exception as error:
            failure = failure_of(error, run.step)
            if not failure.expected:
                log.exception("step failed unexpectedly", step=run.step)
            became = await self._recording(slot, lambda: self._recorder.fail(task, run.step, failure))
            log.info("step failed", step=run.step, attempt=run.attempt + 1, error=failure.message, task=became)
            return ("retried" if became == "pending" else "failed"), None
        return "completed", heir

    async def _recording(self, slot: _Slot, write: Callable[[], Awaitable[T]]) -> T:
        slot.recording = True
        try:
            return await write()
        except (*CONNECTION_LOST, *DATABASE_REFUSES, CommitUnknown) as error:
            raise CannotRecord(repr(error)) from error
        finally:
            slot.recording = False

    def _lose(self, token: UUID, reason: str) -> None:
        slot = self._slots.get(token)
        if slot is not None and slot.work is not None and not slot.recording:
            slot.lost = reason
            slot.work.cancel()

    async def _give_back(self) -> None:
        """Cancels running tasks and returns them to the queue."""
        slots = [slot for slot in self._slots.values() if slot.work]
        for slot in slots:
            assert slot.work is not None
            slot.work.cancel()
        await asyncio.gather(*(slot.work for slot in slots if slot.work), return_exceptions=True)
        for slot in slots:
            try:
                if await self._recorder.release(slot.task):
                    self._observer.task_ended("released")
            except _DATABASE_ERRORS as error:
                log.warning("a task could not be given back; it will be rescued", error=repr(error))

    async def _sweep(self) -> None:
        service = self.settings.service
        every = self.settings.sweep_seconds or service.lease_seconds / 2
        while True:
            try:
                if await rescue(self._pool, service, self._observer):
                    self._wake.set()
                await sweep_prompts(self._pool)
            except _DATABASE_ERRORS as error:
                log.warning("sweep failed", error=repr(error), retry_in_seconds=every)
            await asyncio.sleep(every)
