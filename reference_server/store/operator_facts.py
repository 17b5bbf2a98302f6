"""Facts for operators: whether the database answers, the queue, its workers, and sums for /metrics."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from reference_server.store.pool import Connection
from reference_server.store.queries import queries

_SQL = queries("operator_facts")


async def answers(db: Connection | asyncpg.Pool) -> None:
    """Raises what keeps the database from answering."""
    await db.execute(_SQL["answers"])


async def queue_counts(db: Connection | asyncpg.Pool, user_id: str | None = None) -> list[asyncpg.Record]:
    """Rows of task_type, status, tasks: of everybody's processes, or of the user's."""
    return await db.fetch(_SQL["queue"], user_id)


async def queue_facts(db: Connection | asyncpg.Pool, lease_s: float, user_id: str | None = None) -> tuple[float, int]:
    """Seconds the oldest due task has waited (0 when none waits), and running tasks with an expired lease."""
    row = await db.fetchrow(_SQL["queue_facts"], timedelta(seconds=lease_s), user_id)
    assert row is not None
    return row["oldest_pending_seconds"], row["expired_leases"]


async def workers(db: Connection | asyncpg.Pool) -> list[asyncpg.Record]:
    """Rows of worker_id, worker_hostname, running, last_heartbeat, connected, listening."""
    return await db.fetch(_SQL["workers"])


async def processes(db: Connection | asyncpg.Pool) -> dict[str, int]:
    """Processes by status; also on the legacy schema."""
    return {row["status"]: row["number"] for row in await db.fetch(_SQL["processes"])}


async def events_appended(db: Connection | asyncpg.Pool) -> int:
    """Events ever appended. Counters outlive events that clean-up removes, so it never falls while processes exist."""
    return int(await db.fetchval(_SQL["events_appended"]))
