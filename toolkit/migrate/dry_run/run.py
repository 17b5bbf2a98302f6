"""A run that is taken back: every pending file for real, in one transaction of the target that never commits.

Where that cannot be, since a statement refuses a transaction or a file uses an enum value that another one adds, the
run happens on a copy of the database instead, and the result says what a copy cannot show.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from toolkit.errors import RefusalError, ToolkitError
from toolkit.migrate.catalog import Snapshot, diff, take_snapshot
from toolkit.migrate.catalog.tables import own_rows_of
from toolkit.migrate.folder.files import Folder
from toolkit.migrate.folder.headers import merged
from toolkit.migrate.run.api import locked
from toolkit.migrate.run.execute import FAILURES, LOST, FileRun, execute
from toolkit.migrate.run.failure import Failure, failure_of
from toolkit.migrate.run.history import Runner, prepare_history, read_history
from toolkit.migrate.run.locks import is_lock_conflict, who_blocks, with_lock_retries
from toolkit.migrate.run.plan import Down, Plan, Step, Up, make_plan
from toolkit.migrate.run.run_model import OnProgress, Options, Progress, RunnerSession, StepResult
from toolkit.migrate.run.tracing import Trace, Tracer
from toolkit.migrate.scratch.clone import Copy, copied
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import dry_run as sql
from toolkit.sql import history as history_sql
from toolkit.sql.quoting import quote_name

DEADLINE_S = 10.0
_UNSAFE_ENUM_VALUE = "55P04"
Place = Literal["target", "copy", "schema copy"]


@dataclass(frozen=True)
class DryRun:
    """What the run would do, as seen while it did it.

    `where`: in the target itself; on a copy of it; or on a copy of its schema, without rows. `steps` have the outcomes
    the real run would have. `doomed` counts rows that a rollback would export and destroy, by what its header declares.
    `moved` are sequences whose position changed meanwhile: no rollback brings a sequence back. `same_after` says
    whether the target's catalog was found as it was (None: the target was not touched).
    """

    plan: Plan
    where: Place
    steps: tuple[StepResult, ...]
    traces: tuple[Trace, ...] = ()
    doomed: tuple[tuple[str, int], ...] = ()
    moved: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    same_after: bool | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every step went through."""
        return all(step.outcome in {"applied", "rolled_back"} for step in self.steps)


def refuses_target(plan: Plan) -> str:
    """Why the plan cannot run in one transaction, or ''. Pure."""
    for step in plan.steps:
        if not step.script.transactional:
            return f"{step.script.path.name} runs outside a transaction"
    return ""


async def dry_run(
    dsn: str,
    folder: Folder,
    request: Up | Down,
    *,
    options: Options | None = None,
    deadline_s: float = DEADLINE_S,
    may_copy_rows: bool = False,
    on_progress: OnProgress = lambda _: None,
) -> DryRun:
    """Run what is asked for and take it back; `deadline_s` bounds the time in which locks are held on the target.

    On the target it takes the very locks of the real run and holds all of them until it is taken back. With
    `may_copy_rows` a copy is made beside the target, on its own server (an embedded one); otherwise its schema
    alone is copied, to a throw-away server of ours. `options.observe` and `options.interrupt` are not awaited.
    Raises MigrationRefused for a request that the real run would refuse, EnvironmentError_ when no copy can be
    made.
    """
    options, started = options or Options(), time.monotonic()
    async with locked(dsn, options, on_progress) as conn:
        history = await read_history(conn)
        plan = make_plan(folder, history, request)
        why = refuses_target(plan)
        if not why:
            session = RunnerSession(conn, dsn, Runner.of_this_process(), options, on_progress)
            result = await _OnTarget(session, plan).run(deadline_s)
            why = _needs_commits(result)
            if not why:
                return replace(result, seconds=time.monotonic() - started)
    on_progress(Progress("waiting", "dry run", f"{why}: making a copy of the database to run on"))
    async with copied(dsn, history, with_rows=may_copy_rows) as copy:
        result = await _on_copy(copy, plan, options, on_progress)
    notes = (f"{why}, so this ran on a copy of the database; the target was not touched.", *result.notes)
    return replace(result, notes=notes, seconds=time.monotonic() - started)


def _needs_commits(result: DryRun) -> str:
    for number, step in enumerate(result.steps):
        if number and step.failure is not None and step.failure.sqlstate == _UNSAFE_ENUM_VALUE:
            return f"{step.failure.file} uses an enum value that an earlier file adds and would have committed"
    return ""


