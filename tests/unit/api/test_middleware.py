"""Bodies: what is too large, and what never arrived whole."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from reference_server.api.metrics import Metrics
from reference_server.api.middleware import RequestMiddleware

Messages = list[dict[str, Any]]


async def request(path: str, chunks: Messages) -> tuple[list[bytes], Messages]:
    """Bodies the application was given, and what was sent."""
    given: list[bytes] = []
    sent: Messages = []
    waiting = list(chunks)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        given.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    middleware = RequestMiddleware(app, metrics=Metrics(), deadline_s=5, max_bytes=10, broadcast_bytes=20)
    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    await middleware(scope, receive, send)
    return given, sent


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_client_that_leaves_half_way_has_asked_for_nothing() -> None:
    given, sent = await request("/api/broadcast/room/events/e", [part(b"half"), {"type": "http.disconnect"}])
    assert (given, sent) == ([], [])


@pytest.mark.parametrize(("path", "most"), [("/api/articles", 10), ("/realtime/v1/api/broadcast", 20)])
async def test_bodies_are_bounded_whatever_their_headers_say(path: str, most: int) -> None:
    given, _ = await request(path, [part(b"x" * 8), part(b"y" * (most - 8), more=False)])
    assert given == [b"x" * 8 + b"y" * (most - 8)]
    given, sent = await request(path, [part(b"x" * 8), part(b"y" * (most - 7), more=False)])
    assert given == []
    assert sent[0]["status"] == 413
    assert f"at most {most} bytes" in orjson.loads(sent[1]["body"])["error"]["remedy"]
