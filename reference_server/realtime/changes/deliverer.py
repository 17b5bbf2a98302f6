"""Takes changes from the backlog, decides who receives them, and calls the sinks of the subscriptions.

Commit order is kept per subscription: one task takes the changes in stream order, in batches, and delivers a
batch only when all of it is decided. A change that cannot be decided ends the subscriptions it concerns; a
database that does not answer ends the stream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import asyncpg
import structlog

from reference_server.realtime.changes.backlog import Backlog, Queued
from reference_server.realtime.changes.decide import decide
from reference_server.realtime.changes.filter_lanes import FilterLanes
from reference_server.realtime.changes.matches import Delivery, Match
from reference_server.realtime.changes.registrar import Registrar
from reference_server.realtime.changes.row_change import RowChange, TablePlan, lag_s, plan_table, row_change
from reference_server.realtime.changes.subscriptions import Subscription, SubscriptionIndex
from reference_server.realtime.changes.visibility import QuestionFailed, Visibility
from reference_server.realtime.protocol.ports import Change
from reference_server.replication.pgoutput import Relation
from reference_server.replication.stream import StreamLost, WalStream

log = structlog.get_logger(__name__)

BATCH = 500
# Sinks called before others have their turn in the event loop.
DELIVERIES_A_TURN = 500
DATABASE_LOST = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
)


class Deliverer:
    """`turn` is held while a batch is served; `fail` ends a subscription and tells it why.

    `epoch` counts the streams that were lost: changes read from an earlier one are not delivered.
    """

    def __init__(
        self,
        index: SubscriptionIndex,
        stream: WalStream,
        turn: asyncio.Lock,
        fail: Callable[[Subscription, str], None],
    ) -> None:
        self.backlog = Backlog()
        self.epoch = 0
        self.delivered = 0
        self.latency_s = 0.0
        self._index = index
        self._stream = stream
        self._turn = turn
        self._fail = fail
        self._wake = asyncio.Event()
        self._plans: dict[int, TablePlan] = {}

    def add(self, queued: Queued) -> None:
        """Queue the latest change of the stream, and pause the stream when too many wait."""
        self.backlog.append(queued)
        self._wake.set()
        if self.backlog.full:
            self._stream.pause()

    def forget(self) -> None:
        """The stream is lost: none of its changes is delivered any more."""
        self.epoch += 1
        self.backlog.clear()
        self._plans.clear()

    async def run(self, visibility: Visibility, registrar: Registrar, lanes: FilterLanes) -> None:
        """Serve what is added, until cancelled."""
        self._visibility, self._registrar, self._catalog = visibility, registrar, visibility.catalog
        self._lanes = lanes
        while True:
            if not self.backlog:
                self._wake.clear()
                await self._wake.wait()
            batch = self.backlog.take(BATCH)
            try:
                async with self._turn:
                    await self._serve(batch, self.epoch)
            except Exception as error:  # changes are lost, so every subscriber has to be told
                log.exception("realtime_worker_failed")
                self._stream.fail(StreamLost(brief(error)))
            if self.backlog.low:
                self._stream.resume()
            await asyncio.sleep(0)

    async def _serve(self, batch: Sequence[Queued], epoch: int) -> None:
        """Decide and deliver a batch, in rounds. After an unforeseen error each change is served by itself, so that
        only the one at fault is given up."""
        rest, at_once = list(batch), len(batch)
        while rest and epoch == self.epoch:
            try:
                taken, deliveries = await self._decide(rest[:at_once])
            except (*DATABASE_LOST, QuestionFailed) as error:
                self._stream.fail(StreamLost(f"the database did not answer a question about a change: {brief(error)}"))
                return
            except Exception as error:
                log.exception("realtime_batch_failed", changes=len(rest))
                if len(rest) == 1:
                    self._give_up(rest[0], brief(error))
                    return
                for queued in rest:
                    await self._serve([queued], epoch)
                return
            await self._hand_out(deliveries, epoch)
            at_once = min(BATCH, taken * 2)
            rest = rest[taken:]
        self.latency_s = lag_s(batch[-1].begin.committed_us, time.time())

    async def _decide(self, batch: Sequence[Queued]) -> tuple[int, list[Delivery]]:
        """How many of the changes were decided, and their deliveries."""
        changes: list[RowChange] = []
        for queued in batch:
            plan = await self._plan(queued.relation)
            if plan is None:
                if changes:  # the changes before this one come first
                    break
                self._give_up(queued, "the table was dropped before its last changes could be checked")
                return 1, []
            begin = queued.begin
            changes.append(row_change(plan, queued.message, begin.xid, begin.committed_us, begin.commit_lsn))
        decided = await decide(changes, self._index, self._visibility)
        for subscription, reason in decided.failures.items():
            self._fail(subscription, reason)
        return decided.taken, decided.deliveries

    async def _hand_out(self, deliveries: Sequence[Delivery], epoch: int) -> None:
        for number, (subscription, what) in enumerate(deliveries, 1):
            if number % DELIVERIES_A_TURN == 0:
                await asyncio.sleep(0)
            if subscription.ended or epoch != self.epoch:
                continue
            if subscription.waiting or isinstance(what, Match):
                self._lanes.of(subscription.client).put(subscription, what)
            else:
                self.hand(subscription, what)

    def hand(self, subscription: Subscription, change: Change) -> None:
        """Call the subscription's sink; one that raises ends its subscription."""
        try:
            subscription.sink(change)
        except Exception as error:
            log.exception("realtime_sink_failed")
            self._fail(subscription, f"the change could not be handed over: {brief(error)}")
            return
        self.delivered += 1

    def _give_up(self, queued: Queued, reason: str) -> None:
        """A change that cannot be decided: end the subscriptions that cover its table, and tell them why."""
        relation = queued.relation
        log.error("realtime_change_failed", schema=relation.schema, table=relation.table, reason=reason)
        for subscription in self._index.concerned(relation.schema, relation.table):
            self._fail(subscription, f"a change of {relation.schema}.{relation.table} could not be delivered: {reason}")

    async def _plan(self, relation: Relation) -> TablePlan | None:
        """How rows of the relation are written; None when the table is gone."""
        facts = await self._catalog.table(relation.oid)
        if facts is None:
            return None
        plan = self._plans.get(relation.oid)
        if plan is None or plan.relation is not relation or plan.facts is not facts:
            await self._catalog.load_types(column.type_oid for column in relation.columns)
            plan = self._plans[relation.oid] = plan_table(relation, facts, self._catalog.types)
            for subscription, reason in (await self._registrar.recheck(facts)).items():
                self._fail(subscription, reason)
        return plan


def brief(error: BaseException) -> str:
    """The error's text on one line, its type when it has none."""
    return " ".join(str(error).split()) or type(error).__name__
