"""A worker's writes: begin, checkpoint, finish, fail. Each is one transaction, guarded by the claim token.

The process is locked first. When it no longer runs, or the task has another holder, StaleClaim is
raised and nothing is written: the work is thrown away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from reference_server.generation import decide, moves
from reference_server.generation.context import ArticleContext, ContextUnreadable, from_json
from reference_server.generation.control import saved_step
from reference_server.generation.errors import StaleClaim
from reference_server.generation.moves import ServiceSettings
from reference_server.generation.steps import MESSAGES, Checkpoint, StepResult, StepRun
from reference_server.store import events, processes, tasks
from reference_server.store.pool import CONNECTION_LOST, CommitUnknown, Connection, transact
from reference_server.store.tasks import Claimed
from reference_server.workers.outcome import Failure
from toolkit.contract.events import EventType, Source
from toolkit.contract.statuses import RUNNING, Action, Status, advance
from toolkit.contract.steps import STEPS, Kind, Step, progress_after
from toolkit.contract.tasks import TaskType

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
            step = decide.stands_at(saved_step(state.current_step_name, state.resume_from_step), context)
        except (ContextUnreadable, ValueError) as error:
            problem = Failure(str(error), retryable=False, details={"type": type(error).__name__})
            await self._fail(db, task, Status(state.status), state.current_step_name or Step.START, problem)
            return Begun(task, None, "failed")
        if STEPS[step].kind is not Kind.WORK:
            # Somebody gave out a task for a process that waits: put the question again.
            await moves.ask(db, task.process_id, step, context, self._settings)
            await self._complete_task(db, task)
            return Begun(task, None, "completed")
        advance(Status(state.status), Action.ADVANCE)
        task_id = str(task.id)
        if state.current_step_name in (None, Step.START):
            started = {"task_id": task_id, "current_step": step, "message": "The generation has started."}
            await events.append(db, task.process_id, Source.WORKER, (EventType.GENERATION_STARTED, started))
        progress = progress_after(state.progress_percentage, step)
        await processes.begin_step(
            db, task.process_id, status=moves.running_status(context), step=step, progress=progress, task=task.id
        )
        begun = {"step_name": step, "message": MESSAGES[step], "task_id": task_id, "attempt": task.attempt + 1}
        await events.append(db, task.process_id, Source.WORKER, (EventType.STEP_STARTED, begun))
        return Begun(task, StepRun(step, context, progress, task.attempt))

    async def next_due(self) -> float | None:
        """Seconds until the next task that is scheduled for later, a retry for instance."""
        return await tasks.next_due(self._pool, tuple(TaskType))

    async def checkpoint(self, task: Claimed, checkpoint: Checkpoint) -> ArticleContext:
        """Keeps a part of a step; the context as stored. Raises StaleClaim."""
        context = moves.written(checkpoint.context)

        async def work(db: Connection) -> None:
            state = await self._guard(db, task)
            progress = max(state.progress_percentage, checkpoint.progress)
            await processes.checkpoint(db, task.process_id, moves.document(context), progress)
            await events.append(
                db, task.process_id, Source.WORKER, *((event.type, event.data) for event in checkpoint.events)
            )

        async def landed(db: Connection) -> bool:
            state = await processes.lock_briefly(db, task.process_id)
            return state is not None and state.revision >= context.revision

        await self._write(task, work, landed)
        return context

    async def finish(self, task: Claimed, run: StepRun, result: StepResult) -> None:
        """Ends the step and the task, and starts what follows: the next task, a prompt, or the end.

        Raises StaleClaim.
        """
        onward = decide.after(run.step, result.context)
        entered = onward.passed.gate if onward.passed else onward.step

        async def work(db: Connection) -> None:
            state = await self._guard(db, task)
            status = Status(state.status)
            process_id = task.process_id
            completed = {
                "step_name": run.step,
                "next_step": entered,
                "message": f"{MESSAGES[run.step]}: done.",
                "task_id": str(task.id),
            }
            await events.append(
                db,
                process_id,
                Source.WORKER,
                *((event.type, event.data) for event in result.events),
                (EventType.STEP_COMPLETED, completed),
            )
            context, next_task = moves.written(onward.context), None
            if onward.kind is Kind.WORK:
                advance(status, Action.ADVANCE)
                context, next_task = await moves.give_out(
                    db,
                    process_id,
                    context,
                    onward.step,
                    TaskType.CONTINUE,
                    settings=self._settings,
                    created_by=self._worker_id,
                )
            progress = progress_after(state.progress_percentage, entered)
            await processes.finish_step(
                db,
                process_id,
                finished=run.step,
                context=moves.document(context),
                step=entered,
                progress=progress,
                next_task=next_task,
            )
            if onward.passed is not None:
                await self._pass_gate(db, process_id, onward, context, progress)
            if onward.kind is Kind.GATE:
                advance(status, Action.ASK)
                await moves.ask(db, process_id, onward.step, context, self._settings)
            elif onward.kind is Kind.END:
                await moves.complete(db, process_id, status, context)
            await self._complete_task(db, task)

        await self._write(task, work, None)

    async def fail(self, task: Claimed, step: Step, failure: Failure) -> str:
        """Ends the attempt: `pending` when it will be tried again, `failed` when the process is now in error.

        Raises StaleClaim.
        """
        became = ""

        async def work(db: Connection) -> None:
            nonlocal became
            state = await self._guard(db, task)
            became = await self._fail(db, task, Status(state.status), step, failure)

        await self._write(task, work, None)
        return became

    async def release(self, task: Claimed) -> bool:
        """Gives the task back unfinished, without using up a retry; False when it is no longer held."""

        async def work(db: Connection) -> bool:
            if await processes.lock_briefly(db, task.process_id) is None:
                return False
            released = await tasks.release(db, task.id, task.claim_token)
            if released:
                await processes.stop_executing(db, task.process_id)
            return released

        return await transact(self._pool, work)

    async def _pass_gate(
        self, db: Connection, process_id: UUID, onward: decide.Advance, context: ArticleContext, progress: int
    ) -> None:
        assert onward.passed is not None
        made = {
            "input_type": onward.passed.input_type,
            "selection": onward.passed.selection,
            "strategy": onward.passed.strategy,
        }
        await events.append(db, process_id, Source.WORKER, (EventType.AUTO_SELECTION_MADE, made))
        await processes.enter_step(
            db,
            process_id,
            step=onward.step,
            progress=progress_after(progress, onward.step),
            context=moves.document(context),
        )

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

    async def _guard(self, db: Connection, task: Claimed) -> processes.LockedBriefly:
        state = await processes.lock_briefly(db, task.process_id)
        if state is None:
            raise StaleClaim("the process was deleted")
        if Status(state.status) not in RUNNING:
            raise StaleClaim(f"the process is {state.status}")
        if not await tasks.held(db, task.id, task.claim_token):
            raise StaleClaim("the task has another holder")
        return state

    async def _complete_task(self, db: Connection, task: Claimed) -> None:
        if not await tasks.complete(db, task.id, task.claim_token):
            raise StaleClaim("the task has another holder")

    async def _write(
        self,
        task: Claimed,
        work: Callable[[Connection], Awaitable[None]],
        landed: Callable[[Connection], Awaitable[bool]] | None,
    ) -> None:
        """Runs `work`, through lost connections too.

        When the reply to COMMIT is lost, the database is asked what happened. `landed` tells for writes
        that keep the claim; those that end it have landed when the claim is gone.
        """
        for delay in (*REPEAT_DELAYS_S, None):
            try:
                await transact(self._pool, work)
                return
            except CommitUnknown:
                if await self._has_landed(task, landed):
                    return
            except CONNECTION_LOST:
                if delay is None:
                    raise
            if delay is not None:
                await asyncio.sleep(delay)
        raise ConnectionError("the database could not be written to")

    async def _has_landed(self, task: Claimed, landed: Callable[[Connection], Awaitable[bool]] | None) -> bool:
        async def ended(db: Connection) -> bool:
            # The lock waits for the transaction in doubt, should the server still be busy with it.
            await processes.lock_briefly(db, task.process_id)
            return not await tasks.held(db, task.id, task.claim_token)

        for delay in REPEAT_DELAYS_S:
            try:
                return await transact(self._pool, landed or ended)
            except (*CONNECTION_LOST, CommitUnknown):
                await asyncio.sleep(delay)
        return await transact(self._pool, landed or ended)
