"""Frames to one socket: written at once while the socket accepts them, otherwise queued up to a bound."""

from __future__ import annotations

import asyncio
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, MutableMapping
from typing import Any, Final, TypeAlias

from reference_server.realtime.protocol.limits import Limits

Sending: TypeAlias = Coroutine[Any, Any, None]
AsgiSend: TypeAlias = Callable[[MutableMapping[str, Any]], Sending]
TRY_AGAIN_LATER: Final = 1013
# The two ways in which ASGI servers say that the client is gone; the reader hears of it as well.
CLIENT_GONE: Final = (OSError, RuntimeError)


class Congestion:
    """The outboxes that are half full and not empty since, so that who writes to many can wait for them a while."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: dict[Outbox, float] = {}

    def add(self, outbox: Outbox) -> None:
        self._since.setdefault(outbox, asyncio.get_running_loop().time())

    def discard(self, outbox: Outbox) -> None:
        self._since.pop(outbox, None)

    def worth_waiting(self) -> bool:
        """Whether somebody is behind: a client that has been behind for longer holds nobody up any more."""
        if not self._since:
            return False
        earliest = asyncio.get_running_loop().time() - self._patience_s
        return any(since > earliest for since in self._since.values())


class Outbox:
    """`put` never waits. When the queue passes its bound, it is replaced by the frames of `farewell`, which tell
    the client why, and the socket closes: a slow reader delays nobody else."""

    def __init__(
        self, send: AsgiSend, limits: Limits, farewell: Callable[[], list[str]], congestion: Congestion | None = None
    ) -> None:
        self._congestion = Congestion(limits.congestion_s) if congestion is None else congestion
        self._send = send
        self._limits = limits
        self._farewell = farewell
        self._frames: deque[str | bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._stalled: tuple[Sending, Any] | None = None  # a send that did not finish at once
        self._busy = False
        self.sent = 0
        self.overflowed = False

    @property
    def closing(self) -> bool:
        return self._closing is not None

    def put(self, frame: str | bytes) -> None:
        if self._closing is not None:
            return
        if not self._busy:
            self._send_now(frame)
            return
        self._frames.append(frame)
        self._bytes += len(frame)
        if len(self._frames) * 2 > self._limits.queue_frames or self._bytes * 2 > self._limits.queue_bytes:
            self._congestion.add(self)
        if len(self._frames) > self._limits.queue_frames or self._bytes > self._limits.queue_bytes:
            self.overflowed = True
            self._frames.clear()
            self._frames.extend(self._farewell())
            self.close(TRY_AGAIN_LATER, "client reads too slowly")

    def close(self, code: int, reason: str = "") -> None:
        """Close after what is queued; nothing is accepted any more."""
        if self._closing is None:
            self._congestion.discard(self)
            self._closing = (code, reason)
            self._wake.set()

    async def run(self) -> None:
        """Send what `put` could not send at once. Raises TimeoutError when the client accepts nothing for `send_s`."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._stalled is not None:
                    async with asyncio.timeout(self._limits.send_s):
                        await _finish(*self._stalled)
                    self._stalled = None
                    self.sent += 1
                while self._frames:
                    frame = self._frames.popleft()
                    self._bytes -= len(frame)
                    async with asyncio.timeout(self._limits.send_s):
                        await self._send(_event(frame))
                    self.sent += 1
                self._congestion.discard(self)
                if self._closing is not None:
                    code, reason = self._closing
                    async with asyncio.timeout(self._limits.send_s):
                        await self._send({"type": "websocket.close", "code": code, "reason": reason})
                    return
                self._busy = False
        except TimeoutError:
            raise
        except CLIENT_GONE:
            return
        finally:
            self._congestion.discard(self)
            self._busy = True  # from here on nothing is sent any more
            if self._stalled is not None:
                self._stalled[0].close()

    def _send_now(self, frame: str | bytes) -> None:
        """Run the send up to where it would wait; usually it never does, which spares a task switch."""
        sending = self._send(_event(frame))
        try:
            waiting_for = sending.send(None)
        except StopIteration:
            self.sent += 1
        except CLIENT_GONE:
            self._busy = True
        else:
            self._stalled = (sending, waiting_for)
            self._busy = True
            self._wake.set()


@types.coroutine
def _finish(sending: Sending, waiting_for: Any) -> Generator[Any, Any, None]:
    """Await a coroutine that was started by hand and now waits for `waiting_for`."""
    while True:
        try:
            try:
                value = yield waiting_for
            except BaseException as error:  # noqa: BLE001 a cancellation belongs to the coroutine itself
                waiting_for = sending.throw(error)
            else:
                waiting_for = sending.send(value)
        except StopIteration:
            return


def _event(frame: str | bytes) -> dict[str, Any]:
    return {"type": "websocket.send", "text" if isinstance(frame, str) else "bytes": frame}
