"""Reads that the API also needs on the legacy schema. The pool's deadline bounds each of them.

On a pool each is repeated when its connection turns out to be broken, so that fewer requests fail while Postgres
restarts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from reference_server.store.pool import Connection, read

# Only what decides who may do what.
_ACCESS = """
select s.user_id, s.organization_id, s.status::text as status,
       coalesce(s.process_metadata ->> 'transport', 'websocket') as transport,
       exists (select from public.organization_members m
               where m.organization_id = s.organization_id and m.user_id = $2) as member
from public.generated_articles_state s where s.id = $1
"""
_MEMBERSHIP = "select exists (select from public.organization_members where organization_id = $1 and user_id = $2)"

# The row as one JSON value: whatever columns there are, the statement's result type stays the same, so
# that a migration under a running server makes no prepared statement invalid.
_STATE = "select to_jsonb(s) as state from public.generated_articles_state s where s.id = $1"


@dataclass(frozen=True, slots=True)
class ProcessAccess:
    """The owner of a process, and what else decides who may do what. `member`: the asking user belongs to its
    organization."""

    user_id: str
    organization_id: UUID | None
    status: str
    transport: str
    member: bool


async def process_access(pool: asyncpg.Pool, process_id: UUID, user_id: str | None) -> ProcessAccess | None:
    row = await read(lambda: pool.fetchrow(_ACCESS, process_id, user_id))
    return None if row is None else ProcessAccess(**row)


async def is_member(db: Connection | asyncpg.Pool, organization_id: UUID, user_id: str) -> bool:
    async def ask() -> bool:
        return bool(await db.fetchval(_MEMBERSHIP, organization_id, user_id))

    return await (read(ask) if isinstance(db, asyncpg.Pool) else ask())  # a transaction is repeated as a whole


async def process_state(pool: asyncpg.Pool, process_id: UUID) -> dict[str, Any] | None:
    """The whole row by column name, times as ISO 8601 text; on the legacy schema it has fewer columns."""
    state: dict[str, Any] | None = await read(lambda: pool.fetchval(_STATE, process_id))
    return state
