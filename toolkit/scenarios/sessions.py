"""The sessions of an application (lossless stream or legacy WebSocket), and subscriptions that only record."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson
import websockets
from realtime import AsyncRealtimeClient
from realtime.types import RealtimePostgresChangesListenEvent, RealtimeSubscribeStates

from toolkit.client.connection import SUBSCRIBED_TEXT, Frame
from toolkit.client.errors import ClientError
from toolkit.client.events import ProcessEvent
from toolkit.client.recovery import Phase
from toolkit.client.stream import ProcessEventStream
from toolkit.scenarios.recorded.history import History
from toolkit.scenarios.tracker import Tracker, socket_kind

POLL_S = 0.02
CLOSE_DEADLINE_S = 15.0
MAX_FRAME_BYTES = 16 * 1024 * 1024
OnEvent = Callable[[], None]


class Session(Protocol):
    """One session of an application. `on_event` is called after each event."""

    failure: str | None

    def start(self) -> None: ...

    async def close(self) -> None: ...


class StreamSession:
    """A session on `ProcessEventStream`; every frame and delivery is recorded."""

    def __init__(
        self,
        history: History,
        tracker: Tracker,
        on_event: OnEvent,
        *,
        actor: str,
        user: str,
        process: str,
        since: int,
        stream: Callable[[Callable[[Frame], None]], ProcessEventStream],
    ) -> None:
        self.failure: str | None = None
        self._history = history
        self._tracker = tracker
        self._on_event = on_event
        self._actor = actor
        self._process = process
        self._stream = stream(self._frame)
        self._tasks: list[asyncio.Task[None]] = []
        self._end_noted = False
        history.add("note", actor, "watch", process=process, value={"user": user, "since": since})

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._deliver(), name=self._actor),
            asyncio.create_task(self._watch_connection(), name=f"moods of {self._actor}"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._stream.state is Phase.ENDED:
            self._note_end()
        await self._stream.aclose()
        self._tracker.connection(live=False)

    async def _deliver(self) -> None:
        try:
            async for event in self._stream:
                self._history.add(
                    "deliver",
                    self._actor,
                    process=event.process_id or self._process,
                    seq=event.sequence,
                    event_id=event.id,
                    via=event.via,
                    value=_value(event),
                )
                self._tracker.event(event.sequence, event.type, event.data)
                self._on_event()
        except ClientError as error:
            self.failure = error.what
            self._history.add("note", self._actor, "failed", process=self._process, error=error.what)
            self._on_event()

    async def _watch_connection(self) -> None:
        """Record `live` and `down`; a connection that was replaced between two samples counts as both."""
        reconnects = self._stream.reconnects
        while self._stream.state is not Phase.ENDED:
            replaced = self._stream.reconnects != reconnects
            reconnects = self._stream.reconnects
            if self._tracker.live and (replaced or not self._stream.connected):
                self._connection_changed("down", self._stream.last_error)
            if not self._tracker.live and self._stream.connected:
                self._connection_changed("live", None)
            await asyncio.sleep(POLL_S)
        self._note_end()

    def _note_end(self) -> None:
        """Record that the process, and so its stream, has ended: it need not become live again."""
        if not self._end_noted:
            self._end_noted = True
            self._history.add("note", self._actor, "ended", process=self._process)

    def _connection_changed(self, mood: str, error: str | None) -> None:
        self._tracker.connection(live=mood == "live")
        self._history.add("note", self._actor, mood, process=self._process, error=error)
        self._on_event()

    def _frame(self, frame: Frame) -> None:
        record_frame(self._history, self._actor, frame.kind, frame.payload, int(frame.at * 1e9))


class SocketSession:
    """A session on the legacy WebSocket: it starts its process with its first frame, and has no sequence and no
    recovery."""

    def __init__(
        self,
        history: History,
        tracker: Tracker,
        on_event: OnEvent,
        *,
        actor: str,
        user: str,
        url: str,
        token: str,
        body: Mapping[str, Any],
        process: str | None,
        known: Callable[[str], None],
    ) -> None:
        self.failure: str | None = None
        self.closed: dict[str, Any] | None = None
        self._history = history
        self._tracker = tracker
        self._on_event = on_event
        self._actor = actor
        self._user = user
        self._url = url
        self._token = token
        self._body = body
        self._process = process
        self._known = known
        self._socket: websockets.ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._process is not None:
            self._history.add("note", self._actor, "watch", process=self._process, value={"user": self._user})
        self._task = asyncio.create_task(self._run(), name=self._actor)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._tracker.connection(live=False)

    async def answer(self, response_type: str, payload: Mapping[str, Any]) -> None:
        """Send a client response. Raises ConnectionError when the socket is not open."""
        if self._socket is None:
            raise ConnectionError("the socket is not open")
        frame = {"type": "client_response", "response_type": response_type, "payload": dict(payload)}
        call = self._history.next_call()
        actor = f"user:{self._user}"
        self._history.add("invoke", actor, "answer", process=self._process, call=call, value=frame)
        try:
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                await self._socket.send(orjson.dumps(frame).decode())
        except (websockets.ConnectionClosed, TimeoutError) as error:
            self._history.add("info", actor, "answer", process=self._process, call=call, error=str(error))
            raise ConnectionError(str(error)) from error
        # The legacy transport acknowledges nothing: the effect shows in the frames that follow.
        self._history.add("ok", actor, "answer", process=self._process, call=call)

    async def _run(self) -> None:
        query = f"?process_id={self._process}" if self._process else ""
        try:
            async with websockets.connect(
                f"{self._url}/api/articles/ws/generate{query}",
                additional_headers={"Authorization": f"Bearer {self._token}"},
                open_timeout=CLOSE_DEADLINE_S,
                close_timeout=CLOSE_DEADLINE_S,
                max_size=MAX_FRAME_BYTES,
                proxy=None,
            ) as socket:
                self._socket = socket
                if self._process is None:
                    call = self._history.next_call()
                    self._history.add("invoke", f"user:{self._user}", "start", call=call, value={"body": self._body})
                    await socket.send(orjson.dumps(self._body).decode())
                async for text in socket:
                    self._receive(text)
                self._ended(socket.close_code, socket.close_reason)
        except websockets.ConnectionClosed as error:
            received = error.rcvd
            self._ended(received.code if received else None, received.reason if received else None)
        except (OSError, websockets.WebSocketException, TimeoutError) as error:
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            self._socket = None
            self._tracker.connection(live=False)
            if self._process is not None:
                self._history.add("note", self._actor, "down", process=self._process, error=self.failure)
            self._on_event()

    def _ended(self, code: int | None, reason: str | None) -> None:
        self.closed = {"code": code, "reason": reason or ""}
        self._history.add("note", self._actor, "closed", process=self._process, value=self.closed)
        if code != 1000 and not self._tracker.ended:
            self.failure = f"the socket was closed with {code} {reason or ''}".strip()

    def _receive(self, text: str | bytes) -> None:
        try:
            frame = orjson.loads(text)
        except orjson.JSONDecodeError:
            self._history.add("note", self._actor, "unreadable", error=f"a frame of {len(text)} characters")
            return
        payload = frame.get("payload") if isinstance(frame, dict) else None
        if not isinstance(payload, dict):
            self._history.add("frame", self._actor, process=self._process, via="socket", value={"type": "heartbeat"})
            return
        if self._process is None and payload.get("process_id"):
            self._process = str(payload["process_id"])
            self._known(self._process)
            self._history.add("note", self._actor, "watch", process=self._process, value={"user": self._user})
        if not self._tracker.live:
            self._tracker.connection(live=True)
            self._history.add("note", self._actor, "live", process=self._process)
        value = {"type": socket_kind(payload), "data": payload}
        process = str(payload.get("process_id") or self._process or "") or None
        self._history.add("frame", self._actor, process=process, via="socket", value=value)
        self._history.add("deliver", self._actor, process=process, via="socket", value=value)
        self._tracker.socket_frame(payload)
        self._on_event()


class BareSubscription:
    """A Realtime subscription of a user that records its frames and recovers nothing."""

    def __init__(
        self, history: History, *, actor: str, user: str, url: str, key: str, token: str, process: str | None
    ) -> None:
        self._history = history
        self._actor = actor
        self._user = user
        self._url = url
        self._key = key
        self._token = token
        self._process = process
        self._live = asyncio.Event()
        self._client: AsyncRealtimeClient | None = None

    async def open(self, deadline_s: float = 20.0) -> None:
        """Subscribe and wait until the server says that changes flow. Raises TimeoutError or OSError."""
        value = {"user": self._user, "application": False}
        self._history.add("note", self._actor, "watch", process=self._process, value=value)
        client = AsyncRealtimeClient(
            f"{self._url.rstrip('/')}/realtime/v1", token=self._key, auto_reconnect=False, max_retries=1
        )
        self._client = client
        async with asyncio.timeout(deadline_s):
            await client.set_auth(self._token)
            await client.connect()
            channel = client.channel(f"scenario:{self._actor}")
            channel.on_postgres_changes(
                RealtimePostgresChangesListenEvent.Insert,
                self._change,
                table="process_events",
                schema="public",
                filter=f"process_id=eq.{self._process}" if self._process else None,
            )
            channel.on_system(self._system)
            await channel.subscribe(self._status)
            await self._live.wait()

    async def close(self) -> None:
        """Close the connection; does nothing when it is closed already."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_DEADLINE_S):
                    await self._client.close()

    def _change(self, payload: Any) -> None:
        record_frame(self._history, self._actor, "postgres_changes", payload, time.monotonic_ns())

    def _system(self, payload: Any) -> None:
        told = dict(payload) if isinstance(payload, Mapping) else payload.model_dump()
        if told.get("extension") == "postgres_changes" and told.get("message") == SUBSCRIBED_TEXT:
            self._history.add("note", self._actor, "live", process=self._process)
            self._live.set()

    def _status(self, status: RealtimeSubscribeStates, error: Exception | None) -> None:
        if status is not RealtimeSubscribeStates.SUBSCRIBED:
            reason = f"{status.value}: {error}" if error else status.value
            self._history.add("note", self._actor, "down", process=self._process, error=reason)


def record_frame(history: History, actor: str, kind: str, payload: Mapping[str, Any], t_ns: int) -> None:
    """Record a raw frame, with the fields that judges look for taken from its row."""
    if kind != "postgres_changes":
        history.add("note", actor, f"frame:{kind}", value=dict(payload), t_ns=t_ns)
        return
    row = payload.get("data", {}).get("record") or {}
    history.add(
        "frame",
        actor,
        process=row.get("process_id"),
        seq=row.get("event_sequence"),
        event_id=row.get("id"),
        via="live",
        value={"type": row.get("event_type"), "data": row.get("event_data"), "created_at": row.get("created_at")},
        t_ns=t_ns,
    )


def _value(event: ProcessEvent) -> dict[str, Any]:
    return {"type": event.type, "data": dict(event.data), "category": event.category, "created_at": event.created_at}
