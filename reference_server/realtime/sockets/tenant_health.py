"""`GET /api/tenants/{id}/health`: whether database and stream of messages are connected, for who runs the project."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reference_server.realtime.sockets.service import RealtimeService
from reference_server.tokens.token import TokenError

# A token that clients hold must not open what is meant for operators.
MANAGEMENT_ROLE: Final = "service_role"


class TenantHealth:
    """One server is one tenant: whatever the id, it answers for its own database."""

    def __init__(self, service: RealtimeService) -> None:
        self._service = service

    async def __call__(self, request: Request) -> Response:
        """200 with `{"data": {...}}`, or an empty 403 without a token of service_role."""
        raw = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            token = await self._service.verifier.verify(raw)
        except TokenError:
            return Response(status_code=403)
        return JSONResponse({"data": self._facts()}) if token.role == MANAGEMENT_ROLE else Response(status_code=403)

    def _facts(self) -> dict[str, Any]:
        facts = self._service.facts()
        return {
            "healthy": facts.ready or facts.users == 0,
            "db_connected": facts.ready,
            "replication_connected": facts.messages == "live",
            "connected_cluster": facts.users,
            "region": "local",
            "node": "reference_server",
        }
