"""Pause, resume and cancel, inside the caller's transaction."""

from __future__ import annotations

from uuid import UUID

from reference_server.generation import moves, next_step
from reference_server.generation.errors import ActionNotAllowed, NotFound, ProcessUnreadable
from reference_server.generation.moves import ServiceSettings
from reference_server.generation.views import ControlResult
from reference_server.store import events, processes, tasks
from reference_server.store.pool import Connection
from toolkit.contract.events import EventType, Source
from toolkit.contract.statuses import Action, IllegalTransition, Status, advance
from toolkit.contract.steps import STEPS, Kind, Step, progress_after
from toolkit.contract.tasks import TaskType, realtime_channel


async def pause(db: Connection, process_id: UUID) -> ControlResult:
    """Raises NotFound, ActionNotAllowed. Pausing a paused process changes nothing."""
    state = await _locked(db, process_id)
    if state.status == Status.PAUSED:
        return _result(process_id, Status.PAUSED, changed=False)
    status = allowed(Status(state.status), Action.PAUSE)
    await processes.pause(db, process_id, status)
    data = {"message": "Paused by the user.", "reason": "user", "step_name": state.current_step_name}
    await events.append(db, process_id, Source.API, (EventType.GENERATION_PAUSED, data))
    await tasks.pause(db, process_id)
    return _result(process_id, status)


async def cancel(db: Connection, process_id: UUID) -> ControlResult:
    """Raises NotFound, ActionNotAllowed. Cancelling a cancelled process changes nothing."""
    state = await _locked(db, process_id)
    if state.status == Status.CANCELLED:
        return _result(process_id, Status.CANCELLED, changed=False)
    status = allowed(Status(state.status), Action.CANCEL)
    await processes.cancel(db, process_id, status)
    data = {"message": "Cancelled by the user.", "step_name": state.current_step_name}
    await events.append(db, process_id, Source.API, (EventType.GENERATION_CANCELLED, data))
    await tasks.cancel_open(db, process_id, "the process was cancelled")
    return _result(process_id, status)


async def resume(db: Connection, process_id: UUID, settings: ServiceSettings) -> ControlResult:
    """Raises NotFound, ActionNotAllowed, ProcessUnreadable."""
    state = await _locked(db, process_id)
    status = allowed(Status(state.status), Action.RESUME)
    context = moves.context_of(state)
    try:
        saved = saved_step(state.current_step_name, state.resume_from_step)
    except ValueError as error:
        raise ProcessUnreadable(f"The process was saved on a step this version does not know: {error}") from error
    step = next_step.stands_at(saved, context)
    # The event comes before the change of the row: after `generation_error` only `generation_resumed` may follow.
    resumed = {"message": f"Resumed at {step}.", "resume_step": step}
    await events.append(db, process_id, Source.API, (EventType.GENERATION_RESUMED, resumed))
    context = moves.with_next_revision(context)
    progress = progress_after(state.progress_percentage, step)

    if STEPS[step].kind is Kind.GATE:
        if state.status == Status.PAUSED:
            allowed(Status.PAUSED, Action.REOPEN)
            await processes.reopen(db, process_id, step=step, context=moves.document(context))
        else:
            await processes.resume(
                db, process_id, status=status, step=step, context=moves.document(context), progress=progress
            )
        await moves.ask(db, process_id, step, context, settings, reopen=state.status == Status.PAUSED)
        return _result(process_id, Status.USER_INPUT_REQUIRED)

    task_id = None
    types = await tasks.unpause(db, process_id)
    if not types & set(TaskType):
        context, task = moves.next_task(
            process_id, context, step, TaskType.RESUME, settings=settings, created_by=state.user_id
        )
        await tasks.enqueue(db, process_id, task)
        task_id = task.id
    # A process whose first step never ran goes back to `start`, so that its beginning is still announced.
    at = Step.START if saved is Step.START else step
    await processes.resume(
        db,
        process_id,
        status=status,
        step=at,
        context=moves.document(context),
        progress=state.progress_percentage if at is Step.START else progress,
        task=task_id,
    )
    return _result(process_id, status)


def saved_step(current: str | None, resume_from: str | None) -> Step:
    """The step a row was saved on; after an error the one that failed.

    Raises ValueError naming a step this version does not know.
    """
    for name in (current, resume_from):
        if name is not None and name not in (Step.ERROR, Step.COMPLETED):
            return Step(name)
    return Step.START


def allowed(status: Status, action: Action) -> Status:
    """The status that follows. Raises ActionNotAllowed."""
    try:
        return advance(status, action)
    except IllegalTransition as error:
        raise ActionNotAllowed(error.status, error.action, error.allowed) from None


async def _locked(db: Connection, process_id: UUID) -> processes.Locked:
    state = await processes.lock(db, process_id)
    if state is None:
        raise NotFound("process", process_id)
    return state


def _result(process_id: UUID, status: Status, *, changed: bool = True) -> ControlResult:
    return ControlResult(process_id, status, realtime_channel(str(process_id)), changed)
