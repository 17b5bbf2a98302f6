"""Verify applied migrations: run their verify files in a transaction that is always rolled back, then the probes
of what a single session cannot show, and the read-only checks that any folder and database allow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import asyncpg

from toolkit.errors import RefusalError
from toolkit.migrate.folder.files import Folder, Migration, SqlFile
from toolkit.migrate.run.history import read_history
from toolkit.migrate.run.plan import MigrationRefused, Refusal, as_applied
from toolkit.migrate.run.run_model import OnProgress, Progress
from toolkit.migrate.verify.live_checks import check_live
from toolkit.migrate.verify.probe import Probes
from toolkit.migrate.verify.verify_file import UNDECIDED, SqlCheck, VerifyFile, parse_verify_file
from toolkit.postgres.connection import Connection, connected
from toolkit.report.record import Check, Verdict, worst
from toolkit.sql.history import BOUND_A_CHECK

# A lock that was not free, a cancelled statement, a server out of resources: the check itself was not decided.
_UNDECIDED = ("08", "53", "55P03", "57", "40P01", "40001")
_STATEMENT_DEADLINE_S = 60


@dataclass(frozen=True)
class VerifyResult:
    """Every check of every verified version, in order, each in the group of its version; "live" for the last ones."""

    versions: tuple[str, ...]
    checks: tuple[Check, ...]
    notices: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of them; no checks at all is unknown."""
        return worst(check.verdict for check in self.checks)


async def migrate_verify(
    dsn: str,
    folder: Folder,
    *,
    to: str | None = None,
    probes: Probes | None = None,
    generic: bool = True,
    on_progress: OnProgress | None = None,
) -> VerifyResult:
    """Verify every applied version, up to version `to`.

    Verify files change nothing. `probes` run after the verify file of their version; they may commit rows of their own
    for a moment. The read-only checks (LIVE-1…, `generic=False` leaves them out) come
    last; where a folder has no verify files at all, they alone speak, and a notice says so. Raises MigrationRefused
    when nothing is applied or `to` is not.
    """
    async with connected(dsn) as conn:
        history = await read_history(conn)
        applied = {row.version for row in history.rows}
    folder = as_applied(folder, history)
    chosen = _chosen(folder, applied, to)
    files = {m.version: _parsed(m.verify) for m in chosen if m.verify is not None}
    results: list[Check] = []
    notices = folder.notices
    if generic and not files:
        told = f"{folder.path} has no verify files: the read-only checks say nothing of what its migrations are for"
        notices = (*notices, told)
    for migration in chosen:
        if on_progress is not None:
            on_progress(Progress("file", migration.label, f"verifying {migration.label}"))
        file = files.get(migration.version)
        if isinstance(file, RefusalError):
            results.append(
                Check(
                    f"{migration.version}-verify",
                    f"{migration.label} has a verify file that can be run",
                    Verdict.UNKNOWN,
                    file.what,
                    file.remedy,
                    migration.version,
                )
            )
        elif file is not None:
            results += await _run_file(dsn, migration, file)
        elif files or not generic:
            results.append(
                Check(
                    f"{migration.version}-verify",
                    f"{migration.label} has a verify file",
                    Verdict.UNKNOWN,
                    "nothing says how to see that it holds",
                    f"Write {folder.path / 'verify' / migration.up.path.name}.",
                    migration.version,
                )
            )
        for probe in (probes or {}).get(migration.version, ()):
            if on_progress is not None:
                on_progress(Progress("statement", migration.label, f"probing: {probe.title}"))
            results.append(await probe.run(dsn, migration.version))
    if generic:
        if on_progress is not None:
            on_progress(Progress("statement", "live", "checking the catalog, and reading as each role"))
        results += await check_live(dsn, folder)
    return VerifyResult(tuple(m.version for m in chosen), tuple(results), notices)


