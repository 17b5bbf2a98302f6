"""The routes of the endpoint, for any Starlette or FastAPI application."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.sockets.broadcast_api import BroadcastApi
from reference_server.realtime.sockets.service import RealtimeService
from reference_server.realtime.sockets.socket import SocketEndpoint, plain_get
from reference_server.realtime.sockets.tenant_health import TenantHealth

# The platform's gateway serves /realtime/v1, the server behind it the bare paths; clients know both.
PREFIXES = ("/realtime/v1", "")
SOCKET_PATHS = ("/realtime/v1/websocket", "/socket/websocket")
# Longer than HTTP clients (5 s) and load balancers (60 s) keep an idle connection: whoever closes first must be the
# one who sends, else a request meets the close and is lost without an answer.
KEEP_ALIVE_S = 75
SENDING = ["POST", "OPTIONS"]


class DenyingProtocol(WebSocketsSansIOProtocol):
    """Counts a complete HTTP answer to an upgrade as the end of the handshake. uvicorn does not, and would log an
    error for every refused upgrade."""

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True


class HeaderDeadline(H11Protocol):
    """Cuts a connection whose request headers do not arrive in time: it would stay open for ever."""

    headers_s: float = Limits().headers_s
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.headers_s, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:  # the beginning of headers
            if self._deadline is None:
                self._deadline = self.loop.call_later(self.headers_s, self.transport.abort)
        else:
            self._arrived()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def _arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def uvicorn_options(limits: Limits) -> dict[str, Any]:
    """What uvicorn must be told for these routes: the fastest of its protocols, the largest frame, and
    no compression, which would cost every receiver of a change its own deflate."""
    return {
        "ws": DenyingProtocol,
        "http": type("HeaderDeadline", (HeaderDeadline,), {"headers_s": limits.headers_s}),
        "ws_max_size": limits.frame_bytes,
        "ws_per_message_deflate": False,
        "timeout_keep_alive": KEEP_ALIVE_S,
    }


def realtime_routes(service: RealtimeService) -> list[BaseRoute]:
    """Socket, broadcast API and health; serve them with `uvicorn_options`."""
    socket, api, health = SocketEndpoint(service), BroadcastApi(service), TenantHealth(service)

    async def tenant_health(request: Request) -> Response:
        return await health(request)

    async def report_health(_: Request) -> Response:
        status, body = service.facts().health()
        return JSONResponse(body, status)

    async def ping(_: Request) -> Response:
        return JSONResponse({"message": "Success"})

    async def healthcheck(_: Request) -> Response:
        return PlainTextResponse("ok")

    routes: list[BaseRoute] = [Route("/realtime/v1/health", report_health), Route("/healthcheck", healthcheck)]
    for path in SOCKET_PATHS:
        routes += [WebSocketRoute(path, socket), Route(path, plain_get)]
    for prefix in PREFIXES:
        routes += [
            Route(f"{prefix}/api/ping", ping),
            Route(f"{prefix}/api/tenants/{{tenant}}/health", tenant_health),
            Route(f"{prefix}/api/broadcast", api.batch, methods=SENDING),
            Route(f"{prefix}/api/broadcast/{{topic:path}}/events/{{event:path}}", api.single, methods=SENDING),
        ]
    return routes
