"""Filters that only Postgres can evaluate, each client's by itself: what its filters take is its own time.

A lane belongs to one client (one socket). It asks one question at a time and keeps the order of its deliveries. A
filter that is not answered within its deadline ends the client's subscriptions whose filters wait, and bars its
patterns for a while. Nobody else waits for a lane.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

import asyncpg
import structlog

from reference_server.realtime.changes.bindings import Binding
from reference_server.realtime.changes.conditions import ConditionFailed, Conditions, TooSlow
from reference_server.realtime.changes.filters import PATTERNS, Condition
from reference_server.realtime.changes.matches import Match
from reference_server.realtime.changes.subscriptions import Subscription
from reference_server.realtime.protocol.ports import Change

log = structlog.get_logger(__name__)

BARRED_S: Final = 60.0
# A statement waits so long for a connection and for its answer before the database counts as gone.
ANSWER_S: Final = 10.0
# Of one round: more wait for the next.
ROUND: Final = 200
MOST_WAITING: Final = 2_000
MOST_WAITING_BYTES: Final = 16 << 20
Hand: TypeAlias = Callable[[Subscription, Change], None]
Fail: TypeAlias = Callable[[Subscription, str], None]
# A delivery, or a mark that says when everything before it is through.
_Waiting: TypeAlias = tuple[Subscription, Change | Match] | asyncio.Future[None]


class LimitPassed(Exception):
    """The client asks for more than it may; the text is what it is told."""


class FilterLane:
    """One client's."""

    def __init__(self, lanes: FilterLanes) -> None:
        self._lanes = lanes
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._asking = asyncio.Lock()
        self._barred_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self._conditions: WeakKeyDictionary[Subscription, int] = WeakKeyDictionary()  # how many each has

    # -- subscribing --------------------------------------------------------------------------

    def count(self, subscription: Subscription, conditions: int) -> None:
        """Count the conditions of a subscription that is being made. Raises LimitPassed."""
        limits = self._lanes
        others = sum(n for known, n in self._conditions.items() if known is not subscription and not known.ended)
        for what, number, most in (
            ("channel", conditions, limits.conditions_per_channel),
            ("connection", others + conditions, limits.conditions_per_client),
        ):
            if number > most:
                raise LimitPassed(
                    f"The filters of this {what} hold {number} conditions, and it may have {most}; use fewer, or one "
                    "`in` filter instead of many `eq`"
                )
        self._conditions[subscription] = conditions

    def refuse_if_barred(self, bindings: tuple[Binding, ...]) -> None:
        """Raises LimitPassed for patterns of a client whose filters took too long a while ago."""
        left = self._barred_until - time.monotonic()
        if left > 0 and any(p.operator in PATTERNS for binding in bindings for p in binding.predicates):
            raise LimitPassed(
                "Filters of this connection took too long to evaluate; for the next "
                f"{left:.0f} s it may not use like, ilike, match or imatch. Subscribe without them, or try again then"
            )

    def bar(self) -> None:
        """Refuse patterns for a while."""
        self._barred_until = time.monotonic() + BARRED_S

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Held while this client asks something: it has one connection at most."""
        async with self._asking:
            yield

    # -- delivering ---------------------------------------------------------------------------

    def put(self, subscription: Subscription, what: Change | Match) -> None:
        """Deliver in turn, when what is open has been answered."""
        self._bytes += _size(what)
        self._waiting.append((subscription, what))
        subscription.waiting += 1
        if len(self._waiting) > MOST_WAITING or self._bytes > MOST_WAITING_BYTES:
            self._lanes.fail(subscription, "changes arrive faster than the filters of this connection are evaluated")
        self._wake()

    async def passed(self) -> None:
        """Return when everything that waits now has been delivered."""
        if self._task is not None and not self._task.done():
            mark: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(mark)
            await mark

    def _wake(self) -> None:
        if self._task is None or self._task.done():
            self._task = self._lanes.start(self._run())

    async def _run(self) -> None:
        while self._waiting:
            taken: list[tuple[Subscription, Change | Match]] = []
            while self._waiting and len(taken) < ROUND:
                first = self._waiting[0]
                if isinstance(first, asyncio.Future):
                    break
                taken.append(first)
                self._waiting.popleft()
            try:
                await self._serve(taken)
            except Exception as error:  # changes are lost, so whoever they were for has to be told
                log.exception("realtime_filter_lane_failed")
                for subscription, _ in taken:
                    self._lanes.fail(subscription, f"a change could not be delivered: {type(error).__name__}")
            for subscription, what in taken:
                subscription.waiting -= 1
                self._bytes -= _size(what)
            while self._waiting and isinstance(mark := self._waiting[0], asyncio.Future):
                self._waiting.popleft()
                if not mark.done():
                    mark.set_result(None)

    async def _serve(self, taken: list[tuple[Subscription, Change | Match]]) -> None:
        open_of: dict[Subscription, list[Match]] = {}
        for subscription, what in taken:
            if isinstance(what, Match) and not subscription.ended:
                open_of.setdefault(subscription, []).append(what)
        passed: dict[Subscription, set[tuple[Condition, str]]] = {}
        for subscription, matches in open_of.items():
            if not subscription.ended:
                passed[subscription] = await self._passing(subscription, matches)
        for subscription, what in taken:
            if subscription.ended:
                continue
            if isinstance(what, Change):
                self._lanes.hand(subscription, what)
                continue
            open_ones = set(what.open_conditions())
            what.registrations = [
                registration
                for registration in what.registrations
                if all(
                    (condition, what.text(condition)) in passed[subscription]
                    for condition in registration.conditions
                    if condition in open_ones
                )
            ]
            for ids, data in what.payloads() if what.registrations else ():
                self._lanes.hand(subscription, Change(ids, data))

    async def _passing(self, subscription: Subscription, matches: list[Match]) -> set[tuple[Condition, str]]:
        pairs = [(condition, match.text(condition)) for match in matches for condition in match.open_conditions()]
        try:
            async with asyncio.timeout(ANSWER_S), self.turn():
                return await self._lanes.conditions.passing(pairs)
        except TooSlow as error:
            self.bar()
            slow = {subscription} | {s for s, what in self._deliveries() if isinstance(what, Match)}
            for each in slow:
                self._lanes.fail(each, f"{error}; every subscription of this connection whose filters wait has ended")
        except ConditionFailed as error:
            self._lanes.fail(subscription, str(error))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as e:
            log.warning("realtime_filters_not_answered", error=repr(e))
            self._lanes.fail(subscription, "the database did not answer a question about the filters; join again")
        return set()

    def _deliveries(self) -> list[tuple[Subscription, Change | Match]]:
        return [waiting for waiting in self._waiting if not isinstance(waiting, asyncio.Future)]


@dataclass
class FilterLanes:
    """The lanes of all clients. `hand` delivers a change, `fail` ends a subscription and tells it why."""

    conditions: Conditions
    hand: Hand
    fail: Fail
    conditions_per_channel: int
    conditions_per_client: int
    _lanes: WeakKeyDictionary[object, FilterLane] = field(default_factory=WeakKeyDictionary)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def of(self, client: object) -> FilterLane:
        """The client's lane; it lasts as long as the client."""
        lane = self._lanes.get(client)
        if lane is None:
            lane = self._lanes[client] = FilterLane(self)
        return lane

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run a lane's work until it is done or the lanes are stopped."""
        task = asyncio.create_task(work, name="realtime filters")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def passed(self) -> None:
        """Return when everything that waits in any lane now has been delivered."""
        for lane in list(self._lanes.values()):
            await lane.passed()

    async def stop(self) -> None:
        """Cancel what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _size(what: Change | Match) -> int:
    if isinstance(what, Change):
        return len(what.data)
    return sum(len(value or b"") for value in what.change.tested.values())
