"""Sums for the metrics page; `processes` also works on the legacy schema."""

from __future__ import annotations

import asyncpg

_PROCESSES = "select status::text as status, count(*) as number from public.generated_articles_state group by status"
# Counters outlive the events that clean-up removes, so this never falls while a process exists.
_APPENDED = "select coalesce(sum(last_sequence), 0)::bigint from public.process_event_counters"


async def processes(pool: asyncpg.Pool) -> dict[str, int]:
    return {row["status"]: row["number"] for row in await pool.fetch(_PROCESSES)}


async def events_appended(pool: asyncpg.Pool) -> int:
    return int(await pool.fetchval(_APPENDED))
