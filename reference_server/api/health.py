"""Liveness, readiness with its reasons, and the metrics page."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from reference_server.api.responses import Json
from reference_server.api.scrape import scrape
from reference_server.api.server_context import ServerContext, server_of
from reference_server.connection_kind import ConnectionKind
from reference_server.database_trouble import DATABASE_TROUBLE
from reference_server.store import operator_facts

log = structlog.get_logger(__name__)
router = APIRouter(tags=["health"])

PROBE_DEADLINE_S = 3.0


@router.get("/health/live", summary="Whether the process runs and its event loop responds")
async def live() -> Json:
    return Json({"status": "alive"})


@router.get(
    "/health/ready",
    summary="Whether the process can do its work, and why not",
    responses={503: {"description": "Something it needs does not answer; `checks` says what."}},
)
async def ready(request: Request) -> Json:
    server = server_of(request)
    checks = {
        "database": await _database(server),
        "replication": server.schema_follower.replication_check(),
        "workers": server.schema_follower.workers_check(),
    }
    if server.draining:
        checks["process"] = {"status": "failing", "detail": "shutting down"}
    ok = all(check["status"] != "failing" for check in checks.values())
    body = {
        "status": "ready" if ok else "not_ready",
        "transport": str(server.transport.current),
        "roles": sorted(server.roles),
        "checks": checks,
    }
    return Json(body, status_code=200 if ok else 503)


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    server = server_of(request)
    return Response(server.metrics.render(await scrape(server)), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _database(server: ServerContext) -> dict[str, Any]:
    try:
        async with asyncio.timeout(PROBE_DEADLINE_S):
            await operator_facts.answers(server.pool)
    except DATABASE_TROUBLE as error:  # TimeoutError is an OSError
        log.warning("database probe failed", error=repr(error))
        return {"status": "failing", "detail": f"the database does not answer ({type(error).__name__})"}
    if not server.schema_follower.schema.legacy:
        return {"status": "failing", "detail": "the schema is missing: run `toolkit migrate up`"}
    answer = {
        "status": "ok",
        "schema": "migrated" if server.migrated else "legacy",
        "connection": str(server.connection),
    }
    if server.connection is ConnectionKind.TRANSACTION_POOLER:
        answer["detail"] = "reached through a transaction pooler: workers poll for tasks, and Realtime cannot run here"
    return answer
