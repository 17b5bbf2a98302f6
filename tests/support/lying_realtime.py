"""A Realtime that lies: forwards every frame to the real one, and spoils the changes it is told to spoil."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from websockets import ConnectionClosed
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

# Given the row of a change and the frame that carries it: the frames to send instead.
Spoil = Callable[[dict[str, Any], Any], list[Any]]


@asynccontextmanager
async def lying_realtime(url: str, spoil: Spoil) -> AsyncIterator[str]:
    """The http URL of the liar before the Realtime at `url`."""
    upstream = urlsplit(url)

    async def pump(client: ServerConnection) -> None:
        assert client.request is not None
        async with connect(
            f"ws://{upstream.netloc}{client.request.path}", max_size=None, proxy=None, open_timeout=10
        ) as server:
            up = asyncio.create_task(_forward(client, server, lambda text: [text]))
            down = asyncio.create_task(_forward(server, client, lambda text: _spoilt(text, spoil)))
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async with serve(pump, "127.0.0.1", 0, max_size=None) as listener:
        port = next(iter(listener.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}"


async def _forward(source: Any, sink: Any, change: Callable[[Any], list[Any]]) -> None:
    try:
        async for message in source:
            for text in change(message):
                await sink.send(text)
    except ConnectionClosed:
        return


def _spoilt(text: Any, spoil: Spoil) -> list[Any]:
    frame = json.loads(text)
    row = _row(frame)
    return [text] if row is None else [json.dumps(kept) for kept in spoil(row, frame)]


def _row(frame: Any) -> dict[str, Any] | None:
    """The row of a postgres_changes frame of either protocol version; the frame's own object, to be changed."""
    event, payload = (frame[3], frame[4]) if isinstance(frame, list) else (frame.get("event"), frame.get("payload"))
    if event != "postgres_changes":
        return None
    row = payload["data"]["record"]
    assert isinstance(row, dict)
    return row
