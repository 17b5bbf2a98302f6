"""One connection of the official Realtime client to one process' events, from connecting to its end.

The official client gives up silently after 15 seconds of outage, reconnects without jitter and rejoins for ever after a
refusal. So its own reconnecting is turned off: a connection that ends is reported and dropped, and the recovery machine
opens another. Only the client's public interface is used.
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

# Whether its log lines are shown is for the caller to configure; by default they stay off a command's stderr.
logging.getLogger("realtime").addHandler(logging.NullHandler())

SUBSCRIBED_TEXT = "Subscribed to PostgreSQL"
CLOSE_DEADLINE_S = 12.0
RENEWAL_PAUSE_S = 5.0


@dataclass(frozen=True)
class Frame:
    """One message that the subscriber received, for histories. `at` is in seconds of the monotonic clock."""

    at: float
    connection: int
    kind: Literal["status", "system", "postgres_changes"]
    payload: Mapping[str, Any]


class Listener(Protocol):
    """Receives the events of a connection. None of these methods may raise or block."""

    def joined(self) -> None:
        """The join was answered ok."""

    def live(self) -> None:
        """The server said that changes flow."""

    def row(self, record: Mapping[str, Any], at: float) -> None:
        """A row was inserted."""

    def lost(self, reason: str) -> None:
        """The connection ended, or could not be made; `reason` says why."""

    def frame(self, frame: Frame) -> None:
        """Any message was received; called for each, beside the other methods."""


class RealtimeEndpoint(Protocol):
    """Provides the Realtime client that a connection uses, and cleans up afterwards."""

    @property
    def join_timeout_s(self) -> int:
        """How many seconds a join may take."""
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
    """Opens a socket of its own for each connection: `url` is the project's base URL, `key` its anon key."""

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
        """The name itself, since the socket has no other channel."""
        return name

    async def release(self, client: AsyncRealtimeClient, channel: AsyncRealtimeChannel | None) -> None:
        """Close the socket without leaving the channel first: a leave would start a timer in the client that nobody
        stops."""
        if channel is not None:
            drop_timers(channel)
        # Should the first call fail, the second finds no socket and only ends the client's tasks.
        for _ in range(2):
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_DEADLINE_S):
                    await client.close()
        if channel is not None:
            channel.rejoin_timer.reset()


class Connection:
    """One connection: `run` joins, listens, and renews the token until the connection is lost or cancelled."""

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
        """Run the connection until it ends, which is reported as `lost`; a cancellation only cleans up."""
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
        except Exception as error:  # noqa: BLE001 - any error ends this connection, and another is made
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
                wait = 0.0  # a request renewed the token while the join was under way
            try:
                async with asyncio.timeout(wait):
                    await self._over.wait()
            except TimeoutError:
                token = await self._newer(token)
                async with asyncio.timeout(self._endpoint.join_timeout_s):
                    await _hand_over(client, token)

    async def _newer(self, token: str) -> str:
        """Wait for a token other than the one the server has. A provider without a new one is asked again after a
        pause."""
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
            return  # a channel that is left reports this
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
    """Await `work` to its end and only then let a cancellation through, so that the clean-up is complete."""
    task, cancelled = asyncio.ensure_future(work), False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


async def _hand_over(client: AsyncRealtimeClient, token: str) -> None:
    """Set the token on the client and its channels, unless a Supabase client has already done so."""
    if client.access_token != token:
        await client.set_auth(token)


def drop_timers(channel: AsyncRealtimeChannel) -> None:
    """Stop the channel's timers, which would otherwise fire after it is no longer used."""
    channel.rejoin_timer.reset()
    channel.join_push.destroy()
    for push in list(channel.messages_waiting_for_ack.values()):
        push.destroy()
