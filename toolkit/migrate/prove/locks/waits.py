"""Who waits for whom: `pg_blocking_pids` sampled from outside, every few milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import asyncpg

from toolkit.postgres.connection import Connection, connected
from toolkit.sql import prove_locks as sql

_EVERY_S = 0.004
_DEADLINE_S = 30


@dataclass(frozen=True)
class Sampled:
    """One session that one sample found waiting. `since` and `seen` are seconds on the clock of the run."""

    pid: int
    kind: str  # pg_locks.locktype: relation, transactionid, tuple, virtualxid, …
    relation: str  # '' where the lock is on no relation
    mode: str
    since: float
    seen: float
    blockers: frozenset[int]


@dataclass(frozen=True)
class Wait:
    """A wait from its beginning to the last sample that saw it, so at least so long.

    `for_it` is from when to when it was (also by way of others) for the session that migrates, None if it never was.
    `blockers` are all that stood directly in the way at some time.
    """

    pid: int
    kind: str
    relation: str
    mode: str
    since: float
    until: float
    blockers: frozenset[int]
    for_it: tuple[float, float] | None = None

    @property
    def for_it_ms(self) -> float:
        """How long it was for the session that migrates."""
        return 0.0 if self.for_it is None else (self.for_it[1] - self.for_it[0]) * 1000


@dataclass(frozen=True)
class Watched:
    """Everything a watch saw: the waits, the longest chain of waiting sessions (its last one waits for nobody), the
    circles of sessions that waited for each other with the migrating one among them, and how many samples there were.
    """

    waits: tuple[Wait, ...] = ()
    chain: tuple[int, ...] = ()
    circles: tuple[tuple[int, ...], ...] = ()
    samples: int = 0


@dataclass
class Watch:
    """Samples, put together as they come. `migrating` is the backend that runs the file; None: it is not there yet.
    `met` is set when it is first seen to wait for `ahead`, a backend that stands in its way on purpose."""

    migrating: int | None = None
    ahead: int | None = None
    met: asyncio.Event = field(default_factory=asyncio.Event)
    _waits: dict[tuple[int, str, str, str, int], Wait] = field(default_factory=dict)
    _chain: tuple[int, ...] = ()
    _circles: dict[frozenset[int], tuple[int, ...]] = field(default_factory=dict)
    _samples: int = 0

    def add(self, sample: Sequence[Sampled]) -> None:
        """One sample: every session that waits at this moment."""
        self._samples += 1
        graph = {one.pid: one.blockers for one in sample}
        for one in sample:
            # A wait is told from the next one of the same session by when it began, to the millisecond.
            key = (one.pid, one.kind, one.relation, one.mode, round(one.since * 1000))
            known = self._waits.get(key) or Wait(
                one.pid, one.kind, one.relation, one.mode, one.since, one.seen, frozenset()
            )
            for_it = known.for_it
            if self._leads_to_it(one.pid, graph):
                first = for_it[0] if for_it else one.seen if known.blockers else one.since
                for_it = (first, one.seen)
            self._waits[key] = replace(
                known, until=max(known.until, one.seen), blockers=known.blockers | one.blockers, for_it=for_it
            )
            chain = longest_chain(one.pid, graph)
            if len(chain) > len(self._chain):
                self._chain = chain
        if self.migrating is not None and self.ahead in _reached(self.migrating, graph):
            self.met.set()
        if self.migrating is not None and (circle := circle_through(self.migrating, graph)):
            self._circles.setdefault(frozenset(circle), circle)

    def watched(self) -> Watched:
        """What was seen so far."""
        waits = tuple(sorted(self._waits.values(), key=lambda wait: wait.since))
        return Watched(waits, self._chain, tuple(self._circles.values()), self._samples)

    def _leads_to_it(self, pid: int, graph: Mapping[int, Iterable[int]]) -> bool:
        return self.migrating is not None and pid != self.migrating and self.migrating in _reached(pid, graph)


def _reached(pid: int, graph: Mapping[int, Iterable[int]]) -> set[int]:
    reached: set[int] = set()
    pending = [pid]
    while pending:
        for blocker in graph.get(pending.pop(), ()):
            if blocker not in reached:
                reached.add(blocker)
                pending.append(blocker)
    return reached


def longest_chain(pid: int, graph: Mapping[int, Iterable[int]]) -> tuple[int, ...]:
    """From a waiting session to one that waits for nobody, by the way of most sessions (a near one in large graphs)."""
    # Depth of each session by rounds: a circle would go on for ever, so no more rounds than sessions.
    best: dict[int, tuple[int, ...]] = {pid: (pid,)}
    for _ in range(len(graph)):
        grown = False
        for end, way in list(best.items()):
            for blocker in graph.get(end, ()):
                if blocker not in way and len(way) + 1 > len(best.get(blocker, ())):
                    best[blocker] = (*way, blocker)
                    grown = True
        if not grown:
            break
    return max(best.values(), key=len)


def circle_through(pid: int, graph: Mapping[int, Iterable[int]]) -> tuple[int, ...]:
    """The shortest circle of sessions, each waiting for the next, that begins and would end with `pid`; () if none."""
    ways: list[tuple[int, ...]] = [(pid,)]
    seen = {pid}
    while ways:
        way = ways.pop(0)
        for blocker in graph.get(way[-1], ()):
            if blocker == pid:
                return way
            if blocker not in seen:
                seen.add(blocker)
                ways.append((*way, blocker))
    return ()


@asynccontextmanager
async def watching(dsn: str, watch: Watch, started: float) -> AsyncIterator[None]:
    """Sample while the block runs. `started` is the event loop's time at which the run's clock shows 0.

    Raises whatever ended the sampling, when the block ends: a watch that saw nothing must not look like peace.
    """
    loop = asyncio.get_running_loop()
    async with connected(dsn, "toolkit migrate prove: waits") as conn:
        asked = loop.time()
        server = await conn.fetchval(sql.CLOCK, timeout=_DEADLINE_S)
        offset = server - (asked + loop.time()) / 2 + started
        stop = asyncio.Event()
        task = asyncio.create_task(_sample(conn, watch, offset, stop))
        try:
            yield
        finally:
            stop.set()
            await task


async def _sample(conn: Connection, watch: Watch, offset: float, stop: asyncio.Event) -> None:
    while not stop.is_set():
        if watch.migrating is None:
            # Before its first statement a run may already hold locks: those of a rollback's export.
            watch.migrating = await conn.fetchval(sql.RUNNER, timeout=_DEADLINE_S)
        watch.add([_sampled(row, offset) for row in await conn.fetch(sql.WAITS, timeout=_DEADLINE_S)])
        await asyncio.sleep(_EVERY_S)


def _sampled(row: asyncpg.Record, offset: float) -> Sampled:
    return Sampled(
        row["pid"],
        row["locktype"],
        row["relation"],
        row["mode"],
        row["since"] - offset,
        row["seen"] - offset,
        frozenset(row["blockers"]),
    )
