"""`GET /realtime/v1/health` and the small probes of the real server."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from reference_server.realtime.sockets.service import RealtimeFacts


def health(facts: RealtimeFacts) -> tuple[int, dict[str, Any]]:
    """HTTP status and body: 200 while changes flow, 503 while they do not."""
    figures = asdict(facts)
    stream, lag = figures.pop("stream"), figures.pop("stream_lag_s")
    body = {"status": "ok" if facts.ready else "unavailable", "stream": {"state": stream, "lag_s": lag}, **figures}
    return (200 if facts.ready else 503), body
