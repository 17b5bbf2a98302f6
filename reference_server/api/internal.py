"""Routes for operators: the task queue and the transport flag."""

from __future__ import annotations

from dataclasses import asdict

import structlog
from fastapi import APIRouter, Request

from reference_server.api import schemas
from reference_server.api.auth import CallerDep, ServiceDep
from reference_server.api.documented import errors
from reference_server.api.server_context import server_of
from toolkit.contract.requests import Transport

router = APIRouter(prefix="/api/internal", tags=["internal"])
log = structlog.get_logger(__name__)


@router.get("/background-tasks/status", summary="The task queue and its workers", responses=errors())
async def background_tasks_status(request: Request, caller: CallerDep) -> schemas.TaskStatus:
    server = server_of(request)
    server.require_migrated()
    # Operators see everything, a user what the user's own processes have in the queue.
    status = await server.service.queue_status(None if caller.is_service else caller.user_id or "")
    return schemas.TaskStatus(**asdict(status))


@router.get("/transport", summary="Which transport new processes use", responses=errors(403))
async def get_transport(request: Request, _caller: ServiceDep) -> schemas.TransportState:
    return schemas.TransportState(transport=server_of(request).transport.current)


@router.put(
    "/transport",
    summary="Switch the transport of new processes",
    description="This API process alone, until it restarts; running processes end on the transport they began with.",
    responses=errors(403),
)
async def put_transport(request: Request, _caller: ServiceDep, body: schemas.TransportBody) -> schemas.TransportState:
    server = server_of(request)
    if body.transport is not Transport.WEBSOCKET:
        await server.schema_follower.refresh()
        server.require_migrated()
    before, server.transport.current = server.transport.current, body.transport
    log.info("transport switched", before=str(before), after=str(body.transport))
    return schemas.TransportState(transport=body.transport)
