"""Proof that a migration and its rollback belong together: A → up → B → down → A′ → up → B′ with A = A′, B = B′.

Two oracles that share nothing look at each state: our catalog facts, and pg_dump. Where they disagree about
"equal", that is a finding of its own. Rows that existed in A must be there, unchanged, in B, A′ and B′.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import EnvironmentError_
from toolkit.migrate.api import migrate_down, migrate_plan, migrate_up
from toolkit.migrate.catalog import Snapshot, diff, take_snapshot
from toolkit.migrate.checks import CheckResult, CheckStatus
from toolkit.migrate.connection import connected
from toolkit.migrate.digests import TableDigest, compare_digests, digest_tables, user_tables
from toolkit.migrate.execute import OnProgress, Options, RunResult
from toolkit.migrate.plan import MigrationRefused, Refusal, Up
from toolkit.migrate.schema_dump import diff_dumps, dump_schema

_MOST_LINES = 20


@dataclass(frozen=True)
class RoundTrip:
    """The proof for every version that was pending; the database ends with all of them applied."""

    versions: tuple[str, ...]
    checks: tuple[CheckResult, ...]

    @property
    def proved(self) -> bool:
        """Whether every check passed; a missing oracle is no proof."""
        return bool(self.checks) and all(check.status is CheckStatus.PASS for check in self.checks)


@dataclass(frozen=True)
class _State:
    facts: Snapshot
    dump: str | None
    dump_problem: str
    rows: Mapping[str, TableDigest]


@dataclass(frozen=True)
class _Run:
    dsn: str
    folder: Path
    options: Options
    pg_dump: Path | None
    on_progress: OnProgress | None


class _Stopped(Exception):
    def __init__(self, result: RunResult) -> None:
        super().__init__(str(next(step.failure for step in result.steps if step.failure)))


async def prove_round_trip(
    dsn: str,
    folder: Path,
    *,
    options: Options | None = None,
    pg_dump: Path | None = None,
    on_progress: OnProgress | None = None,
) -> RoundTrip:
    """Prove each pending version, one after the other. Run it on a copy: it rolls back what it applied.

    Raises MigrationRefused when nothing is pending, and whatever refuses the plan.
    """
    plan = await migrate_plan(dsn, folder, Up())
    if not plan.steps:
        raise MigrationRefused(
            (Refusal("nothing-pending", "Nothing is pending, so there is nothing to prove.", "Use a fresh copy."),)
        )
    checks: list[CheckResult] = []
    versions = tuple(step.migration.version for step in plan.steps)
    run = _Run(dsn, folder, options or Options(), pg_dump, on_progress)
    for version in versions:
        try:
            await _prove(run, version, checks)
        except (_Stopped, MigrationRefused) as stopped:
            text = str(stopped) if isinstance(stopped, _Stopped) else stopped.what
            checks.append(
                CheckResult(
                    f"ROUND-{version}-runs", "Up, down and up again run through", CheckStatus.FAIL, (text,),
                    "Correct the file that failed; the later versions were not looked at.", version,
                )
            )  # fmt: skip
            break
    return RoundTrip(versions, tuple(checks))


async def _prove(run: _Run, version: str, checks: list[CheckResult]) -> None:
    """Adds to `checks` as it goes, so that what was seen before a file failed is kept."""

    async def up() -> None:
        result = await migrate_up(run.dsn, run.folder, to=version, options=run.options, on_progress=run.on_progress)
        if not result.ok:
            raise _Stopped(result)

    async def down() -> None:
        result = await migrate_down(run.dsn, run.folder, last=1, options=run.options, on_progress=run.on_progress)
        if not result.ok:
            raise _Stopped(result)

    before = await _look(run, None)
    await up()
    applied = await _look(run, before)
    await down()
    back = await _look(run, before)
    checks += _equal(version, "back", "The rollback returns the catalog to what it was", before, back)
    await up()
    again = await _look(run, before)
    checks += _equal(version, "again", "Applying again gives the same catalog", applied, again)
    checks.append(_preserved(version, before, {"up": applied, "down": back, "up again": again}))


async def _look(run: _Run, reference: _State | None) -> _State:
    """`reference` limits the rows looked at to the tables and columns it had."""
    async with connected(run.dsn) as conn:
        facts, major = await take_snapshot(conn), conn.get_server_version().major
        if reference is None:
            rows = await digest_tables(conn, await user_tables(conn))
        else:
            present = set(await user_tables(conn))
            columns = {
                table: [name for name in digest.columns if f"column {table}.{name}" in _column_keys(facts)]
                for table, digest in reference.rows.items()
                if table in present
            }
            rows = await digest_tables(conn, columns, columns)
    try:
        return _State(facts, await dump_schema(run.dsn, run.pg_dump, server_major=major), "", rows)
    except EnvironmentError_ as error:
        return _State(facts, None, error.what, rows)


def _column_keys(facts: Snapshot) -> set[str]:
    return {key.replace('"', "") for key in facts.facts if key.startswith("column ")}


def _equal(version: str, which: str, title: str, first: _State, second: _State) -> list[CheckResult]:
    differences = diff(first.facts, second.facts)
    ours = CheckResult(
        f"ROUND-{version}-{which}",
        title,
        CheckStatus.FAIL if differences else CheckStatus.PASS,
        tuple(str(difference) for difference in differences[:_MOST_LINES]),
        "Make the rollback undo exactly what the migration did: the differences say what is left or missing.",
        version,
    )
    evidence: tuple[str, ...]
    if first.dump is None or second.dump is None:
        reason = first.dump_problem or second.dump_problem
        status, evidence = CheckStatus.UNKNOWN, (reason,)
    else:
        evidence = diff_dumps(first.dump, second.dump)
        status = CheckStatus.FAIL if evidence else CheckStatus.PASS
        if bool(evidence) != bool(differences):
            says = ("equal", "different") if evidence else ("different", "equal")
            evidence = (f"the oracles disagree: our facts say {says[0]}, pg_dump says {says[1]}", *evidence)
    theirs = CheckResult(
        f"ROUND-{version}-{which}-dump",
        f"{title} (pg_dump's view)",
        status,
        evidence[:_MOST_LINES],
        ours.remedy,
        version,
    )
    return [ours, theirs]


def _preserved(version: str, before: _State, later: Mapping[str, _State]) -> CheckResult:
    evidence = [
        f"after {moment}: {line}"
        for moment, state in later.items()
        for line in compare_digests(before.rows, state.rows)
    ]
    return CheckResult(
        f"ROUND-{version}-rows",
        f"Every row of the {len(before.rows)} tables that existed is unchanged",
        CheckStatus.FAIL if evidence else CheckStatus.PASS,
        tuple(evidence[:_MOST_LINES]),
        "Neither file may change rows that were there; a column that is dropped and added again is empty.",
        version,
    )