async def verify_alone(dsn: str, migration: Migration) -> tuple[Check, ...]:
    """What the verify file of one migration finds, whatever the history says; without one there is nothing to find.

    Raises RefusalError when it cannot be run.
    """
    return (
        () if migration.verify is None else tuple(await _run_file(dsn, migration, parse_verify_file(migration.verify)))
    )


def _parsed(file: SqlFile) -> VerifyFile | RefusalError:
    try:
        return parse_verify_file(file)
    except RefusalError as refused:
        return refused


def _chosen(folder: Folder, applied: set[str], to: str | None) -> tuple[Migration, ...]:
    known = [m for m in folder.migrations if m.version in applied]
    if to is not None and to not in {m.version for m in known}:
        names = ", ".join(m.version for m in known) or "none"
        code = "unknown-to" if folder.get(to) is None else "to-not-applied"
        raise MigrationRefused(
            (Refusal(code, f"Version {to} is not applied.", f"Applied, with a file here: {names}."),)
        )
    if not known:
        raise MigrationRefused(
            (
                Refusal(
                    "nothing-applied",
                    f"Nothing of {folder.path} is applied to this database.",
                    "Run `toolkit migrate up` first, or check the database's address.",
                ),
            )
        )
    return tuple(m for m in known if to is None or m.version <= to)


async def _run_file(dsn: str, migration: Migration, file: VerifyFile) -> list[Check]:
    async with connected(dsn, "toolkit migrate verify") as conn:
        outer = conn.transaction()
        await outer.start()
        try:
            # A check must not wait behind the application's locks, nor hold it up.
            await conn.execute(BOUND_A_CHECK, timeout=10)
            error = await _preamble(conn, file)
            return [
                Check(
                    check.id,
                    check.title,
                    Verdict.UNKNOWN,
                    f"{file.path.name}: the statements before the first check failed: {error}",
                    "Correct them.",
                    migration.version,
                )
                if error
                else await _run_check(conn, migration, check, file)
                for check in file.checks
            ]
        finally:
            with contextlib.suppress(asyncpg.InterfaceError, asyncpg.PostgresConnectionError, OSError):
                await outer.rollback()


async def _preamble(conn: Connection, file: VerifyFile) -> str:
    savepoint = conn.transaction()
    await savepoint.start()
    try:
        for statement in file.preamble:
            await conn.execute(statement.text, timeout=_STATEMENT_DEADLINE_S)
    except (asyncpg.PostgresError, TimeoutError) as error:
        await savepoint.rollback()
        return str(error)
    await savepoint.commit()
    return ""


async def _run_check(conn: Connection, migration: Migration, check: SqlCheck, file: VerifyFile) -> Check:
    def undecided(why: str) -> Check:
        return Check(check.id, check.title, Verdict.UNKNOWN, why, UNDECIDED, migration.version)

    def decided(violations: Iterable[str]) -> Check:
        return Check.of_lines(check.id, check.title, violations, remedy=check.remedy, group=migration.version)

    if conn.is_closed():
        return undecided("the connection was lost before this check")
    savepoint = conn.transaction()
    await savepoint.start()
    at = check.statements[0]
    try:
        for at in check.statements[:-1]:
            await conn.execute(at.text, timeout=_STATEMENT_DEADLINE_S)
        at = check.statements[-1]
        rows = await conn.fetch(at.text, timeout=_STATEMENT_DEADLINE_S)
    except asyncpg.PostgresError as error:
        said = f"{file.path.name}:{at.line}: {error} [{error.sqlstate}]"
        return undecided(said) if (error.sqlstate or "").startswith(_UNDECIDED) else decided([said])
    except (asyncpg.InterfaceError, OSError) as error:
        what = "no answer within its deadline" if isinstance(error, TimeoutError) else f"the connection broke: {error}"
        return undecided(f"{file.path.name}:{at.line}: {what}")
    finally:
        with contextlib.suppress(asyncpg.InterfaceError, asyncpg.PostgresConnectionError, OSError):
            await savepoint.rollback()
    if not at.is_read:
        return decided([])
    return decided(", ".join(f"{name}={value}" for name, value in row.items()) for row in rows)
