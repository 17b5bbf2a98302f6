"""The WebSocket endpoint: who may connect, and the pump between ASGI and a connection.

Refusals are plain HTTP answers to the upgrade, `{"error": ...}`, after a short wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from reference_server.realtime.protocol import codec, refusals
from reference_server.realtime.protocol.session import Session
from reference_server.realtime.sockets.budgets import Sender
from reference_server.realtime.sockets.connection import AsgiReceive
from reference_server.realtime.sockets.outbox import CLIENT_GONE, AsgiSend
from reference_server.realtime.sockets.service import RealtimeService
from reference_server.tokens.token import KeysUnavailable, TokenError, VerifiedToken

log = structlog.get_logger(__name__)

MISSING_KEY = "API key is missing"


class SocketEndpoint:
    """An ASGI application for websocket scopes."""

    def __init__(self, service: RealtimeService) -> None:
        self._service = service

    async def __call__(self, scope: MutableMapping[str, Any], receive: AsgiReceive, send: AsgiSend) -> None:
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if (await receive())["type"] != "websocket.connect":
            return
        vsn = codec.vsn_of(query.get("vsn"))
        if vsn is None:
            log.info("realtime upgrade refused", status=403, reason="unknown vsn", vsn=query["vsn"][:20])
            await send({"type": "websocket.close", "code": 1008})  # before accept: an empty 403
            return
        raw_token = _header(scope, b"x-api-key") or query.get("apikey")
        address = scope["client"][0] if scope.get("client") else ""
        outcome = await self._admit(raw_token, address)
        if isinstance(outcome, tuple):
            status, reason = outcome
            log.info("realtime upgrade refused", status=status, reason=reason)
            await asyncio.sleep(self._service.limits.upgrade_refusal_delay_s)
            with contextlib.suppress(*CLIENT_GONE):
                await _refuse(scope, send, *outcome)
            return
        assert raw_token is not None
        try:
            await send({"type": "websocket.accept"})
        except CLIENT_GONE:
            return
        session = Session(vsn, raw_token, outcome, self._service.limits, self._service.clock())
        if not await self._service.serve(session, address, receive, send):
            _cut(receive)

    async def _admit(self, raw_token: str | None, address: str) -> VerifiedToken | tuple[int, str]:
        if not raw_token:
            return 401, MISSING_KEY
        try:
            token = await self._service.verifier.verify(raw_token)
        except KeysUnavailable as error:
            return 503, error.message
        except TokenError as error:
            return 401, refusals.at_connect(error)
        limit = self._service.refuse_upgrade(Sender(address, token.subject))
        return token if limit is None else (429, limit)


async def plain_get(request: Request) -> Response:
    """Answer a GET without an upgrade: say what is missing, checked in the order in which an upgrade is checked."""
    if not (request.headers.get("x-api-key") or request.query_params.get("apikey")):
        return JSONResponse({"error": MISSING_KEY}, 401)
    return PlainTextResponse("this is a WebSocket endpoint: the request must ask for an upgrade to websocket", 400)


async def _refuse(scope: Mapping[str, Any], send: AsgiSend, status: int, error: str) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error})
        return
    headers = [(b"content-type", b"application/json; charset=utf-8")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": orjson.dumps({"error": error})})


def _header(scope: Mapping[str, Any], name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key.lower() == name:
            text: str = value.decode("latin-1")
            return text
    return None


def _cut(receive: AsgiReceive) -> None:
    """Drop a connection whose client takes no bytes. ASGI has no message for it, and closing would wait
    for the buffer to drain; uvicorn's protocol is the object that `receive` is bound to."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    abort = getattr(transport, "abort", None)  # uvloop's transports are no asyncio.Transport
    if abort is not None:
        abort()
