"""Broadcasting over HTTP: a batch of messages, or one message whose body is the payload.

A message to a private channel is sent only when the token may write there: in a batch it is
dropped (the batch is still accepted), alone it is refused. A token whose role is none of the API clients' sends
nothing private: a batch with a private message in it is refused as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from reference_server.realtime.protocol.channel import TOPIC_PREFIX
from reference_server.realtime.protocol.messages import Broadcast, Message, UserBroadcast
from reference_server.realtime.sockets.budgets import Sender
from reference_server.realtime.sockets.policies import PoliciesUnavailable
from reference_server.realtime.sockets.service import RealtimeService
from reference_server.replication.api_roles import RoleRefused
from reference_server.tokens.token import KeysUnavailable, TokenError, VerifiedToken

BLANK, INVALID, OVERSIZE = "can't be blank", "is invalid", "Payload size exceeds tenant limit"
CORS = {"access-control-allow-origin": "*"}
PREFLIGHT = {
    **CORS,
    "access-control-allow-methods": "POST, OPTIONS",
    "access-control-allow-headers": (
        "authorization, apikey, content-type, x-client-info, x-retry-count, traceparent, tracestate, baggage"
    ),
}
Errors: TypeAlias = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Item:
    topic: str
    event: str
    payload: dict[str, Any]
    private: bool
    id: str | None


class BroadcastApi:
    def __init__(self, service: RealtimeService) -> None:
        self._service = service

    async def batch(self, request: Request) -> Response:
        """POST /api/broadcast `{"messages": [{"topic", "event", "payload", "private"?, "id"?}]}` → 202."""
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=PREFLIGHT)
        token = await self._token(request)
        if isinstance(token, Response):
            return token
        body: Any = {}
        if _media_type(request) == "application/json":
            try:
                body = orjson.loads(await request.body())
            except orjson.JSONDecodeError:
                return PlainTextResponse("Bad Request", 400, headers=CORS)
        items = read_batch(body, self._service.limits.broadcast_bytes)
        if isinstance(items, dict):
            return JSONResponse({"errors": items}, 422, headers=CORS)
        if not self._service.admit_events(len(items), _sender(request, token)):
            return JSONResponse({"message": "You have exceeded your rate limit"}, 429, headers=CORS)
        try:
            private = dict.fromkeys(item.topic for item in items if item.private)
            writable = {topic for topic in private if await self._may_write(topic, token)}
            for item in items:
                if item.private and item.topic not in writable:
                    continue
                payload: dict[str, Any] = {"event": item.event, "payload": item.payload, "type": "broadcast"}
                if item.id is not None:
                    payload["meta"] = {"id": item.id}
                self._publish(item.topic, Message(TOPIC_PREFIX + item.topic, "broadcast", payload), item.private)
        except RoleRefused as error:
            return JSONResponse({"message": str(error)}, 403, headers=CORS)
        except PoliciesUnavailable as error:
            return _unavailable(str(error))
        return Response(status_code=202, headers=CORS)

    async def single(self, request: Request) -> Response:
        """POST /api/broadcast/{topic}/events/{event}?private=true, JSON or bytes as the body → 202."""
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=PREFLIGHT)
        token = await self._token(request)
        if isinstance(token, Response):
            return token
        media_type = _media_type(request)
        if media_type not in {"", "application/json", "application/octet-stream"}:
            message = "Unsupported Media Type. Use application/json or application/octet-stream"
            return JSONResponse({"error": message}, 415, headers=CORS)
        body, is_json = await request.body(), media_type == "application/json"
        if is_json:
            try:
                orjson.loads(body or b"{}")
            except orjson.JSONDecodeError:
                return PlainTextResponse("Bad Request", 400, headers=CORS)
            body = body or b"{}"
        if len(body) > self._service.limits.broadcast_bytes:
            return JSONResponse({"errors": {"payload": [OVERSIZE]}}, 422, headers=CORS)
        named = topic_and_event(request.scope["raw_path"])
        if named is None:
            return PlainTextResponse("Not Found", 404, headers=CORS)
        topic, event = named
        if max(len((TOPIC_PREFIX + topic).encode()), len(event.encode())) > 255:
            return JSONResponse({"errors": {"topic": ["topic and event end at 255 bytes"]}}, 422, headers=CORS)
        if not self._service.admit_events(1, _sender(request, token)):
            return JSONResponse({"message": "Too many requests"}, 429, headers=CORS)
        private = request.query_params.get("private") == "true"
        try:
            if private and not await self._may_write(topic, token):
                return JSONResponse({"message": "Unauthorized"}, 403, headers=CORS)
        except RoleRefused as error:
            return JSONResponse({"message": str(error)}, 403, headers=CORS)
        except PoliciesUnavailable as error:
            return _unavailable(str(error))
        self._publish(topic, UserBroadcast(TOPIC_PREFIX + topic, event, body, is_json), private)
        return Response(status_code=202, headers=CORS)

    def _publish(self, topic: str, message: Broadcast, private: bool) -> None:
        self._service.hub.publish((TOPIC_PREFIX + topic, private), message)

    async def _may_write(self, topic: str, token: VerifiedToken) -> bool:
        return await self._service.policies.may_insert(topic, token.claims, "broadcast")

    async def _token(self, request: Request) -> VerifiedToken | Response:
        """The verified token: the bearer token takes precedence over the apikey header, even when it is invalid."""
        authorization = request.headers.get("authorization")
        raw = request.headers.get("apikey", "") if authorization is None else authorization.removeprefix("Bearer ")
        try:
            return await self._service.verifier.verify(raw)
        except KeysUnavailable as error:
            return _unavailable(error.message)
        except TokenError:
            return JSONResponse({"message": "Unauthorized"}, 401, headers=CORS)


def topic_and_event(raw_path: bytes) -> tuple[str, str] | None:
    """Of a path `…/api/broadcast/{topic}/events/{event}` as it was sent; None when a part is missing.

    Both may contain `/`, escaped or not. Where `/events/` stands more than once unescaped, the last one divides.
    """
    topic, _, event = raw_path.decode("latin-1").partition("/api/broadcast/")[2].rpartition("/events/")
    return (unquote(topic), unquote(event)) if topic and event else None


def read_batch(body: Any, limit: int) -> list[Item] | Errors:
    """The items of a batch, or its errors in the shape that clients expect."""
    messages = body.get("messages") if isinstance(body, dict) else None
    if messages is None or messages == []:
        return {"messages": [BLANK]}
    if not isinstance(messages, list):
        return {"messages": [INVALID]}
    errors = [_item_errors(message, limit) for message in messages]
    if any(errors):
        return {"messages": errors}
    return [
        Item(m["topic"], m["event"], m["payload"], m.get("private") is True, _text_or_none(m.get("id")))
        for m in messages
    ]


def _item_errors(message: Any, limit: int) -> Errors:
    if not isinstance(message, dict):
        return {"message": [INVALID]}
    errors: Errors = {}
    for name, kind in (("topic", str), ("event", str), ("payload", dict)):
        value = message.get(name)
        if value is None or value == "":
            errors[name] = [BLANK]
        elif not isinstance(value, kind):
            errors[name] = [INVALID]
    if "payload" not in errors:
        try:
            if len(orjson.dumps(message["payload"])) > limit:
                errors["payload"] = [OVERSIZE]
        except TypeError:  # nested deeper than can be sent on
            errors["payload"] = [INVALID]
    return errors


def _sender(request: Request, token: VerifiedToken) -> Sender:
    return Sender(request.client.host if request.client else "", token.subject)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _unavailable(why: str) -> Response:
    return JSONResponse({"message": f"Realtime cannot authorise this now: {why}"}, 503, headers=CORS)
