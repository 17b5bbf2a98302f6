"""The task queue: enqueue, claim, and the writes guarded by a claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import asyncpg

from reference_server.store.events import Event, documents
from reference_server.store.pool import Connection
from reference_server.store.queries import queries
from toolkit.contract.events import Source
from toolkit.contract.tasks import PRIORITY, TaskType

_SQL = queries("tasks")


@dataclass(frozen=True)
class Claimed:
    """A task and the token that guards every write of its worker."""

    id: UUID
    process_id: UUID
    task_type: str
    task_data: dict[str, Any]
    claim_token: UUID
    retry_count: int
    rescue_count: int
    max_retries: int

    @property
    def attempt(self) -> int:
        """0 for the first; a rescue is a new attempt as a retry is."""
        return self.retry_count + self.rescue_count

    @property
    def heir_token(self) -> UUID:
        """The token of the next task when this worker takes it at once. It is derived from this claim, so that the
        worker still knows it when the reply to the statement is lost."""
        return uuid5(self.claim_token, "heir")


@dataclass(frozen=True)
class NewTask:
    """A task to be added. The id is derived from its purpose, so that adding it twice adds one task."""

    id: UUID
    task_type: TaskType
    data: Mapping[str, Any]
    max_retries: int
    retry_delay_s: int
    created_by: str

    @property
    def priority(self) -> int:
        return PRIORITY[self.task_type]

    def claimed(self, process_id: UUID, token: UUID) -> Claimed:
        """This task as its first worker has it."""
        return Claimed(
            id=self.id,
            process_id=process_id,
            task_type=str(self.task_type),
            task_data=dict(self.data),
            claim_token=token,
            retry_count=0,
            rescue_count=0,
            max_retries=self.max_retries,
        )


@dataclass(frozen=True)
class FinishedStep:
    """What ending a step changes. `events` come first, then the gate passed without asking and its
    events, then `step` is entered; `heir_events` are appended when the next task is taken on at once."""

    finished: str
    context: Mapping[str, Any]
    events: Sequence[Event]
    step: str
    progress: int
    gate: str | None = None
    gate_progress: int | None = None
    gate_events: Sequence[Event] = ()
    next_task: NewTask | None = None
    heir_events: Sequence[Event] = ()


@dataclass(frozen=True)
class Ending:
    """`refusal` says why nothing was written; `reached` is the progress now stored; `inherited`: the
    caller holds the next task."""

    refusal: str | None
    reached: int | None
    inherited: bool | None


@dataclass(frozen=True)
class Rescued:
    """`status` is pending, or failed for a task that killed too many workers."""

    id: UUID
    process_id: UUID
    status: str
    rescue_count: int
    worker_id: str | None


async def enqueue(db: Connection, process_id: UUID, task: NewTask) -> None:
    """Adds the task; does nothing when the id exists."""
    await db.execute(
        _SQL["enqueue"],
        process_id,
        str(task.task_type),
        dict(task.data),
        task.priority,
        task.id,
        task.max_retries,
        task.retry_delay_s,
        task.created_by,
    )


async def claim(db: Connection, worker_id: str, hostname: str, types: Sequence[TaskType]) -> Claimed | None:
    """The next due task, locked together with its process; None when there is none to be had."""
    row = await db.fetchrow(_SQL["claim"], worker_id, hostname, [str(type_) for type_ in types])
    return None if row is None else Claimed(**dict(row))


async def next_due(db: Connection | asyncpg.Pool, types: Sequence[TaskType]) -> float | None:
    """Seconds until the next task that is scheduled for later."""
    seconds = await db.fetchval(_SQL["next_due"], [str(type_) for type_ in types])
    return None if seconds is None else float(seconds)


async def notify(db: Connection, channel: str, payload: str) -> None:
    await db.execute(_SQL["notify"], channel, payload)


async def refuse(db: Connection, task: Claimed) -> str | None:
    """Locks the process and returns why the holder of the claim may not write, None when it may."""
    reason: str | None = await db.fetchval(_SQL["refuse"], task.process_id, task.id, task.claim_token)
    return reason


async def checkpoint(
    db: Connection,
    task: Claimed,
    source: Source,
    *,
    context: Mapping[str, Any],
    progress: int,
    made: Sequence[Event],
    part_done: bool,
) -> str | None:
    """Keeps a part of a step in one round trip; why it was refused, None when it is kept. A part that is done
    starts the count of retries anew."""
    reason: str | None = await db.fetchval(
        _SQL["checkpoint"],
        task.process_id,
        task.id,
        task.claim_token,
        context,
        progress,
        documents(made),
        str(source),
        part_done,
    )
    return reason


async def finish(db: Connection, task: Claimed, source: Source, step: FinishedStep, *, inherit: bool) -> Ending:
    """Ends step and task and adds the next one in one round trip. With `inherit` the next task is claimed with
    `task.heir_token`, provided that a claim would choose it."""
    new = step.next_task
    following = new and {
        "id": str(new.id),
        "type": str(new.task_type),
        "data": dict(new.data),
        "priority": new.priority,
        "max_retries": new.max_retries,
        "retry_delay_seconds": new.retry_delay_s,
        "created_by": new.created_by,
    }
    row = await db.fetchrow(
        _SQL["finish"],
        task.process_id,
        task.id,
        task.claim_token,
        step.finished,
        step.context,
        documents(step.events),
        str(source),
        step.step,
        step.progress,
        step.gate,
        step.gate_progress,
        documents(step.gate_events),
        following,
        task.heir_token if inherit else None,
        documents(step.heir_events),
    )
    assert row is not None
    return Ending(**dict(row))


async def held(db: Connection, task_id: UUID, token: UUID) -> bool:
    return bool(await db.fetchval(_SQL["held"], task_id, token))


async def complete(db: Connection, task_id: UUID, token: UUID) -> bool:
    """False when the claim is lost."""
    return bool(await db.fetchval(_SQL["complete"], task_id, token))


async def fail(
    db: Connection, task_id: UUID, token: UUID, message: str, details: Mapping[str, Any], *, retryable: bool
) -> str | None:
    """`pending` (will be tried again), `failed`, or None when the claim is lost."""
    status = await db.fetchval(_SQL["fail"], task_id, token, message, dict(details), retryable)
    return None if status is None else str(status)


async def retry_facts(db: Connection, task_id: UUID) -> tuple[int, datetime]:
    """How often the task was retried, and when it is due."""
    row = await db.fetchrow(_SQL["retry_facts"], task_id)
    assert row is not None
    return row["retry_count"], row["scheduled_for"]


async def release(db: Connection, task: Claimed) -> bool:
    """Gives back unfinished the task, or the one inherited from it; False when neither is held."""
    return bool(await db.fetchval(_SQL["release"], task.process_id, [task.claim_token, task.heir_token]))


async def heartbeat(db: Connection, tokens: Sequence[UUID]) -> frozenset[UUID]:
    """Renews the leases; the tokens that still hold their task."""
    return frozenset(row["claim_token"] for row in await db.fetch(_SQL["heartbeat"], list(tokens)))


async def rescue(db: Connection, lease_s: float, max_rescues: int) -> list[Rescued]:
    """Takes tasks from workers that went silent; their processes stay locked until the transaction ends."""
    rows = await db.fetch(_SQL["rescue"], timedelta(seconds=lease_s), max_rescues)
    return [Rescued(**dict(row)) for row in rows]


async def pause(db: Connection, process_id: UUID) -> None:
    """Takes every open task of the process out of the queue, also from a worker that runs it."""
    await db.execute(_SQL["pause"], process_id)


async def unpause(db: Connection, process_id: UUID) -> frozenset[str]:
    """Puts paused tasks back into the queue; the types of those there were."""
    return frozenset(row["task_type"] for row in await db.fetch(_SQL["unpause"], process_id))


async def cancel_open(db: Connection, process_id: UUID, reason: str) -> None:
    """Cancels every open task of the process, and what depends on them."""
    ids = [row["id"] for row in await db.fetch(_SQL["open"], process_id)]
    await db.execute(_SQL["cancel"], ids, reason)
    for task_id in ids:
        await db.execute(_SQL["settle"], task_id)
