"""CORS: which web pages may call the HTTP API directly."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

# The routes of Realtime set CORS headers themselves: as on the real server, any page may broadcast.
PREFIXES = ("/api/articles", "/api/internal")


class ApiCors:
    """CORS for the API's paths. It is the outermost middleware, so that a page can also read every refusal.

    Tokens travel in a header, never in a cookie, so credentials are not allowed.
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        self.app = app
        self._cors = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST", "PUT", "DELETE"),
            allow_headers=(
                "authorization",
                "apikey",
                "content-type",
                "idempotency-key",
                "x-client-info",
                "x-request-id",
                # What today's Supabase clients add by themselves.
                "x-retry-count",
                "traceparent",
                "tracestate",
                "baggage",
            ),
            expose_headers=(
                "x-request-id",
                "x-last-sequence",
                "x-oldest-sequence",
                "idempotent-replayed",
                "retry-after",
            ),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and scope["path"].startswith(PREFIXES)
        await (self._cors if ours else self.app)(scope, receive, send)
