"""The change feed: owns the WAL stream and the subscriptions; deliverer.py delivers one to the other.

No change is lost without a notice: a subscription that can no longer be served is ended and told why. When the
stream or the database is lost, every subscription is ended and `on_state` callbacks are called with "lost".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import asyncpg
import structlog

from reference_server.realtime.changes.backlog import Queued
from reference_server.realtime.changes.bindings import Binding
from reference_server.realtime.changes.conditions import Conditions
from reference_server.realtime.changes.deliverer import DATABASE_LOST, Deliverer, brief
from reference_server.realtime.changes.feed_facts import FeedFacts, FeedState
from reference_server.realtime.changes.feed_pools import FeedPools
from reference_server.realtime.changes.filter_lanes import FilterLanes
from reference_server.realtime.changes.registrar import Registrar
from reference_server.realtime.changes.row_change import lag_s
from reference_server.realtime.changes.subscriptions import Subscription, SubscriptionIndex
from reference_server.realtime.changes.visibility import Identity, Visibility
from reference_server.realtime.changes.watch import EVERY_S, no_longer_served
from reference_server.realtime.protocol.ports import FeedAway, Sink, SubscribeRefused
from reference_server.replication.api_roles import ApiRoles
from reference_server.replication.catalog import Catalog
from reference_server.replication.pgoutput import (
    Begin,
    Commit,
    Delete,
    Insert,
    Message,
    PgOutputError,
    Relation,
    Type,
    Update,
    committed_at,
    lsn_text,
)
from reference_server.replication.published import Published, published_now
from reference_server.replication.stream import StreamLost, WalStream

log = structlog.get_logger(__name__)


class ChangeFeed:
    """Decoded changes of one database for any number of subscribers, in one process."""

    def __init__(
        self,
        dsn: str,
        *,
        publication: str = "supabase_realtime",
        pool_size: int = 4,
        query_deadline_s: float = 10.0,
        live_deadline_s: float = 5.0,
        api_roles: ApiRoles | None = None,
        conditions_per_channel: int = 200,
        conditions_per_client: int = 1_000,
        filter_deadline_s: float = 0.1,
    ) -> None:
        self.dsn = dsn
        self.publication = publication
        self.pool_size = pool_size
        self.query_deadline_s = query_deadline_s
        self.live_deadline_s = live_deadline_s
        self.api_roles = api_roles or ApiRoles()
        self.conditions_per_channel = conditions_per_channel
        self.conditions_per_client = conditions_per_client
        self.filter_deadline_s = filter_deadline_s
        self.state: FeedState = "starting"
        self._index = SubscriptionIndex()
        self._callbacks: list[Callable[[str], None]] = []
        self._stream = WalStream(dsn, publication, self._on_message, self._on_live, self._on_lost)
        self._live = asyncio.Event()
        self._turn = asyncio.Lock()
        self._deliverer = Deliverer(self._index, self._stream, self._turn, self._fail)
        self._relations: dict[int, Relation] = {}
        self._begin: Begin | None = None
        self._worker: asyncio.Task[None] | None = None
        self._commit: Commit | None = None
        self._seen = self._failures = 0
        self.looks = 0  # at what the publication publishes

    # -- life ---------------------------------------------------------------------------------

    async def start(self, deadline_s: float = 30) -> None:
        """Return when changes flow. Raises StreamLost, OSError, TimeoutError or an asyncpg error."""
        async with asyncio.timeout(deadline_s):
            self._pools = await FeedPools.open(
                self.dsn,
                self.pool_size,
                query_deadline_s=self.query_deadline_s,
                filter_deadline_s=self.filter_deadline_s,
            )
        self._catalog = Catalog(self._pools.rows, self.publication, self.query_deadline_s, self._pools.joins)
        self._visibility = Visibility(self._pools.rows, self._catalog, self.query_deadline_s)
        conditions = Conditions(self._pools.filters, self._catalog, self.filter_deadline_s)
        self._lanes = FilterLanes(
            conditions, self._deliverer.hand, self._fail, self.conditions_per_channel, self.conditions_per_client
        )
        # Deliveries wait while the conditions of a changed table are checked, so that is not done beside patterns.
        again = Conditions(self._pools.rows, self._catalog, self.query_deadline_s)
        self._registrar = Registrar(self._catalog, conditions, again, self._lanes, self._index, self.api_roles)
        try:
            await self._stream.start(deadline_s)
        except BaseException:
            self._pools.terminate()
            raise
        delivering = self._deliverer.run(self._visibility, self._registrar, self._lanes)
        self._worker = asyncio.create_task(delivering, name="change-feed")
        self._watcher = asyncio.create_task(self._watch(), name="publication watch")

    async def stop(self) -> None:
        """Close every connection; the slot goes with them. Safe to call twice."""
        before = self.state
        if before == "stopped":
            return
        self._set_state("stopped")
        if before == "starting":  # start has failed or was never called, and has left nothing open
            return
        self._live.clear()
        if self._worker is not None:
            self._worker.cancel()
            self._watcher.cancel()
            await asyncio.wait([self._worker, self._watcher], timeout=10)
        await self._stream.stop()
        self._end_all()
        await self._lanes.stop()
        await self._pools.close()

    def on_state(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with each new state. At "lost" every subscription has ended and channels must rejoin."""
        self._callbacks.append(callback)

    @property
    def lag_s(self) -> float:
        """Age in seconds of the oldest change that waits to be delivered; 0 when none waits."""
        oldest = self._deliverer.backlog.oldest
        return lag_s(oldest.begin.committed_us, time.time()) if oldest else 0.0

    @property
    def facts(self) -> FeedFacts:
        """The feed's condition now."""
        return FeedFacts(
            self.state,
            lsn_text(self._commit.commit_lsn) if self._commit else None,
            committed_at(self._commit.committed_us) if self._commit else None,
            self._stream.reconnects,
            self._seen,
            self._deliverer.delivered,
            self._failures,
            len(self._index),
            len(self._deliverer.backlog),
            self.lag_s,
            self._deliverer.latency_s,
        )

    # -- subscribers --------------------------------------------------------------------------

    async def subscribe(
        self,
        bindings: Sequence[Binding],
        claims: Mapping[str, Any],
        sink: Sink,
        *,
        on_error: Callable[[str], None] | None = None,
        client: object = None,
    ) -> Subscription:
        """Subscribe; what commits after this returns is delivered. Raises SubscribeRefused, FeedAway.

        Subscriptions of one `client` (any object, such as its socket) share a budget for filters; without one the
        subscription is a client by itself.

        `sink` gets each Change in commit order, is synchronous and must not block. `on_error` is
        called once if this subscription alone can no longer be served (it has ended then); without
        it such a failure ends the whole stream, so that it is never silent.
        """
        # A change whose commit races with this call may be delivered too. It must not be cut off by
        # comparing WAL positions: a commit is in the WAL before others can see its rows, and a
        # client that reads the table after subscribing would see such a row neither there nor here.
        subscription = Subscription(tuple(bindings), Identity("", ""), sink, on_error, owner=client)
        try:
            async with asyncio.timeout(self.live_deadline_s + self.query_deadline_s):
                while True:
                    await self._until_live()
                    epoch, announced = self._deliverer.epoch, self._catalog.announced
                    identity, registrations = await self._registrar.registrations(subscription, claims)
                    # A table announced meanwhile may no longer be what the bindings were checked against.
                    if (epoch, announced) == (self._deliverer.epoch, self._catalog.announced) and self.state == "live":
                        break
        except SubscribeRefused:
            subscription.ended = True
            raise
        except DATABASE_LOST as error:
            subscription.ended = True
            raise FeedAway(f"The database does not answer ({brief(error)}); join again in a moment.") from None
        subscription.identity = identity
        self._index.add(subscription, registrations)
        return subscription

    async def update_claims(self, subscription: Subscription, claims: Mapping[str, Any]) -> None:
        """Serve the subscription under new claims; nothing is delivered under the old ones afterwards.

        Raises SubscribeRefused when it is not possible under the new claims, and has ended then.
        """
        if subscription.ended:
            raise SubscribeRefused("The subscription has ended; join again.")
        try:
            async with asyncio.timeout(self.query_deadline_s * 2):
                accepted = False
                while not accepted:
                    announced = self._catalog.announced
                    identity, registrations = await self._registrar.registrations(subscription, claims)
                    async with self._turn:
                        if subscription.ended:
                            raise SubscribeRefused("The subscription has ended; join again.")
                        accepted = announced == self._catalog.announced
                        if accepted:
                            self._index.remove(subscription)
                            subscription.identity = identity
                            self._index.add(subscription, registrations)
                # What was decided under the old claims comes before the answer.
                await self._lanes.of(subscription.client).passed()
        except SubscribeRefused:
            self._end(subscription)
            raise
        except DATABASE_LOST as error:
            self._end(subscription)
            raise FeedAway(f"The database does not answer ({brief(error)}); join again in a moment.") from None

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End the subscription; its sink is not called again. Harmless when it has ended."""
        self._end(subscription)

    async def _until_live(self) -> None:
        if self.state == "stopped":
            raise FeedAway("The server is shutting down; join again in a moment.")
        try:
            await asyncio.wait_for(self._live.wait(), self.live_deadline_s)
        except TimeoutError:
            raise FeedAway("The replication stream is not available; join again in a moment.") from None

    def _end(self, subscription: Subscription) -> None:
        subscription.ended = True
        self._index.remove(subscription)

    def _end_all(self) -> None:
        for subscription in self._index.clear():
            subscription.ended = True

    def _fail(self, subscription: Subscription, reason: str) -> None:
        if subscription.ended:
            return
        self._failures += 1
        log.error("realtime_subscription_failed", reason=reason, role=subscription.identity.role)
        self._end(subscription)
        if subscription.on_error is None:
            self._stream.fail(StreamLost(f"a subscription failed and could not be told: {reason}"))
            return
        try:
            subscription.on_error(reason)
        except Exception:  # one channel's mistake must not stop the feed
            log.exception("realtime_error_callback_failed", reason=reason)

    async def _watch(self) -> None:
        """Tell subscriptions of which nothing in the stream says that they cannot be served any more."""
        before: Published | None = None
        while True:
            await asyncio.sleep(EVERY_S)
            known = tuple(self._index)  # later ones may ask for what is published after we have looked
            if self.state != "live":
                before = None
                continue
            try:
                now = await published_now(self._pools.joins, self.publication, self.query_deadline_s)
            except (*DATABASE_LOST, asyncpg.PostgresError) as error:
                log.warning("realtime_publication_not_read", error=brief(error))
                continue
            for subscription, why in no_longer_served(known, before, now).items():
                self._fail(subscription, why)
            before = now
            self.looks += 1

    # -- stream -------------------------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        match message:
            case Insert() | Update() | Delete():
                assert self._begin is not None
                self._seen += 1
                relation = self._relations.get(message.relation_oid)
                if relation is None:
                    raise PgOutputError(f"a row of relation {message.relation_oid}, which was not announced")
                if self._index.concerns(relation.schema, relation.table):
                    self._deliverer.add(Queued(relation, message, self._begin))
            case Begin():
                self._begin = message
            case Commit():
                self._commit = message
            case Relation():
                self._relations[message.oid] = message
                self._catalog.forget_table(message.oid)
            case Type():
                self._catalog.forget_types()
            case _:  # TRUNCATE, origins and logical messages reach no subscriber
                pass

    async def _on_live(self) -> None:
        try:
            await self._pools.expire()
            await self._visibility.answers()
        except (*DATABASE_LOST, asyncpg.PostgresError) as error:
            raise StreamLost(f"the database does not answer questions: {brief(error)}") from error
        self._set_state("live")
        self._live.set()

    async def _on_lost(self, error: StreamLost) -> None:
        self._deliverer.forget()
        self._live.clear()
        self._end_all()
        self._relations.clear()
        self._catalog.forget_all()
        self.api_roles.forget()
        self._set_state("lost")

    def _set_state(self, state: FeedState) -> None:
        self.state = state
        for callback in self._callbacks:
            try:
                callback(state)
            except Exception:  # one listener's mistake must not stop the feed or the other listeners
                log.exception("realtime_state_callback_failed", state=state)
