"""Typed reads and writes of the state table. Every function takes the connection of its caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from reference_server.store.pool import Connection
from reference_server.store.queries import queries

_SQL = queries("processes")
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Locked:
    """A process that stands still until the transaction ends."""

    id: UUID
    user_id: str
    status: str
    current_step_name: str | None
    progress_percentage: int
    is_waiting_for_input: bool
    input_type: str | None
    resume_from_step: str | None
    article_context: Any


@dataclass(frozen=True)
class LockedBriefly:
    status: str
    progress_percentage: int
    revision: int


@dataclass(frozen=True)
class Prompt:
    """An open prompt, locked."""

    input_type: str
    user_input_timeout: datetime
    current_step_name: str
    input_reminder_sent: bool
    expired: bool


@dataclass(frozen=True)
class KnownAnswer:
    input_type: str
    digest: str
    next_step: str
    regenerates: bool


async def lock(db: Connection, process_id: UUID) -> Locked | None:
    row = await db.fetchrow(_SQL["lock"], process_id)
    return None if row is None else Locked(**dict(row))


async def lock_briefly(db: Connection, process_id: UUID) -> LockedBriefly | None:
    row = await db.fetchrow(_SQL["lock_briefly"], process_id)
    return None if row is None else LockedBriefly(**dict(row))


async def lock_prompt(db: Connection, process_id: UUID) -> Prompt | None:
    """None when no prompt is open, or when somebody is answering it at this moment."""
    row = await db.fetchrow(_SQL["lock_prompt"], process_id)
    return None if row is None else Prompt(**dict(row))


async def view(db: Connection | asyncpg.Pool, process_id: UUID) -> asyncpg.Record | None:
    return await db.fetchrow(_SQL["view"], process_id)


async def list_of_user(
    db: Connection | asyncpg.Pool,
    user_id: str,
    status: str | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[asyncpg.Record]:
    created_at, last_id = before or (None, None)
    return await db.fetch(_SQL["list"], user_id, status, created_at, last_id, limit)


async def started_with_key(db: Connection, user_id: str, key: str) -> tuple[UUID, str | None] | None:
    """The process that was started with this key, and the digest of its request; holds the key until commit."""
    await db.execute(_SQL["start_key_lock"], user_id, key)
    row = await db.fetchrow(_SQL["started_with_key"], user_id, key)
    return None if row is None else (row["id"], row["digest"])


async def may_use_template(db: Connection | asyncpg.Pool, template_id: UUID, user_id: str) -> bool:
    return bool(await db.fetchval(_SQL["may_use_template"], template_id, user_id))


async def insert(
    db: Connection,
    *,
    user_id: str,
    organization_id: UUID | None,
    status: str,
    context: Document,
    image_mode: bool,
    image_settings: Document,
    style_template_id: UUID | None,
    idempotency_key: str | None,
    request_digest: str | None,
) -> UUID:
    process_id = await db.fetchval(
        _SQL["insert"],
        user_id,
        organization_id,
        status,
        context,
        image_mode,
        image_settings,
        style_template_id,
        idempotency_key,
        request_digest,
    )
    assert isinstance(process_id, UUID)
    return process_id


async def begin_step(db: Connection, process_id: UUID, *, status: str, step: str, progress: int, task: UUID) -> None:
    await db.execute(_SQL["begin_step"], process_id, status, step, progress, task)


async def enter_step(
    db: Connection, process_id: UUID, *, step: str, progress: int, context: Document, task: UUID | None = None
) -> None:
    """`task` is the one that will work on it; None leaves the one noted."""
    await db.execute(_SQL["enter_step"], process_id, step, progress, context, task)


async def stop_executing(db: Connection, process_id: UUID) -> None:
    await db.execute(_SQL["stop_executing"], process_id)


async def complete(db: Connection, process_id: UUID, *, status: str, article_id: UUID, content: Document) -> None:
    await db.execute(_SQL["complete"], process_id, status, article_id, content)


async def fail(db: Connection, process_id: UUID, *, status: str, message: str, resume_from: str) -> None:
    await db.execute(_SQL["fail"], process_id, status, message, resume_from)


async def pause(db: Connection, process_id: UUID, status: str) -> None:
    await db.execute(_SQL["pause"], process_id, status)


async def resume(
    db: Connection,
    process_id: UUID,
    *,
    status: str,
    step: str,
    context: Document,
    progress: int,
    task: UUID | None = None,
) -> None:
    await db.execute(_SQL["resume"], process_id, status, step, context, progress, task)


async def reopen(db: Connection, process_id: UUID, *, step: str, context: Document) -> None:
    await db.execute(_SQL["reopen"], process_id, step, context)


async def cancel(db: Connection, process_id: UUID, status: str) -> None:
    await db.execute(_SQL["cancel"], process_id, status)


async def wait_for_input(
    db: Connection, process_id: UUID, input_type: str, timeout_minutes: int, data: Document, *, reopen: bool
) -> None:
    """Opens the prompt and appends `user_input_required`; of a paused process only to `reopen` it."""
    await db.execute(_SQL["wait_for_input"], process_id, input_type, timeout_minutes, data, reopen)


async def resolve_input(db: Connection, process_id: UUID, response: Document, status: str) -> None:
    """Closes the prompt and appends `user_input_resolved`."""
    await db.execute(_SQL["resolve_input"], process_id, response, status)


async def note_answer_key(db: Connection, process_id: UUID, key: str, answer: KnownAnswer) -> None:
    await db.execute(_SQL["note_answer_key"], process_id, key, answer.digest, answer.next_step, answer.regenerates)


async def answered_with_key(db: Connection, process_id: UUID, key: str) -> KnownAnswer | None:
    row = await db.fetchrow(_SQL["answered_with_key"], process_id, key)
    return None if row is None else KnownAnswer(**dict(row))


async def due_prompts(db: Connection | asyncpg.Pool, limit: int) -> list[UUID]:
    """Processes whose open prompt has expired or is due for its reminder."""
    return [row["id"] for row in await db.fetch(_SQL["due_prompts"], limit)]


async def note_reminder(db: Connection, process_id: UUID) -> None:
    await db.execute(_SQL["note_reminder"], process_id)
