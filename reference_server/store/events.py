"""The event log: appended by functions of the database, read in pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from reference_server.store.pool import Connection
from reference_server.store.queries import queries
from toolkit.contract.events import EVENTS, EventType, Source, missing_keys

_SQL = queries("events")
Event = tuple[EventType, Mapping[str, Any]]


async def append(db: Connection, process_id: UUID, source: Source, *events: Event) -> None:
    """Appends events in the given order. Lock the process first, so that no other event comes between.

    Raises ValueError when an event lacks a key that the contract promises.
    """
    await db.execute(_SQL["append_all"], process_id, documents(events), str(source))


def documents(events: Sequence[Event]) -> list[dict[str, Any]]:
    """The events as the database's functions take them. Raises ValueError when one lacks a promised key."""
    for type_, data in events:
        if missing := missing_keys(type_, dict(data)):
            raise ValueError(f"{type_} lacks {', '.join(sorted(missing))}")
    return [{"type": str(type_), "category": str(EVENTS[type_].category), "data": dict(data)} for type_, data in events]


async def append_one(db: Connection, process_id: UUID, source: Source, event: Event) -> asyncpg.Record:
    """Appends one event and returns its row."""
    type_, data = event
    event_id = await db.fetchval(
        _SQL["append"], process_id, str(type_), dict(data), str(EVENTS[type_].category), str(source)
    )
    row = await db.fetchrow(_SQL["by_id"], event_id)
    assert row is not None
    return row


async def page(
    db: Connection | asyncpg.Pool, process_id: UUID, since: int, types: Sequence[str], limit: int
) -> list[asyncpg.Record]:
    """At least one row when the process exists; its event columns are null when the page is empty."""
    return await db.fetch(_SQL["page"], process_id, since, list(types), limit)


async def acknowledge(db: Connection | asyncpg.Pool, process_id: UUID, event_id: UUID, user_id: str) -> bool:
    """False when the process has no such event."""
    return bool(await db.fetchval(_SQL["acknowledge"], process_id, event_id, user_id))
