"""The routes of the endpoint, for any Starlette or FastAPI application."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from reference_server.realtime.broadcast_api import BroadcastApi
from reference_server.realtime.health import health
from reference_server.realtime.service import RealtimeService
from reference_server.realtime.socket import SocketEndpoint, plain_get

# The platform's gateway serves /realtime/v1, the server behind it the bare paths; clients know both.
PREFIXES = ("/realtime/v1", "")
SOCKET_PATHS = ("/realtime/v1/websocket", "/socket/websocket")


def realtime_routes(service: RealtimeService) -> list[BaseRoute]:
    """Socket, broadcast API and health. Serve with uvicorn `ws="websockets-sansio"`,
    `ws_max_size=service.limits.frame_bytes`, `ws_per_message_deflate=False`."""
    socket, api = SocketEndpoint(service), BroadcastApi(service)

    async def report_health(_: Request) -> Response:
        status, body = health(service.facts())
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
            Route(f"{prefix}/api/broadcast", api.batch, methods=["POST", "OPTIONS"]),
            Route(f"{prefix}/api/broadcast/{{topic}}/events/{{event}}", api.single, methods=["POST", "OPTIONS"]),
        ]
    return routes
