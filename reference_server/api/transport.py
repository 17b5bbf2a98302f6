"""The feature flag: which transport a new process may use.

Each API process holds its own flag. It starts with GENERATION_TRANSPORT and is switched at run time
by `PUT /api/internal/transport`; with several API processes, each is switched separately. Generation processes that
already run are not affected: they end on the transport they began with.
"""

from __future__ import annotations

from reference_server.api.http_errors import Conflict
from toolkit.contract.requests import Transport

WEBSOCKET_PATH = "/api/articles/ws/generate"
START_PATH = "/api/articles/generation/start"


class TransportFlag:
    def __init__(self, current: Transport) -> None:
        self.current = current

    def require_realtime(self) -> None:
        """Raises Conflict when a new process must not use the HTTP API and Realtime."""
        if self.current is Transport.WEBSOCKET:
            raise Conflict(
                "new generations use the WebSocket transport at present",
                code="transport_unavailable",
                remedy=f"Open a WebSocket at {WEBSOCKET_PATH}, or set GENERATION_TRANSPORT to both or realtime.",
                details={"transport": str(self.current), "alternative": WEBSOCKET_PATH},
            )

    @property
    def websocket_allowed(self) -> bool:
        return self.current is not Transport.REALTIME
