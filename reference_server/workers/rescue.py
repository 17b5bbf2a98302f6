"""Sweeps that every worker makes: for tasks of dead workers, and for prompts that nobody answers."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import asyncpg

from reference_server.generation import moves
from reference_server.generation.moves import ServiceSettings
from reference_server.store import events, processes, tasks
from reference_server.store.pool import Connection, transact
from reference_server.workers.observer import Observer
from toolkit.contract.events import EventType, Source
from toolkit.contract.statuses import RUNNING, Action, Status, advance
from toolkit.contract.steps import Step

PROMPTS_A_SWEEP = 100


async def rescue(pool: asyncpg.Pool, settings: ServiceSettings, observer: Observer) -> int:
    """Gives tasks whose lease expired back to the queue, and returns how many. A task that keeps killing its workers
    fails, and its process with it."""

    async def work(db: Connection) -> list[tasks.Rescued]:
        found = await tasks.rescue(db, settings.lease_seconds, settings.max_rescues)
        for task in found:
            await _tell(db, task)
        return found

    found = await transact(pool, work)
    for task in found:
        observer.task_ended("rescued" if task.status == "pending" else "failed")
    return len(found)


async def _tell(db: Connection, task: tasks.Rescued) -> None:
    state = await processes.lock(db, task.process_id)  # the rescue has locked it already
    if state is None or Status(state.status) not in RUNNING:
        return
    step = state.current_step_name or Step.START
    if task.status == "failed":
        message = f"{step} was taken up {task.rescue_count + 1} times and each time its worker died"
        await moves.fail(db, task.process_id, Status(state.status), step, message)
        return
    await processes.stop_executing(db, task.process_id)
    data = {
        "task_id": str(task.id),
        "rescue_count": task.rescue_count,
        "step_name": step,
        "message": "The worker stopped responding; another one takes over.",
    }
    await events.append(db, task.process_id, Source.WORKER, (EventType.TASK_RESCUED, data))


async def sweep_prompts(pool: asyncpg.Pool) -> int:
    """Reminds of prompts at half time and pauses processes whose prompt expired; how many were touched."""
    due = await processes.due_prompts(pool, PROMPTS_A_SWEEP)
    return sum([await transact(pool, partial(_settle, process_id)) for process_id in due])


async def _settle(process_id: UUID, db: Connection) -> bool:
    prompt = await processes.lock_prompt(db, process_id)
    if prompt is None:
        return False
    facts = {"input_type": prompt.input_type, "timeout_at": prompt.user_input_timeout.isoformat()}
    if prompt.expired:
        await processes.pause(db, process_id, advance(Status.USER_INPUT_REQUIRED, Action.EXPIRE))
        data = facts | {
            "message": "Nobody answered in time; resume to be asked again.",
            "reason": "input_timeout",
            "step_name": prompt.current_step_name,
        }
        await events.append(db, process_id, Source.WORKER, (EventType.GENERATION_PAUSED, data))
        await tasks.pause(db, process_id)
        return True
    if prompt.input_reminder_sent:
        return False
    await processes.note_reminder(db, process_id)
    await events.append(db, process_id, Source.WORKER, (EventType.USER_INPUT_REMINDER, facts))
    return True
