"""Those who look at a mutant, and say what they would have noticed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import asyncpg

from toolkit.migrate.folder.files import Folder
from toolkit.migrate.folder.statements import Statement
from toolkit.migrate.prove.run import prove
from toolkit.migrate.prove.subject.claims import ProveOptions, Subject
from toolkit.migrate.prove.subject.states import States
from toolkit.migrate.run.run_model import Options
from toolkit.migrate.scratch.databases import Scratch
from toolkit.migrate.scratch.start import read_sql
from toolkit.migrate.verify.live_checks import check_live
from toolkit.migrate.verify.probe import Probes
from toolkit.migrate.verify.run import migrate_verify
from toolkit.postgres.connection import connected
from toolkit.report.record import Check, Verdict

_NOT_OK = re.compile(r"^not ok\b(?!.*#\s*(?:todo|skip))(?:\s+\d+)?\s*-?\s*(.*)$", re.IGNORECASE | re.MULTILINE)
_STATEMENT_DEADLINE_S = 60


@dataclass(frozen=True)
class Ruling:
    """What a judge says: `failed` are the ids of the checks that fail, `undecided` those that could not decide."""

    failed: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()


class Judge(Protocol):
    """`name` stands in reports. Judges are asked in the order in which they are given, the cheapest first."""

    @property
    def name(self) -> str:
        """As a report names it."""
        ...

    async def rule(self, dsn: str, folder: Folder) -> Ruling:
        """Look at a database to which every version of the folder is applied; it is thrown away afterwards."""
        ...


def _of_checks(checks: Iterable[Check]) -> Ruling:
    found = tuple(checks)
    return Ruling(
        tuple(one.id for one in found if one.verdict is Verdict.FAIL),
        tuple(one.id for one in found if one.verdict is Verdict.UNKNOWN),
    )


@dataclass(frozen=True)
class VerifyFiles:
    """The folder's verify files."""

    name: str = "verify files"

    async def rule(self, dsn: str, folder: Folder) -> Ruling:
        """Run them all; each is taken back."""
        # A folder with some verify files says of the others that they have none, which is the folder's own business.
        found = (await migrate_verify(dsn, folder, generic=False)).checks
        return _of_checks(check for check in found if not check.id.endswith("-verify"))


@dataclass(frozen=True)
class LiveChecks:
    """The read-only checks of any database: LIVE-1 and on."""

    name: str = "live checks"

    async def rule(self, dsn: str, folder: Folder) -> Ruling:
        """Ask them all."""
        return _of_checks(await check_live(dsn, folder))


@dataclass(frozen=True)
class ProbeChecks:
    """The probes that whoever knows the schema hands in; `probes_of` says which belong to a folder."""

    probes_of: Callable[[Folder], Probes]
    name: str = "probes"

    async def rule(self, dsn: str, folder: Folder) -> Ruling:
        """Run them until one fails: each costs some time."""
        undecided: list[str] = []
        for version, probes in self.probes_of(folder).items():
            for probe in probes:
                check = await probe.run(dsn, version)
                if check.verdict is Verdict.FAIL:
                    return Ruling((check.id,), tuple(undecided))
                if check.verdict is Verdict.UNKNOWN:
                    undecided.append(check.id)
        return Ruling((), tuple(undecided))


@dataclass(frozen=True)
class Proofs:
    """Proofs of `migrate prove`, by name, of the version that the mutant changed. They work on databases of their own,
    copies of `template`, to which no version of the folder is applied."""

    scratch: Scratch
    template: str
    version: str
    wanted: Sequence[str]
    options: ProveOptions
    name: str = "proofs"

    async def rule(self, dsn: str, folder: Folder) -> Ruling:
        """Prove that version."""
        versions = tuple(one.version for one in folder.migrations)
        states = States(
            self.scratch, self.template, folder, versions, rows_each=self.options.rows_each, options=Options()
        )
        subject = Subject(folder, (self.version,), states, self.options)
        found = await prove(subject, self.wanted, side_by_side=1)
        claims = [claim.as_check() for one in found for claim in one.outcome.claims if not claim.by_request]
        return _of_checks(claims)


@dataclass(frozen=True)
class PgTap:
    """pgTAP test files, each in a transaction that is taken back; what begins with `not ok` fails."""

    files: tuple[Path, ...]
    name: str = "pgTAP"

    async def rule(self, dsn: str, folder: Folder) -> Ruling:
        """Run each file as `pg_prove` would: what it prints is TAP."""
        failed: list[str] = []
        for file in self.files:
            statements = await asyncio.to_thread(read_sql, file)
            async with connected(dsn, "toolkit migrate mutate: pgTAP") as conn:
                said = await _printed(conn, statements)
            failed += [f"{file.name}: {line.strip() or 'not ok'}" for line in _NOT_OK.findall(said)]
        return Ruling(tuple(failed))


async def _printed(conn: asyncpg.Connection[asyncpg.Record], statements: Sequence[Statement]) -> str:
    lines: list[str] = []
    outer = conn.transaction()
    await outer.start()
    try:
        for statement in statements:
            if statement.is_transaction_control:
                continue  # BEGIN and ROLLBACK of the file, which are ours
            if statement.is_read:
                rows = await conn.fetch(statement.text, timeout=_STATEMENT_DEADLINE_S)
                lines += [str(value) for row in rows for value in row.values()]
            else:
                await conn.execute(statement.text, timeout=_STATEMENT_DEADLINE_S)
    except asyncpg.PostgresError as error:
        lines.append(f"not ok - {error}")
    finally:
        with contextlib.suppress(asyncpg.InterfaceError, asyncpg.PostgresConnectionError, OSError):
            await outer.rollback()
    return "\n".join(lines)


@dataclass(frozen=True)
class Command:
    """Any command, given the database's address as DATABASE_URL: it notices a mutant by not ending with 0."""

    line: str

    @property
    def name(self) -> str:
        """The command itself."""
        return self.line if len(self.line) <= 40 else f"{self.line[:39]}…"

    async def rule(self, dsn: str, folder: Folder) -> Ruling:
        """Run it through the shell; it is ended with everything it started when whoever waits for it gives up."""
        process = await asyncio.create_subprocess_shell(
            self.line,
            env=os.environ | {"DATABASE_URL": dsn},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = await process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
            raise
        return Ruling((f"exit {code}",)) if code else Ruling()
