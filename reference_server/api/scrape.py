"""Reads, for /metrics, the facts that are counted elsewhere: in the database, in Realtime, in the worker."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import structlog
from prometheus_client.core import CounterMetricFamily, Metric

from reference_server.api.metrics import flatten, gauge
from reference_server.api.server_context import ServerContext
from reference_server.database_trouble import DATABASE_TROUBLE
from reference_server.store import operator_facts

log = structlog.get_logger(__name__)
DEADLINE_S = 5.0


async def scrape(server: ServerContext) -> list[Metric]:
    """Every fact that can be read; `database_up` tells whether those of the database are among them."""
    found = gauge("legacy_generations_running", "Legacy generations this process drives.", server.legacy.running)
    found += gauge("process_draining", "1 while the process shuts down.", server.draining)
    if server.schema_follower.realtime is not None:
        found += flatten("realtime", "Realtime endpoint", asdict(server.schema_follower.realtime.facts()))
        found += gauge("realtime_ready", "1 while changes flow.", server.schema_follower.realtime.facts().ready)
        feed = getattr(server.schema_follower.realtime.feed, "facts", None)
        if feed is not None:
            found += flatten("realtime_feed", "Change feed", asdict(feed))
    if server.schema_follower.worker is not None:
        found += flatten("worker", "Background worker of this process", server.schema_follower.worker.facts())
    try:
        async with asyncio.timeout(DEADLINE_S):
            found += await _database(server)
        found += gauge("database_up", "1 while the database answers.", 1)
    except DATABASE_TROUBLE as error:
        log.warning("the database's metrics are missing", cause=repr(error))
        found += gauge("database_up", "1 while the database answers.", 0)
    return found


async def _database(server: ServerContext) -> list[Metric]:
    found = gauge("processes", "Generation processes by status.", await operator_facts.processes(server.pool))
    if not server.migrated:
        return found
    appended = CounterMetricFamily("process_events_appended", "Events ever appended, by all processes together.")
    appended.add_metric((), await operator_facts.events_appended(server.pool))
    queue = await server.service.queue_status()
    found += [appended]
    found += gauge("background_tasks", "Background tasks by status.", queue.queue)
    found += gauge(
        "background_tasks_oldest_pending_seconds", "Wait of the oldest due task.", queue.oldest_pending_seconds
    )
    found += gauge("background_tasks_expired_leases", "Running tasks whose worker is silent.", queue.expired_leases)
    beats = {worker.worker_id: worker.last_heartbeat.timestamp() for worker in queue.workers if worker.last_heartbeat}
    found += gauge(
        "worker_last_heartbeat_timestamp_seconds", "Last heartbeat of workers with tasks.", beats, "worker_id"
    )
    return found
