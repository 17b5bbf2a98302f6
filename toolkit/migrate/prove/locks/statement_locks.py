"""The locks each statement of a file takes and the work it does on tables, seen from inside its transaction.

Statements that refuse a transaction are observed from another session: it holds a lock that makes every statement wait
which would stop writers or readers, and that wait is observed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import asyncpg

from toolkit.migrate.folder.files import Script
from toolkit.migrate.folder.statements import Statement
from toolkit.migrate.prove.locks.modes import MODES, in_words, stops, strongest
from toolkit.migrate.run.run_model import Moment
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import prove_locks as sql
from toolkit.sql.parse import nodes

_DEADLINE_S = 30
_HELD_BACK_S = 5.0
_POLL_S = 0.001
READS_ALL = "reads all of"
_ACCEPTED = re.compile(r"--\s*locks\s*:\s*accepted\b", re.IGNORECASE)


@dataclass(frozen=True)
class Lock:
    """A lock on `relation`, which is `table` or an index of it; `existed`: the relation is older than the file."""

    relation: str
    table: str
    mode: str
    existed: bool


@dataclass(frozen=True)
class Work:
    """Something whose time grows with a table that is older than the file: `what` is "rewrites", "reads all of", …"""

    table: str
    what: str


@dataclass(frozen=True)
class StatementLocks:
    """The locks that one statement took, and its work on tables.

    `index` 0 is the runner's own export before the first. `where` is `file:line`, `text` its first line; `locks` are
    those it was the first to take; `held` is the strongest lock on each older table while it ran, its own and those of
    earlier statements of the transaction. `accepted`: a comment `-- locks: accepted (why)` stands before it.
    `outside`: it refuses a transaction and was seen from outside.
    """

    index: int
    where: str
    text: str
    locks: tuple[Lock, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)
    work: tuple[Work, ...] = ()
    accepted: bool = False
    outside: bool = False


@dataclass(frozen=True)
class Relation:
    """A table or index as far as work on it shows: its file, and the scans this transaction has begun."""

    name: str
    kind: str
    table: int
    file: int
    scans: int


@dataclass(frozen=True)
class Facts:
    """Every user relation by oid, and the foreign keys that are valid (oid → table's oid and name)."""

    relations: Mapping[int, Relation] = field(default_factory=dict)
    foreign_keys: Mapping[int, tuple[int, str]] = field(default_factory=dict)


def first_line(statement: Statement) -> str:
    """A statement in a line of at most 80 characters, without the comments before it."""
    line = " ".join(statement.body.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def work_between(before: Facts, after: Facts, older: Mapping[int, str], statement: Statement) -> tuple[Work, ...]:
    """What a statement did to tables of `older` (oid → name) that takes longer the larger they are."""
    found: dict[str, list[str]] = {}
    reused = {relation.file for relation in before.relations.values()}
    empties = isinstance(statement.node, nodes.TruncateStmt)  # new files too, but nothing to put into them
    for oid, now in after.relations.items():
        was = before.relations.get(oid)
        if now.table not in older or (was is not None and was.file != now.file and empties):
            continue
        mine = found.setdefault(older[now.table], [])
        if now.kind in "iI":
            if was is None and now.file not in reused:
                mine.append(f"builds index {now.name} on")
            elif was is not None and was.file != now.file:
                mine.append(f"rebuilds index {now.name} of")
        elif was is not None and was.file != now.file:
            mine.append("rewrites")
        elif was is not None and now.scans > was.scans:
            mine.append(READS_ALL)
    for oid, (table, name) in after.foreign_keys.items():
        if oid not in before.foreign_keys and table in older and _index_was_read(table, before, after):
            found.setdefault(older[table], []).append(f"checks foreign key {name} on every row of")
    return tuple(Work(table, _heaviest(what)) for table, what in found.items() if what)


def _index_was_read(table: int, before: Facts, after: Facts) -> bool:
    """A foreign key is checked over an index where there is one, and then the table itself is not read. One that
    comes with a new column is valid from the beginning, and nothing is read at all."""
    return any(
        relation.table == table
        and relation.kind in "iI"
        and oid in before.relations
        and relation.scans > before.relations[oid].scans
        for oid, relation in after.relations.items()
    )


def _heaviest(what: list[str]) -> str:
    # A rewrite reads the table and builds its indexes again; an index build or a check reads it.
    return next(
        (
            one
            for beginning in ("rewrites", "builds", "rebuilds", "checks")
            for one in what
            if one.startswith(beginning)
        ),
        what[0],
    )


def works_under_lock(statement: StatementLocks) -> tuple[str, ...]:
    """Violations: work that grows with a table, done while the table's readers or writers have to wait."""
    found = []
    for work in statement.work:
        # From outside not every lock of a statement is seen; those on other tables then tell its kind.
        mode = statement.held.get(work.table) or (strongest(statement.held.values()) if statement.outside else "")
        if mode and (whom := stops(mode)) and not statement.accepted:
            found.append(
                f"{statement.where}: {work.what} {work.table} under {in_words(mode)}; {whom} wait as long as that "
                f"takes with your production size ({statement.text})"
            )
    return tuple(found)


class LockObserver:
    """Hooks for one run of one file; `statements` holds what was seen, by statement."""

    def __init__(self, dsn: str, script: Script) -> None:
        self._dsn = dsn
        self._script = script
        self._statements = {statement.index: statement for statement in script.statements}
        self._facts: Facts | None = None
        self._before: frozenset[int] = frozenset()
        self._older: dict[int, str] = {}
        self._held: set[tuple[int, str]] = set()
        self._outside: _Outside | None = None
        self._found: dict[int, StatementLocks] = {}

    @property
    def statements(self) -> tuple[StatementLocks, ...]:
        """In the order of the file; of several attempts the last."""
        return tuple(self._found[index] for index in sorted(self._found))

    async def begin(self) -> None:
        """Read what stands before the file runs; call it once, before the run."""
        async with connected(self._dsn, "toolkit migrate prove: locks") as conn:
            await conn.execute(sql.LOOK_UP.format(name=await conn.fetchval(sql.CURRENT_DATABASE, timeout=_DEADLINE_S)))
            self._facts = await read_facts(conn)
        self._before = frozenset(self._facts.relations)
        self._older = {oid: one.name for oid, one in self._facts.relations.items() if one.kind not in "iI"}

    async def observe(self, moment: Moment, conn: Connection) -> None:
        """`Options.observe`."""
        statement = self._statements[moment.index]
        rows = await conn.fetch(sql.LOCKS_OF, moment.pid, timeout=_DEADLINE_S)
        self._record(statement, rows, await read_facts(conn), outside=False)

    async def interrupt(self, moment: Moment) -> None:
        """`Options.interrupt`."""
        statement = self._statements.get(moment.index)
        begins = moment.kind == "before_statement" and (moment.index == 1 or not self._script.transactional)
        if begins or moment.kind == "after_commit":
            self._new_transaction()
        if statement is None or statement.refuses_transaction is None:
            return
        if moment.kind == "before_statement":
            self._outside = _Outside(self._dsn, moment.pid)
            await self._outside.start()
        elif moment.kind == "after_statement" and self._outside is not None:
            rows, facts = await self._outside.stop()
            self._outside = None
            self._record(statement, rows, facts, outside=True)

    async def end(self) -> None:
        """Let go of what a run that failed has left."""
        if self._outside is not None:
            await self._outside.stop()
            self._outside = None

    def _new_transaction(self) -> None:
        """Scans are counted by transaction, locks end with it."""
        assert self._facts is not None, "begin() first"
        self._held = set()
        fresh = {
            oid: Relation(one.name, one.kind, one.table, one.file, 0) for oid, one in self._facts.relations.items()
        }
        self._facts = Facts(fresh, self._facts.foreign_keys)

    def _record(self, statement: Statement, rows: Sequence[asyncpg.Record], facts: Facts, *, outside: bool) -> None:
        assert self._facts is not None, "begin() first"
        if outside:
            # CONCURRENTLY locks an index hard in the end, when nobody looks at that any more; what does stop somebody
            # locks the table too.
            rows = [row for row in rows if row["oid"] == row["table_oid"]]
        locks = {
            (row["oid"], row["mode"]): Lock(
                row["relation"],
                self._older.get(row["table_oid"], row["on_table"]),
                row["mode"],
                row["oid"] in self._before,
            )
            for row in rows
        }
        held: dict[str, str] = {}
        for lock in locks.values():
            if lock.existed:
                held[lock.table] = strongest((lock.mode, *((held[lock.table],) if lock.table in held else ())))
        work = work_between(self._facts, facts, self._older, statement)
        if statement.index == 1 and (exported := {entry.table for entry in self._script.destroys} & set(held)):
            # The runner exports what a rollback destroys before the first statement, and locks it for that.
            self._found[0] = self._export(exported)
            self._held |= {key for key, lock in locks.items() if lock.table in exported and lock.mode == MODES[-1]}
            work = tuple(one for one in work if one.table not in exported or one.what != READS_ALL)
        self._found[statement.index] = StatementLocks(
            statement.index,
            self._script.where(statement),
            first_line(statement),
            tuple(lock for key, lock in sorted(locks.items()) if key not in self._held),
            held,
            work,
            any(_ACCEPTED.match(comment.text) for comment in statement.comments),
            outside,
        )
        self._held |= set(locks)
        self._facts = facts

    def _export(self, tables: set[str]) -> StatementLocks:
        locks = tuple(Lock(table, table, MODES[-1], existed=True) for table in sorted(tables))
        work = tuple(Work(table, READS_ALL) for table in sorted(tables))
        text = "the runner's export of what the file declares that it destroys"
        return StatementLocks(0, f"{self._script.path.name}:1", text, locks, {}, work, accepted=True)


async def read_facts(conn: Connection) -> Facts:
    """The facts as this session sees them now."""
    relations = {
        row["oid"]: Relation(row["relation"], row["kind"], row["table_oid"], row["file"], row["scans"])
        for row in await conn.fetch(sql.RELATIONS, timeout=_DEADLINE_S)
    }
    keys = await conn.fetch(sql.VALID_FOREIGN_KEYS, timeout=_DEADLINE_S)
    return Facts(relations, {row["oid"]: (row["table_oid"], row["name"]) for row in keys})


class _Outside:
    """Watches one backend while it runs a statement that refuses a transaction."""

    def __init__(self, dsn: str, pid: int) -> None:
        self._dsn, self._pid = dsn, pid
        self._stack = AsyncExitStack()
        self._stopped = asyncio.Event()
        self._rows: dict[tuple[int, str], asyncpg.Record] = {}

    async def start(self) -> None:
        async with AsyncExitStack() as stack:
            self._conn = await stack.enter_async_context(connected(self._dsn, "toolkit migrate prove: locks"))
            holder = await stack.enter_async_context(connected(self._dsn, "toolkit migrate prove: an open writer"))
            self._block = holder.transaction()
            await self._block.start()
            if tables := [row["quoted"] for row in await self._conn.fetch(sql.USER_TABLES, timeout=_DEADLINE_S)]:
                statement = sql.HOLD.format(tables=", ".join(tables), mode="row exclusive")
                await holder.execute(statement, timeout=_DEADLINE_S)
            self._stack = stack.pop_all()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> tuple[list[asyncpg.Record], Facts]:
        self._stopped.set()
        try:
            await self._task
            return list(self._rows.values()), await read_facts(self._conn)
        finally:
            await self._stack.aclose()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        held_back, until = True, loop.time() + _HELD_BACK_S
        while True:
            # In this order: what it waits for is among the locks that are read after it was seen waiting.
            waits = await self._conn.fetchval(sql.WAITS_FOR_LOCK, self._pid, timeout=_DEADLINE_S)
            rows = await self._conn.fetch(sql.LOCKS_OF, self._pid, timeout=_DEADLINE_S)
            self._rows |= {(row["oid"], row["mode"]): row for row in rows}
            if held_back and (waits or self._stopped.is_set() or loop.time() > until):
                await self._block.rollback()
                held_back = False
            if self._stopped.is_set():
                return
            await asyncio.sleep(_POLL_S)
