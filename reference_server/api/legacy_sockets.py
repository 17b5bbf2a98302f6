"""The socket of a legacy client, and the codes with which it is closed."""

from __future__ import annotations

import asyncio
from typing import Final

import orjson
import structlog
from fastapi import WebSocket
from starlette.websockets import WebSocketState

from reference_server.api import legacy_frames as frames

log = structlog.get_logger(__name__)

NORMAL: Final = 1000
POLICY: Final = 1008
INTERNAL: Final = 1011
RESTART: Final = 1012
SEND_DEADLINE_S = 10.0
SETTLE_DEADLINE_S = 5.0
MAX_FRAME = 1_048_576


class Refused(Exception):
    """Close the socket with this code and reason, after an error frame with `message`."""

    def __init__(self, code: int, reason: str, message: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.message = message


class ClientSocket:
    """A client's socket: frames out under a deadline, closed once."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._closed = False

    async def send(self, frame: frames.Frame) -> None:
        """Raises ConnectionError when the client is gone or takes nothing for SEND_DEADLINE_S."""
        if self._closed:
            raise ConnectionError("the socket is closed")
        try:
            async with asyncio.timeout(SEND_DEADLINE_S):
                await self._websocket.send_text(orjson.dumps(frame).decode())
        except Exception as error:  # whatever the transport raises, this client gets no more frames
            self._closed = True
            raise ConnectionError(f"the client does not take frames: {type(error).__name__}") from error

    async def receive(self) -> str | bytes | None:
        """The next frame, None when the client has left."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            self._closed = True
            return None
        text: str | bytes = message.get("text") or message.get("bytes") or ""
        if len(text) > MAX_FRAME:
            raise Refused(POLICY, "frame_too_large", f"a frame has at most {MAX_FRAME} bytes")
        return text

    async def close(self, code: int, reason: str) -> None:
        if self._closed or self._websocket.client_state is not WebSocketState.CONNECTED:
            return
        self._closed = True
        try:
            async with asyncio.timeout(SEND_DEADLINE_S):
                await self._websocket.close(code, reason[:120])
        except Exception as error:  # noqa: BLE001 it is being thrown away either way
            log.info("a socket could not be closed in order", cause=type(error).__name__)
