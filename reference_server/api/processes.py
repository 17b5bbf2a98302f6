"""Routes that start, read and steer generation processes."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any
from uuid import UUID

import orjson
import structlog
from fastapi import APIRouter, Body, Header, Query, Request, Response

from reference_server.api import schemas
from reference_server.api.access import Cursor, Limit, Owned, Readable, Steerable, other_transport
from reference_server.api.auth import Caller, CallerDep
from reference_server.api.documented import errors
from reference_server.api.http_errors import Forbidden
from reference_server.api.server_context import server_of
from reference_server.api.state_view import state_of_row
from reference_server.generation.errors import NotFound
from reference_server.store import legacy, reads
from toolkit.contract.statuses import Status
from toolkit.contract.tasks import realtime_channel

router = APIRouter(prefix="/api/articles/generation", tags=["generation"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="Repeating a request with the same key answers as the first time; nothing happens twice.",
    ),
]
REPLAYED = "Idempotent-Replayed"


@router.post("/start", status_code=201, summary="Start a generation", responses=errors(403, 404, 409))
async def start(
    *,
    request: Request,
    response: Response,
    caller: CallerDep,
    body: schemas.StartBody,
    organization_id: Annotated[UUID | None, Query(description="Members of it may read the process.")] = None,
    idempotency_key: IdempotencyKey = None,
) -> schemas.Started:
    server = server_of(request)
    user_id = require_user(caller)
    server.transport.require_realtime()
    server.require_migrated()
    started = await server.service.start(
        user_id,
        body.request(),
        organization_id=organization_id,
        idempotency_key=idempotency_key,
        request_digest=_digest(body, organization_id) if idempotency_key else None,
        trusted=caller.is_service,
    )
    structlog.contextvars.bind_contextvars(process_id=str(started.process_id))
    if started.replayed:
        response.headers[REPLAYED] = "true"
    return schemas.Started(
        process_id=started.process_id,
        realtime_channel=started.realtime_channel,
        message="The generation has been started; subscribe to follow it.",
        subscription_info=subscription_info(started.process_id),
    )


@router.get("", summary="The caller's processes, newest first", responses=errors())
async def list_processes(
    request: Request, caller: CallerDep, status: Status | None = None, limit: Limit = 50, cursor: Cursor = None
) -> schemas.ProcessPage:
    page = await server_of(request).service.list_processes(
        caller.user_id or "", status=status, limit=limit, cursor=cursor
    )
    return schemas.ProcessPage.model_validate(page)


@router.get("/{process_id}", summary="The state of a process", responses=errors(404))
async def get_state(request: Request, granted: Readable) -> schemas.ProcessState:
    server = server_of(request)
    if server.migrated:
        return schemas.ProcessState.model_validate(await server.service.get(granted.process_id))
    row = await reads.process_state(server.pool, granted.process_id)
    if row is None:
        raise NotFound("process", granted.process_id)
    return state_of_row(row)


@router.post("/{process_id}/user-input", summary="Answer the open prompt", responses=errors(403, 404, 409))
async def user_input(
    request: Request,
    response: Response,
    granted: Steerable,
    body: Annotated[schemas.UserInputBody, Body(openapi_examples=schemas.USER_INPUT_EXAMPLES)],
    idempotency_key: IdempotencyKey = None,
) -> schemas.InputReceived:
    result = await server_of(request).service.answer(
        granted.process_id, body.response_type, body.payload, idempotency_key=idempotency_key
    )
    if result.replayed:
        response.headers[REPLAYED] = "true"
    return schemas.InputReceived(
        process_id=granted.process_id,
        input_type=result.input_type,
        message="The proposals are made anew." if result.regenerates else f"Going on with {result.next_step}.",
    )


@router.post("/{process_id}/pause", summary="Pause a process", responses=errors(403, 404, 409))
async def pause(request: Request, granted: Steerable) -> schemas.Controlled:
    result = await server_of(request).service.pause(granted.process_id)
    message = "The process has been paused." if result.changed else "The process was paused already."
    return schemas.Controlled(process_id=granted.process_id, status=result.status, message=message)


@router.post("/{process_id}/resume", summary="Go on with a paused or failed process", responses=errors(403, 404, 409))
async def resume(request: Request, granted: Owned) -> schemas.Resumed:
    server = server_of(request)
    server.require_migrated()
    await _take_over(request, granted)
    result = await server.service.resume(granted.process_id)
    message = "The prompt is open again." if result.status is Status.USER_INPUT_REQUIRED else "The process goes on."
    return schemas.Resumed(
        process_id=granted.process_id,
        status=result.status,
        message=message if result.changed else "The process was going on already.",
        realtime_channel=result.realtime_channel,
    )


@router.delete("/{process_id}", summary="Cancel a process", responses=errors(403, 404, 409))
async def cancel(request: Request, granted: Owned) -> schemas.Controlled:
    server = server_of(request)
    server.require_migrated()
    await _take_over(request, granted)
    result = await server.service.cancel(granted.process_id)
    message = "The process has been cancelled." if result.changed else "The process was cancelled already."
    return schemas.Controlled(process_id=granted.process_id, status=result.status, message=message)


async def _take_over(request: Request, granted: Owned) -> None:
    """Move a process whose legacy socket is gone to the Realtime transport; refuse while the socket lives."""
    if granted.access.transport == "realtime" or granted.access.status in ("completed", "cancelled"):
        return
    server = server_of(request)
    if not await legacy.adopt(server.pool, granted.process_id, silent_s=server.settings.legacy_silence_seconds):
        raise other_transport(granted.process_id)


def subscription_info(process_id: UUID) -> schemas.SubscriptionInfo:
    return schemas.SubscriptionInfo(filter=f"process_id=eq.{process_id}", channel=realtime_channel(str(process_id)))


def require_user(caller: Caller) -> str:
    """The user a new process belongs to. Raises Forbidden for a service token that names none."""
    if caller.user_id is None:
        raise Forbidden(
            "the token names no user a process could belong to",
            code="user_required",
            remedy="Use a user's token, or a service token with `sub`.",
        )
    return caller.user_id


def _digest(body: schemas.StartBody, organization_id: UUID | None) -> str:
    canonical: dict[str, Any] = {"body": body.model_dump(mode="json"), "organization_id": organization_id}
    return hashlib.sha256(orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS)).hexdigest()
