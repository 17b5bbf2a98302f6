"""The task queue: enqueue, claim, and the guarded writes of whoever holds a claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from reference_server.store.pool import Connection
from reference_server.store.queries import queries
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


@dataclass(frozen=True)
class Rescued:
    """`status` is pending, or failed for a task that killed too many workers."""

    id: UUID
    process_id: UUID
    status: str
    rescue_count: int
    worker_id: str | None


async def enqueue(
    db: Connection,
    *,
    task_id: UUID,
    process_id: UUID,
    task_type: TaskType,
    data: Mapping[str, Any],
    max_retries: int,
    retry_delay_s: int,
    created_by: str,
) -> None:
    """Adds the task; does nothing when the id exists."""
    await db.execute(
        _SQL["enqueue"],
        process_id,
        str(task_type),
        dict(data),
        PRIORITY[task_type],
        task_id,
        max_retries,
        retry_delay_s,
        created_by,
    )


async def claim(db: Connection, worker_id: str, hostname: str, types: Sequence[TaskType]) -> Claimed | None:
    """The next due task, locked together with its process; None when there is none to be had."""
    row = await db.fetchrow(_SQL["claim"], worker_id, hostname, [str(type_) for type_ in types])
    return None if row is None else Claimed(**dict(row))


async def next_due(db: Connection | asyncpg.Pool, types: Sequence[TaskType]) -> float | None:
    """Seconds until the next task that is scheduled for later."""
    seconds = await db.fetchval(_SQL["next_due"], [str(type_) for type_ in types])
    return None if seconds is None else float(seconds)


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


async def release(db: Connection | asyncpg.Pool, task_id: UUID, token: UUID) -> bool:
    """Gives a task back unfinished; False when the claim is lost."""
    return bool(await db.fetchval(_SQL["release"], task_id, token))


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
