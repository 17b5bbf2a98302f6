"""A client without recovery: what the subscription brings goes to the application as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from toolkit.client.auth import TokenSource
from toolkit.client.connection import Connection, Endpoint
from toolkit.client.events import ProcessEvent, event_from_row
from toolkit.client.recovery import Phase


class NaiveStream:
    """The face of ProcessEventStream, and nothing behind it."""

    def __init__(self, url: str, key: str, process_id: str, *, token: TokenSource, tap: Any, **_: Any) -> None:
        self.state = Phase.CONNECTING
        self.reconnects = 0
        self.last_error: str | None = None
        self._tap = tap
        self._queue: asyncio.Queue[ProcessEvent] = asyncio.Queue()
        self._connection = Connection(1, Endpoint(url, key), process_id, token, self)
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self.state is Phase.LIVE

    def __aiter__(self) -> NaiveStream:
        if self._task is None:
            self._task = asyncio.create_task(self._connection.run())
        return self

    async def __anext__(self) -> ProcessEvent:
        return await self._queue.get()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # -- what the connection tells

    def joined(self) -> None:
        self.state = Phase.JOINED

    def live(self) -> None:
        self.state = Phase.LIVE

    def row(self, record: Mapping[str, Any], at: float) -> None:
        self._queue.put_nowait(event_from_row(record, via="live", received_at=at))

    def lost(self, reason: str) -> None:
        self.state, self.last_error = Phase.WAITING, reason

    def frame(self, frame: Any) -> None:
        self._tap(frame)
