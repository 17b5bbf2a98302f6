"""The runs behind the locks proof, each on a clone of its own: one that looks inside, others under traffic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from toolkit.migrate.folder.files import Migration
from toolkit.migrate.prove.locks import orders, traffic
from toolkit.migrate.prove.locks.clients import Client, RefusedStatement, clients, refusals
from toolkit.migrate.prove.locks.modes import READS, ROWS, WRITES, conflict, in_words, stops
from toolkit.migrate.prove.locks.stalls import Passage
from toolkit.migrate.prove.locks.statement_locks import LockObserver, StatementLocks
from toolkit.migrate.prove.locks.traffic import Request, Stream
from toolkit.migrate.prove.locks.waits import Watch, Watched, watching
from toolkit.migrate.prove.subject.claims import Subject
from toolkit.migrate.rows.shapes import read_shapes
from toolkit.migrate.run.api import migrate_down, migrate_up
from toolkit.migrate.run.history import Direction
from toolkit.migrate.run.run_model import Interrupt, Moment, Observer, Options, RunResult
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import prove_locks as sql

_LONGEST_TRY_S = 20.0  # a file that is kept out so long by ordinary traffic is kept out
_DEADLINE_S = 30


@dataclass(frozen=True)
class ObservedRun:
    """One direction seen from inside: `refused` is what old clients could no longer say after it."""

    direction: Direction
    statements: tuple[StatementLocks, ...]
    failure: str
    refused: tuple[RefusedStatement, ...]

    @property
    def stopping(self) -> tuple[tuple[str, str], ...]:
        """(table, mode) of every lock on an older table that stops somebody, in the order in which they were taken."""
        return tuple(
            (lock.table, lock.mode)
            for statement in self.statements
            for lock in statement.locks
            if lock.existed and stops(lock.mode)
        )

    @property
    def written(self) -> tuple[str, ...]:
        """Older tables whose rows it locks, to write them or to keep them."""
        return tuple(
            lock.table
            for statement in self.statements
            for lock in statement.locks
            if lock.existed and lock.mode in (ROWS, WRITES)
        )


@dataclass(frozen=True)
class Inspection:
    """What one quiet run up and down showed; `unfit` is what old clients could not even say before it."""

    clients: tuple[Client, ...]
    unfit: tuple[RefusedStatement, ...]
    looks: tuple[ObservedRun, ...]
    quoted: Mapping[str, str]  # table → the same for SQL
    transactions: orders.Transactions | None = None  # of the application; None: it gave none

    def busy(self) -> frozenset[str]:
        """The tables on which somebody is stopped, or whose rows the file writes."""
        stopping = (table for look in self.looks for table, _ in look.stopping)
        return frozenset((*stopping, *(table for look in self.looks for table in look.written)))


@dataclass(frozen=True)
class Ahead:
    """A transaction that somebody has open on a table, holding `mode`: when the file begins, and for `seconds` from
    when it is first seen to wait for that."""

    quoted: str
    table: str
    mode: str
    seconds: float


@dataclass(frozen=True)
class UnderTraffic:
    """One run under traffic. `others` names sessions that are neither traffic nor migration."""

    passages: tuple[Passage, ...]
    requests: tuple[Request, ...]
    watched: tuple[Watched, ...]
    streams: int
    others: dict[int, str]


async def inspect(subject: Subject, migration: Migration) -> Inspection:
    """Up and down once, nobody else there."""
    template = await subject.states.seeded(migration.version)
    async with subject.states.clone(template) as dsn:
        async with connected(dsn, "toolkit migrate prove: an old client") as conn:
            shapes = await read_shapes(conn)
            old = await clients(conn, shapes)
            unfit = await refusals(conn, old)
            given = await asyncio.to_thread(orders.read_transactions, subject.folder.path)
            transactions = await orders.observe(conn, given) if given else None
        looks: list[ObservedRun] = []
        for direction in _directions(migration):
            script = migration.up if direction == "up" else migration.rollback
            assert script is not None
            inside = LockObserver(dsn, script)
            await inside.begin()
            try:
                result = await _migrate(
                    subject, dsn, migration, direction, interrupt=inside.interrupt, observe=inside.observe
                )
            finally:
                await inside.end()
            async with connected(dsn, "toolkit migrate prove: an old client") as conn:
                refused = await refusals(conn, old)
            looks.append(ObservedRun(direction, inside.statements, _failure(result), refused))
            if not result.ok:
                break
    return Inspection(old, unfit, tuple(looks), {table: shape.quoted for table, shape in shapes.items()}, transactions)


async def under_traffic(
    subject: Subject,
    migration: Migration,
    streams: Sequence[Stream],
    ahead: Sequence[Ahead | None],
    traffic_s: float,
) -> UnderTraffic:
    """Up and down on a fresh clone while the streams run, `traffic_s` of them alone before, between and after.

    `ahead` has an entry for each direction: whose transaction the file meets. Raises what ended a stream or the watch.
    """
    loop = asyncio.get_running_loop()
    template = await subject.states.seeded(migration.version)
    requests: list[Request] = []
    passages: list[Passage] = []
    watched: list[Watched] = []
    others: dict[int, str] = {}
    async with subject.states.clone(template) as dsn:
        started = loop.time()
        async with traffic.running(dsn, streams, requests, started):
            await asyncio.sleep(traffic_s)
            for direction, meets in zip(_directions(migration), ahead, strict=True):
                watch, moments = Watch(), list[tuple[float, Moment]]()

                async def note(moment: Moment, moments: list[tuple[float, Moment]] = moments) -> None:
                    moments.append((loop.time() - started, moment))

                async with watching(dsn, watch, started), _open_ahead(dsn, meets, watch, others):
                    begun = loop.time() - started
                    result = await _migrate(subject, dsn, migration, direction, interrupt=note)
                    ended = loop.time() - started
                    await asyncio.sleep(traffic_s)
                watched.append(watch.watched())
                attempts = max((step.attempts for step in result.steps), default=0)
                passages.append(
                    Passage(direction, begun, ended, tuple(moments), watch.migrating, attempts, _failure(result))
                )
                if not result.ok:
                    break
    return UnderTraffic(tuple(passages), tuple(requests), tuple(watched), len(streams), others)


def meets(look: ObservedRun, quoted: Mapping[str, str], seconds: float) -> Ahead | None:
    """The transaction that is worst to meet: it holds what the file's strongest stopping lock cannot stand beside.

    None when no lock of the file has to wait for a reader or a writer.
    """
    for held in (READS, WRITES):
        for table, mode in look.stopping:
            if conflict(mode, held) and table in quoted:
                return Ahead(quoted[table], table, held, seconds)
    return None


def _directions(migration: Migration) -> tuple[Direction, ...]:
    return ("up", "down") if migration.rollback else ("up",)


async def _migrate(
    subject: Subject,
    dsn: str,
    migration: Migration,
    direction: Direction,
    *,
    interrupt: Interrupt,
    observe: Observer | None = None,
) -> RunResult:
    options: Options = subject.states.options
    locks = replace(options.locks, deadline_s=min(options.locks.deadline_s, _LONGEST_TRY_S))
    options = replace(options, locks=locks, interrupt=interrupt, observe=observe)
    if direction == "up":
        return await migrate_up(dsn, subject.folder, to=migration.version, include_all=True, options=options)
    return await migrate_down(dsn, subject.folder, last=1, options=options)


def _failure(result: RunResult) -> str:
    return next((str(step.failure) for step in result.steps if step.failure), "" if result.ok else "it did not run")


@asynccontextmanager
async def _open_ahead(dsn: str, ahead: Ahead | None, watch: Watch, others: dict[int, str]) -> AsyncIterator[None]:
    if ahead is None:
        yield
        return
    async with AsyncExitStack() as stack:
        conn = await stack.enter_async_context(connected(dsn, "toolkit migrate prove: a long transaction"))
        others[conn.get_server_pid()] = f"the transaction that is open on {ahead.table} ({in_words(ahead.mode)})"
        watch.ahead = conn.get_server_pid()
        transaction = conn.transaction()
        await transaction.start()
        mode = in_words(ahead.mode).lower()
        await conn.execute(sql.HOLD.format(tables=ahead.quoted, mode=mode), timeout=_DEADLINE_S)
        ending = asyncio.create_task(_end_later(conn, watch, ahead.seconds))
        try:
            yield
        finally:
            ending.cancel()
            await asyncio.wait([ending])
            if not ending.cancelled() and (error := ending.exception()) is not None:
                raise error


async def _end_later(conn: Connection, watch: Watch, seconds: float) -> None:
    # Counted from the meeting: how long the runner takes to come there is no matter of the transaction.
    await watch.met.wait()
    await asyncio.sleep(seconds)
    await conn.execute(sql.END, timeout=_DEADLINE_S)
