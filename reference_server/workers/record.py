"""A worker's writes: begin, checkpoint, finish, fail. Each is one transaction, guarded by the claim token.

The process is locked first. When it no longer runs, or another worker holds the task, StaleClaim is raised and
nothing is written: the work is discarded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from reference_server.generation import moves, next_step
from reference_server.generation.context import ArticleContext, ContextUnreadable, from_json
from reference_server.generation.control import saved_step
from reference_server.generation.errors import StaleClaim
from reference_server.generation.moves import ServiceSettings
from reference_server.generation.steps import MESSAGES, Checkpoint, StepResult, StepRun
from reference_server.store import events, processes, tasks
from reference_server.store.events import Event
from reference_server.store.pool import CONNECTION_LOST, DATABASE_REFUSES, CommitUnknown, Connection, transact, write
from reference_server.store.tasks import Claimed, Ending, FinishedStep, NewTask
from reference_server.workers.outcome import Failure
from toolkit.contract.events import EventType, Source
from toolkit.contract.statuses import Action, Status, advance
from toolkit.contract.steps import STEPS, Kind, Step, progress_after
from toolkit.contract.tasks import TaskType

T = TypeVar("T")
REPEAT_DELAYS_S = (0.05, 0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Begun:
    """A claimed task and the work it asks for; `run` is None when the claim itself settled everything."""

    task: Claimed
    run: StepRun | None
    outcome: str = "begun"


class Recorder:
    """The guarded writes of one worker."""

    def __init__(self, pool: asyncpg.Pool, worker_id: str, hostname: str, settings: ServiceSettings) -> None:
        self._pool = pool
        self._worker_id = worker_id
        self._hostname = hostname
        self._settings = settings

    async def begin(self) -> Begun | None:
        """Claims the next due task and notes that its step is being worked on; None when there is none."""
        return await transact(self._pool, self._begin)

    async def _begin(self, db: Connection) -> Begun | None:
        task = await tasks.claim(db, self._worker_id, self._hostname, tuple(TaskType))
        if task is None:
            return None
        state = await processes.lock(db, task.process_id)
        assert state is not None  # the claim holds its row
        try:
            context = from_json(state.article_context)
            step = next_step.stands_at(saved_step(state.current_step_name, state.resume_from_step), context)
        except (ContextUnreadable, ValueError) as error:
            problem = Failure(str(error), retryable=False, details={"type": type(error).__name__})
            await self._fail(db, task, Status(state.status), state.current_step_name or Step.START, problem)
            return Begun(task, None, "failed")
        if STEPS[step].kind is not Kind.WORK:
            # The task belongs to a process that waits for input: its prompt is opened again.
            await moves.ask(db, task.process_id, step, context, self._settings)
            await tasks.complete(db, task.id, task.claim_token)
            return Begun(task, None, "completed")
        advance(Status(state.status), Action.ADVANCE)
        if state.current_step_name in (None, Step.START):
            started = {"task_id": str(task.id), "current_step": step, "message": "The generation has started."}
            await events.append(db, task.process_id, Source.WORKER, (EventType.GENERATION_STARTED, started))
        progress = progress_after(state.progress_percentage, step)
        await processes.begin_step(
            db, task.process_id, status=moves.running_status(context), step=step, progress=progress, task=task.id
        )
        started_event = _step_started(step, task.id, attempt=task.attempt)
        await events.append(db, task.process_id, Source.WORKER, started_event)
        return Begun(task, StepRun(step, context, progress, task.attempt))

    async def next_due(self) -> float | None:
        """Seconds until the next task that is scheduled for later, a retry for instance."""
        return await tasks.next_due(self._pool, tuple(TaskType))

    async def checkpoint(self, task: Claimed, checkpoint: Checkpoint) -> ArticleContext:
        """Keeps a part of a step; the context as stored. Raises StaleClaim."""
        context = moves.with_next_revision(checkpoint.context)
        made = [(event.type, event.data) for event in checkpoint.events]

        async def keep(db: Connection) -> ArticleContext:
            document = moves.document(context)
            refusal = await tasks.checkpoint(
                db,
                task,
                Source.WORKER,
                context=document,
                progress=checkpoint.progress,
                made=made,
                part_done=checkpoint.part_done,
            )
            if refusal is not None:
                raise StaleClaim(refusal)
            return context

        async def landed(db: Connection) -> ArticleContext | None:
            state = await processes.lock_briefly(db, task.process_id)
            return context if state is not None and state.revision >= context.revision else None

        return await self._write(lambda: write(self._pool, keep), landed)

    async def finish(self, task: Claimed, run: StepRun, result: StepResult, *, inherit: bool = False) -> Begun | None:
        """Ends the step and the task, and begins what follows: the next task, a prompt, or the end of the process.

        With `inherit` this worker holds the next task at once and it is returned, unless another due task comes before
        it: claiming separately after the step would give the same task. Raises StaleClaim.
        """
        onward = next_step.after(run.step, result.context)
        context = moves.with_next_revision(onward.context)
        following = None
        if onward.kind is Kind.WORK:
            context, following = moves.next_task(
                task.process_id,
                context,
                onward.step,
                TaskType.CONTINUE,
                settings=self._settings,
                created_by=self._worker_id,
            )
        step = _finished(task.id, run, result, replace(onward, context=context), following)

        async def end(db: Connection) -> Ending:
            ending = await tasks.finish(db, task, Source.WORKER, step, inherit=inherit)
            if ending.refusal is not None:
                raise StaleClaim(ending.refusal)
            return ending

        async def end_with_what_follows(db: Connection) -> Ending:
            ending = await end(db)
            status = moves.running_status(context)
            if onward.kind is Kind.GATE:
                advance(status, Action.ASK)
                await moves.ask(db, task.process_id, onward.step, context, self._settings)
            else:
                await moves.complete(db, task.process_id, status, context)
            return ending

        async def landed(db: Connection) -> Ending | None:
            # The lock waits for the transaction in doubt, should the server still be busy with it.
            state = await processes.lock_briefly(db, task.process_id)
            if await tasks.held(db, task.id, task.claim_token):
                return None
            inherited = following is not None and await tasks.held(db, following.id, task.heir_token)
            return Ending(None, state.progress_percentage if state else step.progress, inherited)

        ending = await self._write(
            lambda: write(self._pool, end) if following else transact(self._pool, end_with_what_follows), landed
        )
        if following is None or not ending.inherited:
            return None
        reached = step.progress if ending.reached is None else ending.reached
        heir = following.claimed(task.process_id, task.heir_token)
        return Begun(heir, StepRun(onward.step, context, reached))

    async def fail(self, task: Claimed, step: Step, failure: Failure) -> str:
        """Ends the attempt: `pending` when it will be tried again, `failed` when the process is now in error.

        Raises StaleClaim.
        """
        became = ""

        async def work(db: Connection) -> str:
            nonlocal became
            if (refusal := await tasks.refuse(db, task)) is not None:
                raise StaleClaim(refusal)
            state = await processes.lock_briefly(db, task.process_id)
            assert state is not None
            became = await self._fail(db, task, Status(state.status), step, failure)
            return became

        async def landed(db: Connection) -> str | None:
            await processes.lock_briefly(db, task.process_id)
            return None if await tasks.held(db, task.id, task.claim_token) else became

        return await self._write(lambda: transact(self._pool, work), landed)

    async def release(self, task: Claimed) -> bool:
        """Gives the task back unfinished, or the one inherited from it, without using up a retry; False when
        neither is held any more."""

        async def work(db: Connection) -> bool:
            if await processes.lock_briefly(db, task.process_id) is None:
                return False
            released = await tasks.release(db, task)
            if released:
                await processes.stop_executing(db, task.process_id)
            return released

        return await transact(self._pool, work)

    async def _fail(self, db: Connection, task: Claimed, status: Status, step: str, failure: Failure) -> str:
        became = await tasks.fail(
            db, task.id, task.claim_token, failure.message, failure.details, retryable=failure.retryable
        )
        if became is None:
            raise StaleClaim("the task has another holder")
        if became == "failed":
            await moves.fail(db, task.process_id, status, step, failure.message)
            return became
        retry_count, scheduled_for = await tasks.retry_facts(db, task.id)
        await processes.stop_executing(db, task.process_id)
        scheduled: dict[str, Any] = {
            "task_id": str(task.id),
            "step_name": step,
            "retry_count": retry_count,
            "max_retries": task.max_retries,
            "scheduled_for": scheduled_for.isoformat(),
            "error_message": failure.message[:1000],
        }
        await events.append(db, task.process_id, Source.WORKER, (EventType.TASK_RETRY_SCHEDULED, scheduled))
        return became

    async def _write(
        self, attempt: Callable[[], Awaitable[T]], landed: Callable[[Connection], Awaitable[T | None]]
    ) -> T:
        """Makes the attempt, and repeats it after lost connections and while the database refuses.

        When its outcome is unknown the database is asked: `landed` returns what the attempt would have returned,
        or None when it was not committed.
        """
        for delay in (*REPEAT_DELAYS_S, None):
            try:
                return await attempt()
            except CommitUnknown:
                if (done := await self._ask(landed)) is not None:
                    return done
            except (*CONNECTION_LOST, *DATABASE_REFUSES):
                if delay is None:
                    raise
            if delay is not None:
                await asyncio.sleep(delay)
        raise ConnectionError("the database could not be written to")

    async def _ask(self, landed: Callable[[Connection], Awaitable[T | None]]) -> T | None:
        for delay in REPEAT_DELAYS_S:
            try:
                return await transact(self._pool, landed)
            except (*CONNECTION_LOST, *DATABASE_REFUSES, CommitUnknown):
                await asyncio.sleep(delay)
        return await transact(self._pool, landed)


def _finished(
    task_id: UUID,
    run: StepRun,
    result: StepResult,
    onward: next_step.Advance,
    following: NewTask | None,
) -> FinishedStep:
    """What the database is to do about a finished step; `onward` has the context to be stored."""
    passed = onward.passed
    completed = {
        "step_name": run.step,
        "next_step": passed.gate if passed else onward.step,
        "message": f"{MESSAGES[run.step]}: done.",
        "task_id": str(task_id),
    }
    chosen: list[Event] = []
    if passed is not None:
        made = {"input_type": passed.input_type, "selection": passed.selection, "strategy": passed.strategy}
        chosen.append((EventType.AUTO_SELECTION_MADE, made))
    return FinishedStep(
        finished=run.step,
        context=moves.document(onward.context),
        events=[*((event.type, event.data) for event in result.events), (EventType.STEP_COMPLETED, completed)],
        step=onward.step,
        progress=STEPS[onward.step].progress,
        gate=passed.gate if passed else None,
        gate_progress=STEPS[passed.gate].progress if passed else None,
        gate_events=chosen,
        next_task=following,
        heir_events=[_step_started(onward.step, following.id, attempt=0)] if following else [],
    )


def _step_started(step: Step, task_id: UUID, *, attempt: int) -> Event:
    data = {"step_name": step, "message": MESSAGES[step], "task_id": str(task_id), "attempt": attempt + 1}
    return EventType.STEP_STARTED, data
