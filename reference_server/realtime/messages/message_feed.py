"""Streams what is inserted into `realtime.messages` to those who have joined, from a slot of its own.

Of its own, because changes wait for questions to the database and these messages wait for nothing. What committed
while the stream was lost is read from the table when it is back, so no message is lost or sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from reference_server.realtime.messages.message_table import MOST_MISSED, PUBLICATION, MessageTable
from reference_server.realtime.messages.partitions import Partitions
from reference_server.realtime.messages.stored_row import SentLately, Unsendable, is_messages, read_insert
from reference_server.realtime.protocol.ports import Congested, MessageSink, MessagesUnavailable, StoredMessage
from reference_server.replication.pgoutput import Insert, Message, PgOutputError, Relation
from reference_server.replication.stream import SILENCE_LIMIT_S, StreamLost, WalStream

log = structlog.get_logger(__name__)

# Deliveries after which others get their turn on the event loop.
DELIVERIES_A_TURN = 2_000
CONGESTION_CHECK_S = 0.005
# A transaction that began so long before the stream was lost may have committed after it.
LONGEST_TRANSACTION_S = 120


class MessageFeed:
    """The stream of one database's messages, in one process."""

    def __init__(
        self, dsn: str, *, owner_dsn: str | None = None, retention_h: float = 72, timeout_s: float = 5
    ) -> None:
        self.state = "starting"
        self.problem: str | None = "the first connection is not made yet"
        self.unsendable = 0  # rows that no client can be sent
        self._table = MessageTable(dsn, owner_dsn=owner_dsn, timeout_s=timeout_s)
        self._partitions = Partitions(self._table, retention_h=retention_h)
        self._stream = WalStream(dsn, PUBLICATION, self._on_message, self._on_live, self._on_lost, self._prepare)
        self._relations: dict[int, Relation | None] = {}
        self._sent = SentLately()
        self._started: tuple[datetime, float] | None = None  # of the first stream: the database's time, the loop's time
        self._lost_at: float | None = None
        self._deliveries = 0
        self._waiting: asyncio.TimerHandle | None = None
        self._upkeep: asyncio.Task[None] | None = None

    async def start(
        self, sink: MessageSink, congested: Congested, on_live: Callable[[], None], deadline_s: float = 30
    ) -> None:
        """Returns after the first attempt; the stream goes on trying, and `problem` says what is in its way."""
        self._sink, self._congested, self._tell_live = sink, congested, on_live
        self._upkeep = asyncio.create_task(self._partitions.keep(), name="messages-partitions")
        error = await self._stream.start_or_retry(deadline_s)
        if error is not None:
            self.problem = str(error)

    async def stop(self) -> None:
        """Close every connection; the slot goes with them. Safe to call twice."""
        self.state, self.problem = "stopped", "the server is shutting down"
        if self._waiting is not None:
            self._waiting.cancel()
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.wait([self._upkeep], timeout=10)
        await self._stream.stop()
        await self._table.close()

    async def latest(self, topic: str, since_ms: int, limit: int) -> list[StoredMessage]:
        """The newest private messages of a topic, oldest first. Raises MessagesUnavailable, ValueError."""
        return await self._table.latest(topic, since_ms, limit)

    # -- stream -------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        try:
            await self._table.publish()
        except MessagesUnavailable as error:
            self.problem = str(error)
            raise StreamLost(str(error)) from error

    async def _on_live(self) -> None:
        # Nothing of the new stream may overtake what is caught up with.
        self._stream.pause()
        try:
            if self._started is None:
                self._started = await self._table.now(), asyncio.get_running_loop().time()
            elif self._lost_at is not None:
                await self._catch_up(*self._started, self._lost_at)
        except MessagesUnavailable as error:
            self.problem = str(error)
            raise StreamLost(str(error)) from error
        self.state, self.problem, self._lost_at = "live", None, None
        self._go_on()
        self._tell_live()

    async def _on_lost(self, error: StreamLost) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        if self._lost_at is None:
            self._lost_at = asyncio.get_running_loop().time()
        self._relations.clear()
        self.state, self.problem = "lost", str(error)

    async def _catch_up(self, began: datetime, began_at: float, lost_at: float) -> None:
        """Send what committed while there was no stream."""
        lately = began + timedelta(seconds=lost_at - began_at - SILENCE_LIMIT_S - LONGEST_TRANSACTION_S)
        since = max(str(began), str(lately), self._sent.complete_since)
        missed = await self._table.missed(since, self._sent.since(since))
        if len(missed) > MOST_MISSED:
            log.error("realtime_messages_missed", more_than=MOST_MISSED, remedy="realtime.messages holds what was sent")
        for message in missed[:MOST_MISSED]:
            self._send(message)
            if self._deliveries >= DELIVERIES_A_TURN or self._congested():
                await self._receivers()
        if missed:
            log.info("realtime_messages_caught_up", messages=len(missed))

    async def _receivers(self) -> None:
        """Wait until they are no longer behind."""
        self._deliveries = 0
        while True:
            await asyncio.sleep(CONGESTION_CHECK_S)
            if not self._congested():
                return

    def _on_message(self, message: Message) -> None:
        match message:
            case Insert():
                relation = self._relations.get(message.relation_oid)
                if relation is None:
                    if message.relation_oid not in self._relations:
                        raise PgOutputError(f"a row of relation {message.relation_oid}, which was not announced")
                    return
                stored = read_insert(relation, message)
                if isinstance(stored, Unsendable):
                    self.unsendable += 1
                    log.warning("realtime_message_not_sent", table=relation.table, reason=stored.why)
                elif stored not in self._sent:
                    self._send(stored)
                    self._hold_back()
            case Relation():
                self._relations[message.oid] = message if is_messages(message) else None
            case _:  # whatever else happens to messages, they have been sent
                pass

    def _send(self, message: StoredMessage) -> None:
        self._sent.add(message)
        self._deliveries += 1 + self._sink(message)

    def _hold_back(self) -> None:
        """Read no further while receivers are behind, or others wait for their turn on the event loop."""
        if self._deliveries >= DELIVERIES_A_TURN or self._congested():
            self._stream.pause()
            self._waiting = asyncio.get_running_loop().call_later(0, self._go_on)

    def _go_on(self) -> None:
        self._deliveries = 0
        if self._congested():
            self._waiting = asyncio.get_running_loop().call_later(CONGESTION_CHECK_S, self._go_on)
        else:
            self._stream.resume()
