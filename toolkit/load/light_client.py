"""The light subscriber: what a load generator needs of a Realtime client, and no more.

The official client builds a model of every frame, which costs several times what the server spends on sending it. Here
a frame is parsed once. Recovery, reading and tokens are the application's own stream; only the connection differs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
from websockets.asyncio.client import ClientConnection, connect

from toolkit.client.auth import TokenSource
from toolkit.client.connection import SUBSCRIBED_TEXT, Connection, Frame, Listener
from toolkit.client.stream import ProcessEventStream
from toolkit.load.settings import Client

OPEN_DEADLINE_S = 15.0
CLOSE_DEADLINE_S = 5.0
HEARTBEAT_S = 25.0
MAX_FRAME_BYTES = 16 * 1024 * 1024


class LightStream(ProcessEventStream):
    """The lossless stream on light connections, for `make_stream` of a load user; it takes no `endpoint`."""

    def __init__(self, supabase_url: str, key: str, process_id: str, **options: Any) -> None:
        super().__init__(supabase_url, key, process_id, **options)
        base = supabase_url.rstrip("/").replace("http", "ws", 1)
        self._url = f"{base}/realtime/v1/websocket?{urlencode({'apikey': key, 'vsn': '1.0.0'})}"

    def _connection_of(self, epoch: int, listener: Listener) -> LightConnection:
        return LightConnection(epoch, self._url, self.process_id, self._tokens, listener)


def stream_of(client: Client) -> type[ProcessEventStream]:
    """The stream of a load user on this client."""
    return {"light": LightStream, "official": ProcessEventStream}[client]


class LightConnection(Connection):
    """One socket that joins one channel, and tells its listener what a `Connection` would."""

    def __init__(self, number: int, url: str, process_id: str, tokens: TokenSource, listener: Listener) -> None:
        self.number = number
        self._url = url
        self._selection = f"process_id=eq.{process_id}"
        self._topic = f"realtime:process_events:{self._selection}"
        self._tokens = tokens
        self._listener = listener
        self._over = asyncio.Event()
        self._refs = 0

    async def run(self) -> None:
        """Run the connection until it ends, which is reported as `lost`; a cancellation only closes the socket."""
        try:
            token = await self._tokens.get()
            async with connect(
                self._url,
                open_timeout=OPEN_DEADLINE_S,
                close_timeout=CLOSE_DEADLINE_S,
                max_size=MAX_FRAME_BYTES,
                compression=None,
                ping_interval=None,
            ) as socket:
                await self._join(socket, token)
                async with asyncio.TaskGroup() as group:
                    upkeep = group.create_task(self._keep_up(socket, token))
                    async for text in socket:
                        self._frame(orjson.loads(text))
                        if self._over.is_set():
                            break
                    upkeep.cancel()
            self._end("the server closed the socket")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - any error ends this connection, and another is made
            self._end(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)

    async def _send(self, socket: ClientConnection, topic: str, event: str, payload: Mapping[str, Any]) -> None:
        self._refs += 1
        message = {"topic": topic, "event": event, "payload": payload, "ref": str(self._refs), "join_ref": "1"}
        async with asyncio.timeout(OPEN_DEADLINE_S):
            await socket.send(orjson.dumps(message).decode())

    async def _join(self, socket: ClientConnection, token: str) -> None:
        change = {"event": "INSERT", "schema": "public", "table": "process_events", "filter": self._selection}
        config = {
            "broadcast": {"ack": False, "self": False},
            "presence": {"key": "", "enabled": False},
            "private": False,
            "postgres_changes": [change],
        }
        await self._send(socket, self._topic, "phx_join", {"config": config, "access_token": token})

    async def _keep_up(self, socket: ClientConnection, token: str) -> None:
        """Heartbeats, and every new token before the old one expires."""
        while True:
            due = self._tokens.renew_at()
            wait = HEARTBEAT_S if due is None else min(HEARTBEAT_S, max(0.5, due - time.time()))
            await asyncio.sleep(wait)
            fresh = await self._tokens.get()
            if fresh != token:
                token = fresh
                await self._send(socket, self._topic, "access_token", {"access_token": token})
            await self._send(socket, "phoenix", "heartbeat", {})

    def _frame(self, message: Mapping[str, Any]) -> None:
        event, payload = message.get("event"), message.get("payload") or {}
        if message.get("topic") != self._topic:
            return  # the answer to a heartbeat
        at = time.monotonic()
        if event == "postgres_changes":
            self._listener.frame(Frame(at, self.number, "postgres_changes", payload))
            if record := payload["data"].get("record"):
                self._listener.row(record, at)
        elif event == "system":
            self._listener.frame(Frame(at, self.number, "system", payload))
            if payload.get("extension") == "postgres_changes" and payload.get("message") == SUBSCRIBED_TEXT:
                self._listener.live()
        elif event == "phx_reply" and message.get("ref") == "1":
            joined = payload.get("status") == "ok"
            told = {"status": "SUBSCRIBED" if joined else "CHANNEL_ERROR", "error": None}
            self._listener.frame(Frame(at, self.number, "status", told))
            if joined:
                self._listener.joined()
            else:
                self._end(f"the join was refused: {payload.get('response')}")
        elif event in {"phx_close", "phx_error"}:
            self._end(f"the channel ended: {event}")
