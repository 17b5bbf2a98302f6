"""The legacy WebSocket: who may open one, and the frames of a client."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from reference_server.api import legacy_frames as frames
from reference_server.api.auth import Caller, identify, identify_token
from reference_server.api.http_errors import ServerError
from reference_server.api.legacy_generation import LegacyGeneration
from reference_server.api.legacy_sockets import INTERNAL, NORMAL, POLICY, RESTART, ClientSocket, Refused
from reference_server.api.responses import worded
from reference_server.api.schemas import StartBody
from reference_server.api.server_context import ServerContext, server_of
from reference_server.generation import belongings
from reference_server.generation.context import ArticleContext, ContextUnreadable, to_json
from reference_server.generation.errors import GenerationError
from reference_server.store import legacy, reads
from reference_server.store.legacy import Saved
from toolkit.contract.statuses import Status

log = structlog.get_logger(__name__)
router = APIRouter()


@router.websocket("/api/articles/ws/generate")
@router.websocket("/articles/ws/generate")
async def legacy_websocket(websocket: WebSocket) -> None:
    """Start a generation, or resume the one named by `process_id`. The token is in a parameter or in the header.

    A new generation may belong to an organization, `organization_id`, as one started over HTTP.
    """
    server = server_of(websocket)
    try:
        await websocket.accept()
    except WebSocketDisconnect:  # the client left before it was answered
        return
    socket = ClientSocket(websocket)
    server.metrics.legacy_sockets.inc()
    try:
        caller = await _caller(server, websocket)
        if server.draining:
            raise Refused(RESTART, "restarting")
        generation = await _generation_for(server, socket, caller, websocket.query_params)
        if generation is not None:
            structlog.contextvars.bind_contextvars(process_id=str(generation.process_id))
            await _converse(server, socket, generation, caller.expires_at)
    except Refused as refusal:
        if refusal.message is not None:
            await _try_send(socket, frames.failure("start", refusal.message))
        await socket.close(refusal.code, refusal.reason)
    except (ServerError, GenerationError) as error:
        problem = worded(error)
        await _try_send(socket, frames.failure("start", f"{problem.message.removesuffix('.')}. {problem.remedy}"))
        await socket.close(POLICY if problem.status < 500 else INTERNAL, problem.code)
    except Exception:
        log.exception("legacy socket broke")
        await socket.close(INTERNAL, "internal_error")
    finally:
        server.metrics.legacy_sockets.dec()


async def _caller(server: ServerContext, websocket: WebSocket) -> Caller:
    token = websocket.query_params.get("token")
    if token:
        return await identify_token(server.verifier, token)
    return await identify(server.verifier, websocket.headers.get("authorization"))


async def _generation_for(
    server: ServerContext, socket: ClientSocket, caller: Caller, query: Mapping[str, str]
) -> LegacyGeneration | None:
    """The generation this socket is attached to; None when the client left before one began. Raises Refused."""
    process_id = _uuid(query, "process_id")
    if process_id is not None:
        return await _resumed(server, socket, caller, process_id)
    if not server.transport.websocket_allowed:
        raise Refused(
            POLICY,
            "transport_unavailable",
            "new generations are started with POST /api/articles/generation/start at present",
        )
    organization_id = _uuid(query, "organization_id")
    if organization_id is not None and caller.user_id is not None and not caller.is_service:
        await belongings.check_organization(server.pool, caller.user_id, organization_id)
    lifetime = caller.expires_at - time.time()
    try:
        async with asyncio.timeout(min(server.settings.legacy_idle_seconds, lifetime)):
            first = await socket.receive()
    except TimeoutError:
        if lifetime < server.settings.legacy_idle_seconds:
            raise _expired() from None
        raise Refused(NORMAL, "idle_timeout", "no start request came") from None
    if first is None:
        return None
    try:
        body = StartBody.model_validate(frames.parse_object(first))
    except frames.BadFrame as error:
        raise Refused(POLICY, "validation_failed", str(error)) from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "start request"
        raise Refused(POLICY, "validation_failed", f"{where}: {problem['msg']}") from None
    return await _started(server, socket, caller, body, organization_id)


def _uuid(query: Mapping[str, str], name: str) -> UUID | None:
    text = query.get(name)
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise Refused(POLICY, f"invalid_{name}", f"{text[:60]!r} is not a {name}") from None


def _expired() -> Refused:
    return Refused(POLICY, "token_expired", "the token has expired; connect again with a new one to go on")


async def _started(
    server: ServerContext, socket: ClientSocket, caller: Caller, body: StartBody, organization_id: UUID | None
) -> LegacyGeneration:
    if caller.user_id is None:
        raise Refused(POLICY, "user_required", "the token names no user a process could belong to")
    template = body.style_template_id
    if template is not None and not caller.is_service:
        await belongings.check_template(server.pool, caller.user_id, template)
    context = to_json(ArticleContext(body.request()))
    mark = str(uuid.uuid4())
    status = Status.AUTO_PROGRESSING if body.auto_mode else Status.IN_PROGRESS
    process_id = await legacy.insert(
        server.pool,
        user_id=caller.user_id,
        organization_id=organization_id,
        status=status,
        context=context,
        image_mode=body.image_mode,
        image_settings=body.image_settings,
        style_template_id=template,
        runner=mark,
    )
    return await server.legacy.start(process_id, mark, Saved(status, "start", None, 0, context), socket)


async def _resumed(server: ServerContext, socket: ClientSocket, caller: Caller, process_id: UUID) -> LegacyGeneration:
    access = await reads.process_access(server.pool, process_id, caller.user_id)
    if access is None or not (caller.is_service or caller.user_id == access.user_id):
        raise Refused(POLICY, "process_not_found", f"there is no process {process_id} of yours")
    if access.transport != "websocket":
        raise Refused(
            POLICY, "other_transport", "this process is steered over HTTP and followed over Realtime, not over a socket"
        )
    if (generation := server.legacy.running_of(process_id)) is not None:
        await generation.attach(socket)
        return generation
    mark = str(uuid.uuid4())
    saved = await legacy.take_over(server.pool, process_id, mark)
    if saved is None:
        raise Refused(POLICY, "process_over", f"the process is {access.status}; there is nothing to go on with")
    try:
        return await server.legacy.start(process_id, mark, saved, socket)
    except (ContextUnreadable, ValueError) as error:
        raise Refused(POLICY, "unreadable_process", f"what is stored of the process cannot be used: {error}") from None


async def _converse(
    server: ServerContext, socket: ClientSocket, generation: LegacyGeneration, expires_at: float
) -> None:
    """Read the client's frames until it leaves, falls silent, its token expires, or the generation has ended."""
    over = asyncio.create_task(server.legacy.wait(generation))
    try:
        while not over.done():
            reading = asyncio.create_task(socket.receive())
            idle, lifetime = server.settings.legacy_idle_seconds, expires_at - time.time()
            await asyncio.wait(
                {reading, over}, timeout=max(0.0, min(idle, lifetime)), return_when=asyncio.FIRST_COMPLETED
            )
            if not reading.done():
                reading.cancel()
                await asyncio.wait({reading})
                if not over.done():
                    if lifetime < idle:
                        raise _expired()  # the generation goes on or pauses, as for any client that leaves
                    log.info("the client fell silent: cancelled", process_id=str(generation.process_id))
                    await server.legacy.cancel(generation)
                    raise Refused(NORMAL, "idle_timeout", "the generation was cancelled: no frame came from the client")
                return
            frame = reading.result()
            if frame is None:
                return
            if expires_at <= time.time():
                raise _expired()
            try:
                response = frames.parse_response(frame)
            except frames.BadFrame as error:
                await _try_send(socket, frames.failure(generation.step, str(error)))
                continue
            if response is not None:
                await generation.answer(response)
    finally:
        over.cancel()
        generation.detach(socket)


async def _try_send(socket: ClientSocket, frame: dict[str, Any]) -> None:
    try:
        await socket.send(frame)
    except ConnectionError:
        log.info("the client left before it could be told")
