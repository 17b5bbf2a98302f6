"""What happens to every request: an id, a size limit, a deadline, a metric, a log line, an answer for every failure."""

from __future__ import annotations

import asyncio
import re
import time
import uuid

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_server.api.http_errors import DeadlineExceeded, PayloadTooLarge
from reference_server.api.metrics import Metrics
from reference_server.api.responses import error_response, worded

log = structlog.get_logger(__name__)

BROADCAST_PATHS = ("/realtime/v1/api/broadcast", "/api/broadcast")
CLIENT_GONE = 499  # for log and metrics only: there is no client to answer

_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)


class RequestMiddleware:
    """Pure ASGI. Sets `scope["state"]["request_id"]`, which the error handlers read."""

    def __init__(
        self, app: ASGIApp, *, metrics: Metrics, deadline_s: float, max_bytes: int, broadcast_bytes: int
    ) -> None:
        """`max_bytes` bounds the body of a request, `broadcast_bytes` that of one to Realtime's broadcast API."""
        self.app = app
        self.metrics = metrics
        self.deadline_s = deadline_s
        self.max_bytes = max_bytes
        self.broadcast_bytes = broadcast_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if scope["type"] == "http":
            await self._http(scope, receive, send, request_id)
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            try:
                async with asyncio.timeout(self.deadline_s) as deadline:
                    body = await self._body(scope, receive)
                    if body is None:
                        status = CLIENT_GONE
                        return
                    await self.app(scope, _replay(body, receive), send_with_id)
            except TimeoutError:
                if not deadline.expired():
                    raise
                raise DeadlineExceeded(f"the request was not finished within {self.deadline_s:g} s") from None
        except Exception as error:
            problem = worded(error)
            if problem.status >= 500:
                log.error("request failed", code=problem.code, exc_info=error if problem.status == 500 else None)
            if status:
                return  # the response has begun; the connection is closed without its end
            await error_response(problem, request_id)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            template = getattr(scope.get("route"), "path", "unmatched")
            self.metrics.observe_request(scope["method"], template, status, seconds)
            log.info("request", method=scope["method"], path=scope["path"], status=status, seconds=round(seconds, 6))

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body, so that its size is known before the request is handled.

        None when the client left before it had sent everything.
        """
        broadcast = scope["path"].startswith(BROADCAST_PATHS)
        most, setting = (
            (self.broadcast_bytes, "REALTIME_MAX_FRAME_BYTES") if broadcast else (self.max_bytes, "REQUEST_MAX_BYTES")
        )
        too_large = PayloadTooLarge(
            f"the request body is larger than {most} bytes", remedy=f"Send at most {most} bytes ({setting})."
        )
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > most:
                raise too_large
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > most:
                raise too_large
            if not message.get("more_body", False):
                return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(given):
                return str(given)
    return str(uuid.uuid4())
