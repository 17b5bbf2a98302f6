"""Traces each statement of a run: the locks that it takes on existing tables, and the tables that it rewrites."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.migrate.folder.statements import Statement
from toolkit.migrate.run.plan import Plan, Step
from toolkit.migrate.run.run_model import Moment, one_line
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import dry_run as sql

_EACH_S = 0.005
_LONGEST_STAY_S = 0.25
_REWRITABLE = {"r": "table", "m": "materialized view", "i": "index"}


@dataclass(frozen=True)
class Lock:
    """A lock on a relation (`schema.name`); `mode` as pg_locks names it. `made_here`: the run itself made the
    relation, so that nobody else can wait for it."""

    relation: str
    mode: str
    made_here: bool = False


@dataclass(frozen=True)
class Trace:
    """What one statement did. `locks` are those it took in addition to those already held; `sampled`: they were
    watched from outside, since the statement runs outside a transaction, and a short one may have been missed.
    `rewritten` are relations that existed and whose contents now lie in another file."""

    version: str
    index: int
    line: int
    text: str
    locks: tuple[Lock, ...]
    rewritten: tuple[str, ...] = ()
    sampled: bool = False


@dataclass(frozen=True)
class _Relation:
    name: str
    kind: str
    file: int


class Tracer:
    """Collects traces: give `observe` and `interrupt` to a run, on a connection for which `begin` was called."""

    def __init__(self, plan: Plan, dsn: str) -> None:
        self._steps = {step.migration.version: step for step in plan.steps}
        self._dsn = dsn
        self._first: Mapping[int, _Relation] = {}
        self._now: Mapping[int, _Relation] = {}
        self._held: set[tuple[int, str]] = set()
        self._sampler: asyncio.Task[set[tuple[int, str]]] | None = None
        self.traces: list[Trace] = []

    async def begin(self, conn: Connection) -> None:
        """Look at what there is before the first statement, and forget what an earlier attempt did."""
        self._first = self._now = await _relations(conn)
        self._held, self.traces = set(), []

    async def observe(self, moment: Moment, conn: Connection) -> None:
        """After a statement in a transaction: the locks of this very session."""
        held = {(row["id"], row["mode"]): row["name"] for row in await conn.fetch(sql.HELD, timeout=30)}
        relations = await _relations(conn)
        self._add(moment, set(held) - self._held, relations, sampled=False)
        self._held |= set(held)

    async def interrupt(self, moment: Moment) -> None:
        """Locks end with their transaction; a statement without one is watched from a session of our own."""
        if moment.kind == "after_commit":
            self._held = set()
        if not self._steps[moment.version].script.statements or not self._statement(moment).refuses_transaction:
            return
        if moment.kind == "before_statement":
            started = asyncio.Event()
            self._sampler = asyncio.create_task(self._sample(moment.pid, started))
            waiter = asyncio.create_task(started.wait())
            await asyncio.wait({self._sampler, waiter}, return_when=asyncio.FIRST_COMPLETED)
            waiter.cancel()
        elif moment.kind == "after_statement" and self._sampler is not None:
            seen = await self.end()
            async with connected(self._dsn, "toolkit migrate: observer") as conn:
                relations = await _relations(conn)
            self._add(moment, seen, relations, sampled=True)

    async def end(self) -> set[tuple[int, str]]:
        """Stop watching, if a watch is on; what was seen. Call it when the run is over, however it ended."""
        sampler, self._sampler = self._sampler, None
        if sampler is None:
            return set()
        sampler.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            return await sampler
        return set()

    async def _sample(self, pid: int, started: asyncio.Event) -> set[tuple[int, str]]:
        seen: set[tuple[int, str]] = set()

        async def look(conn: Connection) -> None:
            nonlocal seen
            seen |= {(row["id"], row["mode"]) for row in await conn.fetch(sql.HELD_BY, pid, timeout=10)}

        try:
            async with connected(self._dsn, "toolkit migrate: observer") as conn:
                # Concurrent builds wait for every older snapshot: ours makes even the shortest stay to be looked at.
                async with conn.transaction(isolation="repeatable_read", readonly=True):
                    until = time.monotonic() + _LONGEST_STAY_S
                    await look(conn)
                    started.set()
                    while not seen and time.monotonic() < until:
                        await asyncio.sleep(_EACH_S)
                        await look(conn)
                while True:
                    await look(conn)
                    await asyncio.sleep(_EACH_S)
        except asyncio.CancelledError:
            return seen

    def _add(
        self, moment: Moment, taken: set[tuple[int, str]], relations: Mapping[int, _Relation], *, sampled: bool
    ) -> None:
        known = {**self._first, **self._now, **relations}
        locks = [Lock(known[id_].name, mode, id_ not in self._first) for id_, mode in taken if id_ in known]
        rewritten = [
            f"{_REWRITABLE[now.kind]} {now.name}"
            for id_, now in relations.items()
            if now.kind in _REWRITABLE and id_ in self._first and id_ in self._now and self._now[id_].file != now.file
        ]
        statement = self._statement(moment)
        trace = Trace(
            moment.version,
            statement.index,
            statement.line,
            one_line(statement),
            tuple(sorted(locks, key=lambda lock: (lock.made_here, -strength(lock.mode), lock.relation))),
            tuple(sorted(rewritten)),
            sampled,
        )
        self.traces.append(trace)
        self._now = relations

    def _statement(self, moment: Moment) -> Statement:
        step: Step = self._steps[moment.version]
        index = moment.index or step.script.statements[-1].index
        return next(statement for statement in step.script.statements if statement.index == index)


_WEAK_TO_STRONG = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)


def strength(mode: str) -> int:
    """From 0, which only AccessExclusiveLock conflicts with, to 7, which even readers wait for."""
    return _WEAK_TO_STRONG.index(mode) if mode in _WEAK_TO_STRONG else 0


async def _relations(conn: Connection) -> Mapping[int, _Relation]:
    rows = await conn.fetch(sql.RELATIONS, timeout=30)
    return {row["id"]: _Relation(row["name"], row["kind"], row["file"]) for row in rows}