# -- in the target ------------------------------------------------------------------------------------------------


class _Trial(FileRun):
    """A file whose transaction is somebody else's to end; it writes nothing to disk."""

    deadline_s = DEADLINE_S
    doomed: tuple[tuple[str, int], ...] = ()

    async def _bound_waiting(self) -> None:
        await super()._bound_waiting()
        # A little more than our own deadline, which words what happened.
        await self.conn.execute(sql.BOUND_BY_SERVER, f"{int(self.deadline_s * 1000) + 2000}ms", timeout=10)

    async def _export(self) -> None:
        present = {
            row["table_name"]: row["columns"] for row in await self.conn.fetch(history_sql.USER_COLUMNS, timeout=60)
        }
        found = []
        for destroyed in merged(self.step.destroys):
            columns = present.get(destroyed.table)
            missing = [c for c in destroyed.columns if c not in columns] if columns is not None else [destroyed.table]
            if missing:
                raise RefusalError(
                    f"{self.label} declares that it destroys {destroyed}, but there is no {', '.join(missing)}.",
                    "Correct the `-- destroys:` line; it is what gets exported.",
                )
            table = quote_name(destroyed.table)
            await self.conn.execute(history_sql.LOCK_TABLE.format(table=table), timeout=self.deadline_s)
            count = history_sql.ROW_COUNT.format(table=await own_rows_of(self.conn, destroyed.table))
            found.append((destroyed.table, await self.conn.fetchval(count, timeout=self.deadline_s)))
        self.doomed = tuple(found)


@dataclass
class _OnTarget:
    session: RunnerSession
    plan: Plan
    results: list[StepResult] = field(default_factory=list)
    doomed: list[tuple[str, int]] = field(default_factory=list)
    blockers: tuple[str, ...] = ()
    at: _Trial | None = None

    async def run(self, deadline_s: float) -> DryRun:
        conn, plan = self.session.conn, self.plan
        if not plan.steps:
            return DryRun(plan, "target", ())
        before, positions = await take_snapshot(conn), await _positions(conn)
        tracer = Tracer(plan, self.session.dsn)
        failure: Failure | None = None
        try:
            async with asyncio.timeout(deadline_s) as bound:
                await with_lock_retries(
                    lambda _: self._once(tracer, before, deadline_s), self.session.options.locks, self._on_retry
                )
        except ToolkitError as error:
            if self.at is None:
                raise
            failure = Failure(self.at.label, 0, 1, "", error.what, error.remedy)
        except FAILURES as error:
            if self.at is None and not bound.expired():
                raise
            if isinstance(error, LOST) and not isinstance(error, TimeoutError):
                conn.terminate()
            failure = self._too_long(deadline_s) if bound.expired() else self._worded(error)
        if failure is not None:
            self._fail(failure)
        steps = self.results + [_not_run(step) for step in plan.steps[len(self.results) :]]
        async with self._second_look() as other:
            after, moved = await take_snapshot(other), _moved(positions, await _positions(other))
        notes = []
        if len(plan.steps) > 1:
            notes.append(
                "All files ran in one transaction: a lock that an earlier file took does not show again at a later one."
            )
        return DryRun(
            plan,
            "target",
            tuple(steps),
            tuple(tracer.traces),
            tuple(self.doomed),
            moved,
            tuple(notes),
            after.digest() == before.digest(),
        )

    async def _once(self, tracer: Tracer, before: Snapshot, deadline_s: float) -> None:
        """One attempt; whatever it ends with, nothing of it stays. Lock conflicts are raised, to be tried again."""
        conn, seen = self.session.conn, before
        self.results, self.doomed, self.at = [], [], None
        transaction = conn.transaction()
        await transaction.start()
        try:
            await tracer.begin(conn)
            await prepare_history(conn)
            session = replace(
                self.session, options=replace(self.session.options, observe=tracer.observe, interrupt=None)
            )
            for step in self.plan.steps:
                self.at = trial = _Trial(session, step)
                trial.deadline_s = deadline_s
                seen = await self._file(trial, seen)
        finally:
            with contextlib.suppress(*LOST):
                if not conn.is_closed():
                    await transaction.rollback()

    async def _file(self, trial: _Trial, before: Snapshot) -> Snapshot:
        conn, started = self.session.conn, time.monotonic()
        await trial.inside()
        await _fire_deferred(conn)
        await trial.reset_session()
        self.doomed += trial.doomed
        after = await take_snapshot(conn)
        changes = diff(before, after)
        outcome: Literal["applied", "rolled_back"] = "applied" if self.plan.direction == "up" else "rolled_back"
        migration = trial.step.migration
        self.results.append(
            StepResult(
                migration.version,
                migration.name,
                self.plan.direction,
                outcome,
                trial.step.script.sha256,
                time.monotonic() - started,
                1,
                changes=changes,
                notes=trial.remarks(changes),
            )
        )
        return after

    def _worded(self, error: BaseException) -> Failure:
        assert self.at is not None
        return failure_of(
            self.at.step.script, self.at.statement, error, self.blockers if is_lock_conflict(error) else ()
        )

    def _too_long(self, deadline_s: float) -> Failure:
        where = self.at.statement if self.at is not None else None
        label = self.at.label if self.at is not None else self.plan.steps[0].script.path.name
        waited = f"; locks were not free; open transactions: {' | '.join(self.blockers)}" if self.blockers else ""
        return Failure(
            label,
            where.index if where else 0,
            where.line if where else 1,
            "",
            f"the dry run did not end within {deadline_s:g} s; it was taken back, and its locks are free again{waited}",
            "Allow more with --dry-run-deadline where the locks may be held that long; it says nothing about the file.",
        )

    def _fail(self, failure: Failure) -> None:
        step = self.plan.steps[len(self.results)]
        self.results.append(replace(_not_run(step), outcome="failed", failure=failure, attempts=1))

    async def _on_retry(self, attempt: int, delay: float) -> None:
        self.blockers = await who_blocks(self.session.conn)
        message = f"a lock was not free; attempt {attempt} taken back, next in {delay:.1f} s"
        self.session.on_progress(Progress("retry", "dry run", message))

    @asynccontextmanager
    async def _second_look(self) -> AsyncIterator[Connection]:
        if not self.session.conn.is_closed():
            yield self.session.conn
            return
        async with connected(self.session.dsn, "toolkit migrate: second look") as other:
            yield other


