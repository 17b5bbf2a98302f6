"""Applies a version to a scratch copy, or rolls it back there, and interprets a failure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from toolkit.migrate.prove.subject.claims import Subject
from toolkit.migrate.prove.subject.states import CannotBuild
from toolkit.migrate.run.api import migrate_down, migrate_up
from toolkit.migrate.run.failure import Failure
from toolkit.migrate.run.run_model import Options, RunResult
from toolkit.report.record import counted, shortened

# Objects of the whole server: the copy on which the state after the version was built has made them, so a second copy
# fails where a second server would not.
_OF_THE_SERVER = re.compile(r'^(?:role|tablespace|database) ".*" (?:already exists|cannot be dropped)', re.DOTALL)
_MOST_REFUSED = 3


@dataclass(frozen=True)
class SeededRows:
    """The state before a version with rows in it. `template` is None where there is no table that could hold any.

    `basis` says how many rows it has, and which tables took none.
    """

    template: str | None
    count: int
    basis: str


async def with_rows(subject: Subject, version: str) -> SeededRows:
    """The state before a version, seeded. Raises CannotBuild when it cannot be reached."""
    template = await subject.states.seeded(version)
    seeding = subject.states.seeding(version)
    filled = {table: rows for table, rows in seeding.rows.items() if rows}
    if not filled and not seeding.refused:
        return SeededRows(None, 0, "there is no table yet that could hold rows")
    count = sum(filled.values())
    refused = [f"{table} ({why})" for table, why in sorted(seeding.refused.items())]
    none = f"; no row would go into {', '.join(shortened(refused, _MOST_REFUSED))}" if refused else ""
    return SeededRows(template, count, f"{counted(count, 'row')} in {counted(len(filled), 'table')}{none}")


async def apply(subject: Subject, dsn: str, version: str, options: Options | None = None) -> RunResult:
    """`up` to `version` on a copy of the state before it. Raises CannotBuild as `checked` does."""
    states = subject.states
    return checked(
        await migrate_up(dsn, subject.folder, to=version, include_all=True, options=options or states.options)
    )


async def take_back(subject: Subject, dsn: str, options: Options | None = None) -> RunResult:
    """`down` by one version on a copy of the state after it. Raises CannotBuild as `checked` does."""
    return checked(await migrate_down(dsn, subject.folder, last=1, options=options or subject.states.options))


def stopped_by(result: RunResult) -> Failure | None:
    """The failure of a run, or None."""
    return next((step.failure for step in result.steps if step.failure), None)


def checked(result: RunResult) -> RunResult:
    """The result; raises CannotBuild when the run failed only because the server had another copy already."""
    failure = stopped_by(result)
    if failure is not None and _OF_THE_SERVER.match(failure.message):
        raise CannotBuild(
            f"{failure}. That belongs to the whole server and another copy of this database put it there, so nothing "
            "can be said from a second copy.",
            "Make roles, tablespaces and databases only where they are missing (a DO block that asks pg_roles first).",
        )
    return result
