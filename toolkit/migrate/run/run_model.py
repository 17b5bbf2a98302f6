"""The options of a run, its progress, and its result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from toolkit.migrate.catalog import CatalogMemory, Difference
from toolkit.migrate.folder.statements import Statement
from toolkit.migrate.run.export import Export
from toolkit.migrate.run.failure import Failure
from toolkit.migrate.run.history import Direction, Runner
from toolkit.migrate.run.locks import LockPolicy
from toolkit.postgres.connection import Connection

Phase = Literal["waiting", "file", "statement", "retry", "export", "done", "failed"]


Kind = Literal["before_statement", "after_statement", "before_commit", "after_commit"]


@dataclass(frozen=True)
class Moment:
    """A point of a run at which it can be broken off or looked at.

    `index` is the statement's number in its file, from 1; 0 at the commit that carries the history row. `pid` is the
    backend that works. In a file without transaction each statement has its moments and those of the commit of its
    journal entry, under the same index: a crash at "after_statement" finds the statement done and not journaled.
    `before_statement` comes when the journal already says that the statement was started.
    """

    version: str
    direction: Direction
    kind: Kind
    index: int
    pid: int


Interrupt = Callable[[Moment], Awaitable[None]]
Observer = Callable[[Moment, Connection], Awaitable[None]]


@dataclass(frozen=True)
class Options:
    """`statement_deadline_s` bounds one statement; `export_dir` receives the rows a rollback destroys.

    `interrupt` is awaited at every Moment, so that a caller can end the runner's backend there and see what is left.
    `observe` is awaited after each statement that runs in a transaction, with "after_statement" moments and the very
    connection, so that a caller can read from inside which locks are held; it comes before `interrupt`, must leave
    the transaction usable, and is not awaited for statements that refuse a transaction, since their locks are gone.
    Attempts that a lock conflict ended are seen too: a new attempt begins at the first statement again.
    `catalogs` are those of the server's databases that were read already, for one who runs many files on copies.
    """

    locks: LockPolicy = field(default_factory=LockPolicy)
    statement_deadline_s: float = 3600.0
    export_dir: Path = Path(".toolkit/exports")
    interrupt: Interrupt | None = None
    observe: Observer | None = None
    catalogs: CatalogMemory | None = None


@dataclass(frozen=True)
class Progress:
    """A step of a run, to show to a person who waits."""

    phase: Phase
    label: str
    message: str
    index: int = 0
    total: int = 0


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class RunnerSession:
    """What a run works with: the connection that holds the runner's lock (unless the database is a copy of our own,
    which nobody else knows), and the address for a second look."""

    conn: Connection
    dsn: str
    runner: Runner
    options: Options
    on_progress: OnProgress
    locked: bool = True


@dataclass(frozen=True)
class StepResult:
    """What became of one file. `sha256` is of the bytes that ran, `changes` is what it changed in the catalog;
    `seconds` includes retries."""

    version: str
    name: str
    direction: Direction
    outcome: Literal["applied", "rolled_back", "failed", "not_run"]
    sha256: str = ""
    seconds: float = 0.0
    attempts: int = 0
    exports: tuple[Export, ...] = ()
    export_dir: Path | None = None
    changes: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True)
class RunResult:
    """What a run did; `ok` when every step of the plan is through. Digests are of the catalog before and after."""

    direction: Direction
    steps: tuple[StepResult, ...]
    notes: tuple[str, ...]
    catalog_before: str
    catalog_after: str
    started_at: datetime
    finished_at: datetime

    @property
    def ok(self) -> bool:
        """Whether everything planned was done."""
        return all(step.outcome in {"applied", "rolled_back"} for step in self.steps)


def one_line(statement: Statement, limit: int = 90) -> str:
    """A statement's first line without the comments before it."""
    body = statement.body
    line = " ".join(body.split("\n", 1)[0].split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
