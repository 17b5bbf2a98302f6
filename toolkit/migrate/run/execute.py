"""Run a plan: each file is one transaction with its history row and its ledger event, or nothing at all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import asyncpg

from toolkit.errors import RefusalError, ToolkitError
from toolkit.migrate.catalog import Difference, Snapshot, diff, take_snapshot
from toolkit.migrate.folder.statements import Statement
from toolkit.migrate.run.after_commit import Made, changed_nothing, gone, made_here
from toolkit.migrate.run.export import Export, export_destroyed, export_folder
from toolkit.migrate.run.failure import Failure, failure_of
from toolkit.migrate.run.history import (
    JournalEntry,
    is_applied,
    journal_statement,
    read_history,
    record_applied,
    record_failed,
    record_rolled_back,
    run_recorded,
)
from toolkit.migrate.run.locks import is_lock_conflict, refuse_without_lock, who_blocks, with_lock_retries
from toolkit.migrate.run.losses import Holdings, losses, take_stock, undeclared
from toolkit.migrate.run.nontransactional import index_wreck, make_way, ran_after_all
from toolkit.migrate.run.one_statement import run_statement
from toolkit.migrate.run.plan import Plan, Step
from toolkit.migrate.run.run_model import (
    Kind,
    Moment,
    Phase,
    Progress,
    RunnerSession,
    RunResult,
    StepResult,
    one_line,
)
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import history as sql

LOST = (
    asyncpg.InterfaceError,
    # asyncpg's message when the server's last message has arrived but the end of the connection has not.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    OSError,
)
_ROLLBACK_DEADLINE_S = 2.0
FAILURES = (asyncpg.PostgresError, *LOST, TimeoutError)


async def execute(session: RunnerSession, plan: Plan) -> RunResult:
    """Run the steps of a plan in order and stop at the first that fails; failures are in the result."""
    started = datetime.now(UTC)
    catalog = await take_snapshot(session.conn, memory=session.options.catalogs)
    first = catalog.digest()
    results: list[StepResult] = []
    for number, step in enumerate(plan.steps):
        result, catalog = await FileRun(session, step).run(catalog)
        results.append(result)
        if result.failure is not None or session.conn.is_closed():
            results += [_result(later, "not_run") for later in plan.steps[number + 1 :]]
            break
    return RunResult(plan.direction, tuple(results), plan.notes, first, catalog.digest(), started, datetime.now(UTC))


def _result(step: Step, outcome: Literal["applied", "rolled_back", "failed", "not_run"]) -> StepResult:
    return StepResult(step.migration.version, step.migration.name, step.direction, outcome, step.script.sha256)


class FileRun:
    """One file's run. `inside` is all of it that happens within its transaction."""

    def __init__(self, session: RunnerSession, step: Step) -> None:
        self.session, self.step = session, step
        self.conn, self.options = session.conn, session.options
        self.label = step.script.path.name if step.direction == "up" else f"rollbacks/{step.script.path.name}"
        self.statement: Statement | None = None
        self.started = time.monotonic()
        self.attempts = 0
        self.exports: tuple[Export, ...] = ()
        self.export_dir: Path | None = None
        self.blockers: tuple[str, ...] = ()
        self.made: tuple[Made, ...] = ()
        self.notes: list[str] = []

    @property
    def _done(self) -> Literal["applied", "rolled_back"]:
        return "applied" if self.step.direction == "up" else "rolled_back"

    async def run(self, before: Snapshot) -> tuple[StepResult, Snapshot]:
        self._tell("file", f"{'applying' if self.step.direction == 'up' else 'rolling back'} {self.label}")
        failure: Failure | None = None
        try:
            if self.step.script.transactional:
                await with_lock_retries(self._whole_file, self.options.locks, self._on_retry)
            else:
                await self._statement_by_statement()
            failure = await self._recheck()
        except ToolkitError as error:
            failure = Failure(self.label, 0, 1, "", error.what, error.remedy)
        except FAILURES as error:
            # TimeoutError is an OSError, but a statement's deadline leaves the connection whole.
            if self.conn.is_closed() or (isinstance(error, LOST) and not isinstance(error, TimeoutError)):
                return await self._after_lost_connection(before, error)
            failure = failure_of(
                self.step.script, self.statement, error, self.blockers if is_lock_conflict(error) else ()
            )
        try:
            await self.reset_session()
            after = await take_snapshot(self.conn, memory=self.options.catalogs)
            if failure is not None:
                await self._record_failure(failure)
        except LOST as error:
            return await self._after_lost_connection(before, error, failure)
        changes = diff(before, after)
        if failure is None:
            self.notes += self.remarks(changes)
        return self._finish(failure, changes), after

    # -- a file in one transaction ------------------------------------------------------------

    async def _whole_file(self, attempt: int) -> None:
        self.attempts = attempt
        async with self._transaction(0):
            await self.inside()

    async def inside(self) -> None:
        """Everything between BEGIN and COMMIT: bounds, exports, statements, history row and event."""
        await self._bound_waiting()
        xid = await self.conn.fetchval(sql.TRANSACTION_ID, timeout=10)
        stock = await self._stock()
        if self.step.destroys:
            await self._export()
        for statement in self.step.script.statements:
            await self._run_statement(statement)
        self.statement = None
        # The file may have changed the role or the search_path, which our own statements must not inherit.
        await self.conn.execute(sql.RESET_ROLE, timeout=10)
        if await self.conn.fetchval(sql.TRANSACTION_ID, timeout=10) != xid:
            raise RefusalError(
                f"{self.label} ended the transaction it runs in (in a procedure or a DO block).",
                "Remove the COMMIT or ROLLBACK from it.",
            )
        await self._refuse_undeclared(stock)
        await self._record()
        self.made = await made_here(self.conn)

    async def _bound_waiting(self) -> None:
        await self.conn.execute(sql.BOUND_WAITING, f"{self.options.locks.lock_timeout_ms}ms", timeout=10)

    @asynccontextmanager
    async def _transaction(self, index: int) -> AsyncIterator[None]:
        """`index` is that of the statement the commit belongs to, 0 for the whole file."""
        # asyncpg's own block would hide the first error behind "connection is closed" when the server is gone.
        transaction = self.conn.transaction()
        await transaction.start()
        try:
            await self._refuse_without_lock()
            yield
            await self._at("before_commit", index)
        except BaseException as error:
            with contextlib.suppress(*LOST):
                if not self.conn.is_closed():
                    # A cancellation must not wait for a statement that does not stop.
                    patience = _ROLLBACK_DEADLINE_S if isinstance(error, asyncio.CancelledError) else None
                    async with asyncio.timeout(patience):
                        await transaction.rollback()
            if isinstance(error, asyncio.CancelledError) and self.conn.is_in_transaction():
                await self._end_backend()
            raise
        await transaction.commit()
        await self._at("after_commit", index)

    async def _refuse_without_lock(self) -> None:
        if self.session.locked:
            await refuse_without_lock(self.conn)

    async def _end_backend(self) -> None:
        """End our session from another one: what it did is rolled back, and its locks are free."""
        pid = self.conn.get_server_pid()
        self.conn.terminate()
        with contextlib.suppress(ToolkitError, asyncpg.PostgresError, *LOST):
            async with connected(self.session.dsn, "toolkit migrate: stopping") as other:
                await other.execute(sql.END_BACKEND, pid, timeout=10)

    async def _at(self, kind: Kind, index: int) -> None:
        if self.options.interrupt is not None:
            await self.options.interrupt(self._moment(kind, index))

    def _moment(self, kind: Kind, index: int) -> Moment:
        return Moment(self.step.migration.version, self.step.direction, kind, index, self.conn.get_server_pid())

    async def _run_statement(self, statement: Statement) -> None:
        self.statement = statement
        await self._at("before_statement", statement.index)
        self._tell("statement", one_line(statement), statement.index)
        await run_statement(self.conn, statement, self.options.statement_deadline_s)
        if self.options.observe is not None and self.conn.is_in_transaction():
            await self.options.observe(self._moment("after_statement", statement.index), self.conn)
        await self._at("after_statement", statement.index)

    async def _record(self) -> None:
        duration_ms = int((time.monotonic() - self.started) * 1000)
        record = record_applied if self.step.direction == "up" else record_rolled_back
        await record(self.conn, self.step.migration, duration_ms=duration_ms, runner=self.session.runner)

    async def _export(self) -> None:
        if self.export_dir is None:
            self.export_dir = export_folder(self.options.export_dir, self.step.migration.label)
        self.exports = await export_destroyed(self.conn, self.step, self.export_dir)
        for export in self.exports:
            self._tell("export", f"{export.rows} rows of {export.table} → {self.export_dir / export.file}")

    async def _stock(self) -> Holdings | None:
        return await take_stock(self.conn) if self.step.direction == "down" else None

    async def _refuse_undeclared(self, before: Holdings | None) -> None:
        if before is None:
            return
        lost = losses(before, await take_stock(self.conn), self.step.script.statements)
        found = undeclared(lost, self.step.destroys, before)
        if found:
            raise RefusalError(
                f"It destroys what its header does not declare: {', '.join(map(str, found))}. "
                "It was rolled back, and everything is as before.",
                "Add to its header: " + "; ".join(f"-- destroys: {entry}" for entry in found) + ".",
            )

    # -- a file without transaction -----------------------------------------------------------

    async def _statement_by_statement(self) -> None:
        version, direction = self.step.migration.version, self.step.direction
        history = await read_history(self.conn)
        entries = {entry.index: entry for entry in history.journal.get((version, direction), ())}
        for statement in self.step.script.statements:
            entry = entries.get(statement.index)
            if entry is not None and entry.state == "done":
                continue
            if statement.refuses_transaction:
                await self._alone(statement, entry)
            else:
                await with_lock_retries(self._journaled(statement), self.options.locks, self._on_retry)
        self.statement = None
        async with self._transaction(0):
            await self._record()

    def _journaled(self, statement: Statement) -> Callable[[int], Awaitable[None]]:
        async def attempt(number: int) -> None:
            self.attempts = max(self.attempts, number)
            async with self._transaction(statement.index):
                await self._bound_waiting()
                stock = await self._stock()
                await self._run_statement(statement)
                await self.conn.execute(sql.RESET_ROLE, timeout=10)
                await self._refuse_undeclared(stock)
                await journal_statement(self.conn, self.step.migration.version, self.step.direction, statement, "done")
                self.made = await made_here(self.conn)
            if vanished := await self._vanished():
                raise RefusalError(vanished.message, vanished.remedy)
            self.made = ()

        return attempt

    async def _alone(self, statement: Statement, entry: JournalEntry | None) -> None:
        self.attempts = max(self.attempts, 1)
        version, direction = self.step.migration.version, self.step.direction
        self.statement = statement
        if entry is None or not await ran_after_all(self.conn, statement):
            if note := await make_way(self.conn, statement, entry, self.options.statement_deadline_s):
                self.notes.append(note)
            await journal_statement(self.conn, version, direction, statement, "started")
            # No lock_timeout: it would kill CREATE INDEX CONCURRENTLY while it waits for old transactions, and
            # leave an INVALID index; that wait blocks nobody.
            await self._refuse_without_lock()
            await self.conn.execute(sql.UNBOUNDED, timeout=10)
            await self._run_statement(statement)
            if wreck := await index_wreck(self.conn, statement):
                raise wreck.refusal()
        await self._at("before_commit", statement.index)
        await journal_statement(self.conn, version, direction, statement, "done")
        await self._at("after_commit", statement.index)

    # -- afterwards ---------------------------------------------------------------------------

    async def _recheck(self) -> Failure | None:
        """After the commit, check that history and catalog show the success that is about to be reported."""
        applied = await is_applied(self.conn, self.step.migration.version)
        if applied == (self.step.direction == "up"):
            return await self._vanished()
        return Failure(
            self.label,
            0,
            1,
            "",
            f"the run ended without error, but the history {'still has' if applied else 'has no'} version "
            f"{self.step.migration.version}",
            "Another program changes supabase_migrations.schema_migrations: find it, then look at "
            "`toolkit migrate status`.",
        )

    async def _vanished(self) -> Failure | None:
        names = await gone(self.conn, self.made)
        if not names:
            return None
        return Failure(
            self.label,
            0,
            1,
            "",
            f"the commit succeeded, but of what it made this is gone: {names}",
            "A deferred trigger dropped it at the commit, or another session did right after: find which, then put it "
            "back with a new migration, or roll this one back.",
        )

    async def _after_lost_connection(
        self, before: Snapshot, error: BaseException, known: Failure | None = None
    ) -> tuple[StepResult, Snapshot]:
        """Ask on a new connection whether it committed before the connection broke. `known`: an error from before
        that."""
        self.conn.terminate()
        worded = known or failure_of(self.step.script, self.statement, error)
        try:
            async with connected(self.session.dsn, "toolkit migrate: second look") as other:
                recorded = await run_recorded(other, self.session.runner, self.step.migration.version, self._done)
                after = await take_snapshot(other, memory=self.options.catalogs)
                failure = None if recorded else worded
                if failure is not None:
                    await self._record_failure(failure, other)
        except ToolkitError as unreachable:
            message = f"{worded.message}; then {unreachable.what} Whether the file was committed is unknown."
            failure = replace(worded, message=message, remedy="When the database is back: `toolkit migrate status`.")
            return self._finish(failure, ()), before
        result = self._finish(failure, diff(before, after))
        if recorded:
            note = "The connection broke after the commit; the file is through."
            result = replace(result, notes=(*result.notes, note))
        return result, after

    async def _record_failure(self, failure: Failure, conn: Connection | None = None) -> None:
        step, duration_ms = self.step, int((time.monotonic() - self.started) * 1000)
        await record_failed(
            conn or self.conn,
            step.migration,
            step.script,
            duration_ms=duration_ms,
            runner=self.session.runner,
            detail=str(failure),
        )

    def remarks(self, changes: tuple[Difference, ...]) -> tuple[str, ...]:
        """Remarks on a successful file: that it left the catalog as it was although it was meant to change it."""
        remark = "" if changes else changed_nothing(self.step.script.statements)
        return (f"{self.label} {remark}",) if remark else ()

    async def reset_session(self) -> None:
        """Reset the session settings that a file may have changed."""
        # Not RESET through asyncpg: that would also release the runner's lock.
        await self.conn.execute(sql.RESET_AUTHORIZATION, timeout=10)
        await self.conn.execute(sql.RESET_ROLE, timeout=10)
        await self.conn.execute(sql.RESET_SETTINGS, timeout=10)

    async def _on_retry(self, attempt: int, delay: float) -> None:
        self.blockers = await who_blocks(self.conn)
        who = f" ({self.blockers[0]})" if self.blockers else ""
        self._tell("retry", f"a lock was not free{who}; attempt {attempt} taken back, next in {delay:.1f} s")

    def _finish(self, failure: Failure | None, changes: tuple[Difference, ...]) -> StepResult:
        result = replace(
            _result(self.step, "failed" if failure else self._done),
            seconds=time.monotonic() - self.started,
            attempts=max(self.attempts, 1),
            exports=self.exports,
            export_dir=self.export_dir,
            changes=changes,
            notes=tuple(self.notes),
            failure=failure,
        )
        self._tell(
            "failed" if failure else "done", str(failure) if failure else f"{self.label} in {result.seconds:.2f} s"
        )
        return result

    def _tell(self, phase: Phase, message: str, index: int = 0) -> None:
        total = len(self.step.script.statements)
        self.session.on_progress(Progress(phase, self.step.migration.label, message, index, total))
