"""The Realtime endpoint: its verifier, feed of changes, topics, limits and open sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson
import structlog

from reference_server.realtime.protocol import refusals
from reference_server.realtime.protocol.channel import TOPIC_PREFIX
from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.protocol.messages import UserBroadcast
from reference_server.realtime.protocol.ports import Feed, ParseBindings, StoredMessage, StoredMessages
from reference_server.realtime.protocol.session import Session
from reference_server.realtime.sockets.budgets import Sender, SharedBudget
from reference_server.realtime.sockets.connection import AsgiReceive, Connection
from reference_server.realtime.sockets.hub import Hub
from reference_server.realtime.sockets.member import ChangeFrames
from reference_server.realtime.sockets.outbox import AsgiSend, Congestion
from reference_server.realtime.sockets.policies import ChannelPolicies
from reference_server.tokens.verifier import TokenVerifier

SERVICE_RESTART: Final = 1012
# A client may hold sockets before it joins, and while it reconnects.
SOCKETS_A_USER: Final = 2
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RealtimeFacts:
    """For health, readiness and metrics. The counters run since the start of the process."""

    stream: str  # starting, live, lost, stopped
    stream_lag_s: float | None
    messages: str  # the stream of what the database sends: starting, live, lost, stopped
    messages_problem: str | None  # why it is not live
    connections: int
    users: int
    topics: int
    channels: int
    frames_sent: int
    frames_ignored: int
    slow_consumers: int

    @property
    def ready(self) -> bool:
        return self.stream == "live"

    def health(self) -> tuple[int, dict[str, Any]]:
        """HTTP status and body for `/realtime/v1/health`: 200 while changes flow, 503 while they do not."""
        figures = asdict(self)
        body = {
            "status": "ok" if self.ready else "unavailable",
            "stream": {"state": figures.pop("stream"), "lag_s": figures.pop("stream_lag_s")},
            "messages": {"state": figures.pop("messages"), "problem": figures.pop("messages_problem")},
            **figures,
        }
        return (200 if self.ready else 503), body


class RealtimeService:
    """`feed` and `policies` are started and closed with the service; the verifier is shared, so it is not."""

    def __init__(
        self,
        *,
        verifier: TokenVerifier,
        feed: Feed,
        messages: StoredMessages,
        parse_bindings: ParseBindings,
        policies: ChannelPolicies,
        limits: Limits | None = None,
        private_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.verifier = verifier
        self.feed = feed
        self.messages = messages
        self.parse_bindings = parse_bindings
        self.policies = policies
        self.limits = limits or Limits()
        self.private_only = private_only
        self.clock = clock
        self.hub = Hub()
        self.congestion = Congestion(self.limits.congestion_s)
        self.change_frames = ChangeFrames()
        self.no_changes: str | None = None  # the text with which joins that ask for changes are refused
        self._connections: set[Connection] = set()
        shares = self.limits.user_share, self.limits.address_share
        self._joins = SharedBudget(self.limits.joins_per_second, *shares)
        self._events = SharedBudget(self.limits.events_per_second, *shares)
        self._background: set[asyncio.Task[None]] = set()
        self._sent = self._ignored = self._slow = 0
        feed.on_state(self._feed_state)

    async def start(self, deadline_s: float = 30) -> None:
        """Returns when the stream of changes is live; raises what the feed raises when it is not in time.

        The stream of messages is tried at the same time; where it cannot be, everything else is served.
        """
        telling = self.messages.start(self._message, self.congestion.worth_waiting, self._messages_live, deadline_s)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self.feed.start(deadline_s))
                both.create_task(telling)
        except BaseExceptionGroup as failed:
            await self.messages.stop()
            raise failed.exceptions[0] from None

    async def stop(self, deadline_s: float = 10) -> None:
        """Close every socket with 1012, which makes clients come back, then the stream and the pool."""
        for connection in list(self._connections):
            connection.outbox.close(SERVICE_RESTART, "server is restarting")
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.gather(*(connection.closed.wait() for connection in self._connections))
                await asyncio.gather(*self._background)
        except TimeoutError:
            log.warning("sockets were still open when the endpoint stopped", open=len(self._connections))
        await self.messages.stop()
        await self.feed.stop()
        await self.policies.close()

    # Sockets

    def refuse_upgrade(self, sender: Sender) -> str | None:
        """The limit that forbids one more socket of this user and address, if any."""
        if self._users() >= self.limits.users:
            return "Too many connected users"
        if self._joins.spent(self.clock(), sender):
            return "Too many joins per second"
        most = self.limits.users * SOCKETS_A_USER
        idle = [connection for connection in self._connections if not connection.is_user]
        if len(self._connections) >= most + self.limits.users or (
            sum(connection.sender.address == sender.address for connection in idle) >= most * self.limits.address_share
        ):
            return "Too many sockets without a channel"
        return None

    async def serve(self, session: Session, address: str, receive: AsgiReceive, send: AsgiSend) -> bool:
        """Serve an accepted socket until it closes; False when it must be cut."""
        connection = Connection(self, session, send, Sender(address, session.token.subject))
        self._connections.add(connection)
        try:
            return await connection.run(receive)
        finally:
            self._connections.discard(connection)
            connection.closed.set()
            self._sent += connection.outbox.sent
            self._ignored += session.ignored_frames
            self._slow += connection.outbox.overflowed

    # For connections

    def admit(self, connection: Connection) -> str | None:
        """Count a join of this socket; the reason to refuse it, if a limit is passed."""
        if not self._joins.take(self.clock(), connection.sender):
            return refusals.TOO_MANY_JOINS
        if not connection.is_user and self._users() >= self.limits.users:
            return refusals.TOO_MANY_USERS
        return None

    def admit_events(self, count: int, sender: Sender) -> bool:
        """Count messages, if there is room for all of them: refused ones do not cost other clients theirs."""
        return self._events.take(self.clock(), sender, count)

    def unsubscribe_soon(self, subscription: Any) -> None:
        """Cancel a subscription in the background; its member has been detached, so nothing of it is delivered."""
        task = asyncio.create_task(self._unsubscribe(subscription), name="realtime unsubscribe")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _unsubscribe(self, subscription: Any) -> None:
        try:
            async with asyncio.timeout(self.limits.subscribe_s):
                await self.feed.unsubscribe(subscription)
        except Exception as error:  # noqa: BLE001 the channel is gone; the feed's own state decides what follows
            log.warning("a subscription could not be cancelled", error=repr(error))

    # Messages of the database

    def _message(self, message: StoredMessage) -> int:
        """Send a stored message to those who have joined its topic; how many they are."""
        if len(message.payload) > self.limits.broadcast_bytes:
            log.warning("a message of the database is too large to be sent", topic=message.topic, id=message.id)
            return 0
        topic, meta = TOPIC_PREFIX + message.topic, orjson.dumps({"id": message.id})
        sent = UserBroadcast(topic, message.event, message.payload, message.is_json, meta)
        return self.hub.publish((topic, message.private), sent, message_id=message.id)

    def _messages_live(self) -> None:
        for connection in list(self._connections):
            connection.replication_ready()

    # Facts

    def facts(self) -> RealtimeFacts:
        topics, channels = self.hub.counts()
        open_now = list(self._connections)
        lag = getattr(self.feed, "lag_s", None)
        return RealtimeFacts(
            stream=self.feed.state,
            stream_lag_s=lag if isinstance(lag, int | float) else None,
            messages=self.messages.state,
            messages_problem=self.messages.problem,
            connections=len(open_now),
            users=self._users(),
            topics=topics,
            channels=channels,
            frames_sent=self._sent + sum(connection.outbox.sent for connection in open_now),
            frames_ignored=self._ignored + sum(connection.session.ignored_frames for connection in open_now),
            slow_consumers=self._slow + sum(connection.outbox.overflowed for connection in open_now),
        )

    def _users(self) -> int:
        return sum(connection.is_user for connection in self._connections)

    def _feed_state(self, state: str) -> None:
        log.info("stream of changes", state=state)
        if state in {"lost", "stopped"}:
            for connection in list(self._connections):
                connection.fail_changes()
