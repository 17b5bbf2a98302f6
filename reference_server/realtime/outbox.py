"""Frames waiting for one socket: bounded in number and bytes, written by one task."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from reference_server.realtime.limits import Limits

AsgiSend: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
TRY_AGAIN_LATER: Final = 1013


class Outbox:
    """`put` never waits. When the bound is passed, what waits is dropped in favour of `farewell`
    (frames that tell the client) and the socket closes: a slow reader costs others nothing."""

    def __init__(self, send: AsgiSend, limits: Limits, farewell: Callable[[], list[str]]) -> None:
        self._send = send
        self._limits = limits
        self._farewell = farewell
        self._frames: deque[str | bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self.sent = 0
        self.overflowed = False

    def put(self, frame: str | bytes) -> None:
        if self._closing is not None:
            return
        self._frames.append(frame)
        self._bytes += len(frame)
        if len(self._frames) > self._limits.queue_frames or self._bytes > self._limits.queue_bytes:
            self.overflowed = True
            self._frames.clear()
            self._frames.extend(self._farewell())
            self.close(TRY_AGAIN_LATER, "client reads too slowly")
        self._wake.set()

    def close(self, code: int, reason: str = "") -> None:
        """Close after what is queued; nothing is accepted any more."""
        if self._closing is None:
            self._closing = (code, reason)
            self._wake.set()

    @property
    def closing(self) -> bool:
        return self._closing is not None

    async def run(self) -> None:
        """Write until closed. Raises TimeoutError when the client takes nothing for `send_s`."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._frames:
                    async with asyncio.timeout(self._limits.send_s):
                        await self._write_some()
                if self._closing is not None:
                    code, reason = self._closing
                    async with asyncio.timeout(self._limits.send_s):
                        await self._send({"type": "websocket.close", "code": code, "reason": reason})
                    return
        except TimeoutError:
            raise
        except (OSError, RuntimeError):
            return  # the two ways in which ASGI servers say that the client is gone

    async def _write_some(self) -> None:
        for _ in range(64):
            if not self._frames:
                return
            frame = self._frames.popleft()
            self._bytes -= len(frame)
            await self._send(_event(frame))
            self.sent += 1


def _event(frame: str | bytes) -> dict[str, Any]:
    return {"type": "websocket.send", "text" if isinstance(frame, str) else "bytes": frame}
