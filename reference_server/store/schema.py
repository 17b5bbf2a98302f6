"""What the database's schema offers: the legacy tables alone, or the event log and the task queue too."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

# The unique index belongs to the second migration file: a start with an idempotency key needs it.
_SCHEMA = """
select
  to_regclass('public.generated_articles_state') is not null as has_state,
  to_regclass('public.process_events') is not null
    and to_regclass('public.background_tasks') is not null
    and exists (
      select from pg_attribute where attrelid = to_regclass('public.generated_articles_state')
      and attname = 'start_request_digest' and not attisdropped)
    and exists (
      select from pg_index where indexrelid = to_regclass('public.idx_generated_articles_state_start_key')
      and indisvalid) as migrated
"""


@dataclass(frozen=True, slots=True)
class Schema:
    """`legacy`: the state table is there. `migrated`: so is everything Realtime and the workers need."""

    legacy: bool
    migrated: bool


async def read_schema(db: asyncpg.Pool | asyncpg.Connection, *, deadline_s: float = 10) -> Schema:
    row = await db.fetchrow(_SCHEMA, timeout=deadline_s)
    assert row is not None
    return Schema(row["has_state"], row["migrated"])