# -- on a copy ----------------------------------------------------------------------------------------------------


async def _on_copy(copy: Copy, plan: Plan, options: Options, tell: OnProgress) -> DryRun:
    tracer = Tracer(plan, copy.dsn)
    with TemporaryDirectory(prefix="toolkit-dry-run-") as exports:
        async with connected(copy.dsn) as conn:
            await tracer.begin(conn)
            await prepare_history(conn)
            watched = replace(options, export_dir=Path(exports), observe=tracer.observe, interrupt=tracer.interrupt)
            try:
                session = RunnerSession(conn, copy.dsn, Runner.of_this_process(), watched, tell, locked=False)
                result = await execute(session, plan)
            finally:
                await tracer.end()
    doomed = tuple((export.table, export.rows) for step in result.steps for export in step.exports)
    # What was exported of the copy went with it.
    steps = tuple(replace(step, exports=(), export_dir=None) for step in result.steps)
    return DryRun(plan, copy.extent, steps, tuple(tracer.traces), doomed, notes=copy.notes)


# -- small pieces -------------------------------------------------------------------------------------------------


async def _fire_deferred(conn: Connection) -> None:
    """What a commit would do here: run deferred triggers and checks; afterwards the modes are as they were."""
    # No deadline of its own: the caller's, and the server's, are for all of it.
    await conn.execute(sql.FIRE_DEFERRED, timeout=None)
    names = [row["name"] for row in await conn.fetch(sql.DEFERRED_NAMES, timeout=30)]
    if names:
        await conn.execute(sql.DEFER_AGAIN.format(names=", ".join(names)), timeout=30)


def _not_run(step: Step) -> StepResult:
    return StepResult(step.migration.version, step.migration.name, step.direction, "not_run", step.script.sha256)


async def _positions(conn: Connection) -> dict[str, int | None]:
    return {row["name"]: row["last_value"] for row in await conn.fetch(sql.SEQUENCES, timeout=30)}


def _moved(before: dict[str, int | None], after: dict[str, int | None]) -> tuple[str, ...]:
    return tuple(
        f"{name}: {before[name] if before[name] is not None else 'unused'} → {after[name]}"
        for name in before.keys() & after.keys()
        if before[name] != after[name]
    )
