"""The reads of the use cases: rows become views, cursors become positions."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from reference_server.generation.context import ContextUnreadable, from_json
from reference_server.generation.errors import InvalidCursor, NotFound
from reference_server.generation.prompts import prompt_data
from reference_server.generation.views import (
    ArticlePage,
    ArticleView,
    EventPage,
    OpenPrompt,
    ProcessPage,
    ProcessSummary,
    ProcessView,
    QueueStatus,
    StoredEvent,
    WorkerSeen,
)
from reference_server.store import articles, events, operator_facts, processes
from reference_server.store.values import as_object
from toolkit.contract.prompts import BY_INPUT_TYPE, InputType
from toolkit.contract.requests import Transport
from toolkit.contract.statuses import Status
from toolkit.contract.tasks import TaskStatus, realtime_channel

Row = asyncpg.Record


async def process(pool: asyncpg.Pool, process_id: UUID) -> ProcessView:
    row = await processes.view(pool, process_id)
    if row is None:
        raise NotFound("process", process_id)
    status = Status(row["status"])
    context = None
    with contextlib.suppress(ContextUnreadable):  # the rest of the row is still worth showing
        context = from_json(row["article_context"])
    waiting = row["is_waiting_for_input"] and status is Status.USER_INPUT_REQUIRED
    prompt = None
    if waiting and context is not None and row["input_type"] in set(InputType):
        spec = BY_INPUT_TYPE[InputType(row["input_type"])]
        prompt = OpenPrompt(spec.input_type, prompt_data(spec.step, context), tuple(sorted(spec.answers)))
    return ProcessView(
        process_id=process_id,
        status=status,
        current_step=row["current_step_name"] or "start",
        executing_step=row["executing_step"],
        progress_percentage=row["progress_percentage"],
        is_waiting_for_input=waiting,
        input_type=row["input_type"] if waiting else None,
        prompt=prompt,
        user_input_timeout=row["user_input_timeout"],
        image_mode=row["image_mode"],
        image_settings=as_object(row["image_settings"]),
        error_message=row["error_message"],
        article_id=row["article_id"],
        realtime_channel=row["realtime_channel"] or realtime_channel(str(process_id)),
        last_event_sequence=row["last_sequence"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        generated_content=None if row["generated_content"] is None else as_object(row["generated_content"]),
        transport=row["transport"] if row["transport"] in set(Transport) else Transport.WEBSOCKET,
        resume_from_step=row["resume_from_step"],
        context=context,
    )


async def list_processes(
    pool: asyncpg.Pool, user_id: str, status: Status | None, limit: int, cursor: str | None
) -> ProcessPage:
    rows = await processes.list_of_user(pool, user_id, status, _position(cursor), limit + 1)
    found = tuple(
        ProcessSummary(
            process_id=row["id"],
            status=Status(row["status"]),
            current_step=row["current_step_name"] or "start",
            progress_percentage=row["progress_percentage"],
            is_waiting_for_input=row["is_waiting_for_input"] and row["status"] == Status.USER_INPUT_REQUIRED,
            input_type=row["input_type"],
            title=row["title"],
            keywords=tuple(str(word) for word in row["keywords"]) if isinstance(row["keywords"], list) else (),
            error_message=row["error_message"],
            article_id=row["article_id"],
            organization_id=row["organization_id"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )
        for row in rows[:limit]
    )
    return ProcessPage(found, _cursor(rows, limit))


def event(process_id: UUID, row: Row) -> StoredEvent:
    return StoredEvent(
        id=row["id"],
        process_id=process_id,
        event_type=row["event_type"],
        event_data=as_object(row["event_data"]),
        event_sequence=row["event_sequence"],
        event_category=row["event_category"],
        event_source=row["event_source"],
        created_at=row["created_at"],
    )


async def events_page(pool: asyncpg.Pool, process_id: UUID, since: int, types: Sequence[str], limit: int) -> EventPage:
    rows = await events.page(pool, process_id, since, types, limit)
    if not rows:
        raise NotFound("process", process_id)
    found = tuple(event(process_id, row) for row in rows if row["id"] is not None)
    return EventPage(found, rows[0]["last_sequence"], rows[0]["oldest_sequence"])


async def article(pool: asyncpg.Pool, article_id: UUID, viewer_id: str | None) -> ArticleView:
    row = await articles.view(pool, article_id, viewer_id)
    if row is None:
        raise NotFound("article", article_id)
    placeholders = tuple(dict(placeholder) for placeholder in await articles.placeholders_of(pool, article_id))
    return _article(row, placeholders)


async def list_articles(pool: asyncpg.Pool, user_id: str, limit: int, cursor: str | None) -> ArticlePage:
    rows = await articles.list_of_user(pool, user_id, _position(cursor), limit + 1)
    return ArticlePage(tuple(_article(row) for row in rows[:limit]), _cursor(rows, limit))


async def queue_status(pool: asyncpg.Pool, lease_s: float, user_id: str | None) -> QueueStatus:
    """The whole queue with its workers, or what a user has in it; workers are no user's business."""
    counts = await operator_facts.queue_counts(pool, user_id)
    oldest, expired = await operator_facts.queue_facts(pool, lease_s, user_id)
    queue = dict.fromkeys((str(status) for status in TaskStatus), 0)
    by_type: dict[str, dict[str, int]] = {}
    for row in counts:
        queue[row["status"]] += row["tasks"]
        by_type.setdefault(row["task_type"], {})[row["status"]] = row["tasks"]
    workers = tuple(
        WorkerSeen(
            row["worker_id"],
            row["worker_hostname"],
            row["running"],
            row["last_heartbeat"],
            row["connected"],
            row["listening"],
        )
        for row in (await operator_facts.workers(pool) if user_id is None else ())
    )
    return QueueStatus(queue, by_type, oldest, expired, workers)


def _article(row: Row, placeholders: tuple[dict[str, Any], ...] = ()) -> ArticleView:
    return ArticleView(
        id=row["id"],
        user_id=row["user_id"],
        organization_id=row["organization_id"],
        is_member=row["is_member"],
        generation_process_id=row["generation_process_id"],
        title=row["title"],
        content=row["content"],
        keywords=tuple(row["keywords"]),
        target_audience=row["target_audience"],
        status=row["status"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        image_placeholders=placeholders,
    )


def _cursor(rows: Sequence[Row], limit: int) -> str | None:
    """Where the next page begins; one row more than asked for was read to know whether there is one."""
    if len(rows) <= limit:
        return None
    last = rows[limit - 1]
    return base64.urlsafe_b64encode(f"{last['created_at'].isoformat()}|{last['id']}".encode()).decode()


def _position(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    try:
        created_at, last_id = base64.urlsafe_b64decode(cursor.encode()).decode().split("|")
        position = datetime.fromisoformat(created_at), UUID(last_id)
    except (binascii.Error, ValueError):
        raise InvalidCursor from None
    if position[0].tzinfo is None:
        raise InvalidCursor
    return position
