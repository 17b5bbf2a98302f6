"""One connection of the official Realtime client to one process' events, from connecting to its end.

The official client gives up silently after a quarter of a minute of outage, reconnects without jitter
and rejoins for ever after a refusal. So its own reconnecting is off: a connection that ends is reported,
dropped, and made anew by the recovery machine. Only the client's public interface is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient
from realtime.types import (
    PostgresChangesPayload,
    RealtimePostgresChangesListenEvent,
    RealtimeSubscribeStates,
)

from toolkit.client.auth import TokenSource
from toolkit.client.errors import NotReached

# Its log lines are the caller's to see or not; they shall not land on a command's stderr by default.
logging.getLogger("realtime").addHandler(logging.NullHandler())

SUBSCRIBED_TEXT = "Subscribed to PostgreSQL"
CLOSE_DEADLINE_S = 12.0
RENEWAL_PAUSE_S = 5.0


@dataclass(frozen=True)
class Frame:
    """Something the subscriber saw, for histories. `at` is in seconds of the monotonic clock."""

    at: float
    connection: int
    kind: Literal["status", "system", "postgres_changes"]
    payload: Mapping[str, Any]


class Listener(Protocol):
    """Whom a connection tells. None of these may raise or block."""

    def joined(self) -> None:
        """The join was answered ok."""

    def live(self) -> None:
        """The server said that changes flow."""

    def row(self, record: Mapping[str, Any], at: float) -> None:
        """A row was inserted."""

    def lost(self, reason: str) -> None:
        """It is over, or never came to be."""

    def frame(self, frame: Frame) -> None:
        """Everything that was seen."""


class RealtimeEndpoint(Protocol):
    """Whose client a connection uses, and what is left of it afterwards."""

    @property
    def join_timeout_s(self) -> int:
        """How long, in seconds, a join may take."""
        ...

    def client(self) -> AsyncRealtimeClient:
        """The official client to join with; it need not be connected."""
        ...

    def topic(self, name: str) -> str:
        """The topic of a channel that is called `name`."""
        ...

    async def release(self, client: AsyncRealtimeClient, channel: AsyncRealtimeChannel | None) -> None:
        """The channel is no longer used. Never raises."""
        ...


@dataclass(frozen=True)
class Endpoint:
    """A socket for each connection: `url` is the project's base URL, `key` its anon key."""

    url: str
    key: str
    join_timeout_s: int = 10
    heartbeat_s: int = 25

    def client(self) -> AsyncRealtimeClient:
        """A new client."""
        return AsyncRealtimeClient(
            f"{self.url.rstrip('/')}/realtime/v1",
            token=self.key,
            auto_reconnect=False,
            max_retries=1,
            timeout=self.join_timeout_s,
            hb_interval=self.heartbeat_s,
        )

    def topic(self, name: str) -> str:
        """The name itself: the socket has no other channel."""
        return name

    async def release(self, client: AsyncRealtimeClient, channel: AsyncRealtimeChannel | None) -> None:
        """Close the socket without a goodbye to the channel: a leave would leave a timer of the client's behind."""
        if channel is not None:
            drop_timers(channel)
        # The second call finds no socket and only ends the client's tasks, should the first have failed.
        for _ in range(2):
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_DEADLINE_S):
                    await client.close()
        if channel is not None:
            channel.rejoin_timer.reset()


class Connection:
    """Joins, listens, and renews the token until it is lost or cancelled (`run`)."""

    def __init__(
        self, number: int, endpoint: RealtimeEndpoint, process_id: str, tokens: TokenSource, listener: Listener
    ) -> None:
        self.number = number
        self._endpoint = endpoint
        self._process_id = process_id
        self._tokens = tokens
        self._listener = listener
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Serve until the end, which is reported as `lost`; on cancellation just clean up."""
        client = self._endpoint.client()
        channel: AsyncRealtimeChannel | None = None
        try:
            token = await self._tokens.get()
            await _hand_over(client, token)
            async with asyncio.timeout(2 * self._endpoint.join_timeout_s):
                await client.connect()
                channel = self._channel(client)
                await channel.subscribe(self._status)
            await self._keep(client, token)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever ends a connection is a reason to make another
            self._end(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        finally:
            await _uncancelled(self._endpoint.release(client, channel))

    def _channel(self, client: AsyncRealtimeClient) -> AsyncRealtimeChannel:
        selection = f"process_id=eq.{self._process_id}"
        channel = client.channel(self._endpoint.topic(f"process_events:{selection}"))
        channel.on_postgres_changes(
            RealtimePostgresChangesListenEvent.Insert,
            self._change,
            table="process_events",
            schema="public",
            filter=selection,
        )
        channel.on_system(self._system)
        return channel

    async def _keep(self, client: AsyncRealtimeClient, token: str) -> None:
        """Wait for the end; hand every new token to the server before the old one expires."""
        while not self._over.is_set():
            due = self._tokens.renew_at()
            wait = None if due is None else max(0.0, due - time.time())
            if self._tokens.current != token:
                wait = 0.0  # a request renewed it while we joined
            try:
                async with asyncio.timeout(wait):
                    await self._over.wait()
            except TimeoutError:
                token = await self._newer(token)
                async with asyncio.timeout(self._endpoint.join_timeout_s):
                    await _hand_over(client, token)

    async def _newer(self, token: str) -> str:
        """Another token than the one the server has. Who has none yet is asked again, but not in a tight loop."""
        while not self._over.is_set():
            with contextlib.suppress(NotReached):
                if (fresh := await self._tokens.get()) != token:
                    return fresh
            await self._pause(RENEWAL_PAUSE_S)
        return token

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    # -- what the client tells us -------------------------------------------------------------

    def _status(self, status: RealtimeSubscribeStates, error: Exception | None) -> None:
        if self._over.is_set():
            return  # what a channel says when it is left
        self._seen("status", {"status": status.value, "error": str(error) if error else None})
        if status is RealtimeSubscribeStates.SUBSCRIBED:
            self._listener.joined()
        else:
            self._end(f"{status.value}: {error}" if error else status.value)

    def _system(self, payload: Any) -> None:
        told = dict(payload) if isinstance(payload, Mapping) else payload.model_dump()
        self._seen("system", told)
        if told.get("extension") == "postgres_changes" and told.get("message") == SUBSCRIBED_TEXT:
            self._listener.live()

    def _change(self, payload: PostgresChangesPayload) -> None:
        at = time.monotonic()
        self._seen("postgres_changes", payload, at)
        record = payload["data"].get("record")
        if record:
            self._listener.row(record, at)

    def _seen(
        self, kind: Literal["status", "system", "postgres_changes"], payload: Mapping[str, Any], at: float | None = None
    ) -> None:
        self._listener.frame(Frame(at or time.monotonic(), self.number, kind, payload))

    def _end(self, reason: str) -> None:
        if not self._over.is_set():
            self._over.set()
            self._listener.lost(reason)


async def _uncancelled(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` to its end, and only then give in to a cancellation: half a clean-up is none."""
    task, cancelled = asyncio.ensure_future(work), False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


async def _hand_over(client: AsyncRealtimeClient, token: str) -> None:
    """Make it the token of the client and its channels, unless somebody (a Supabase client) has done so."""
    if client.access_token != token:
        await client.set_auth(token)


def drop_timers(channel: AsyncRealtimeChannel) -> None:
    """End whatever of the channel would still go off after it is no longer used."""
    channel.rejoin_timer.reset()
    channel.join_push.destroy()
    for push in list(channel.messages_waiting_for_ack.values()):
        push.destroy()
