"""Crash and idempotence: the backend is killed at every point of a file's run; what remains is the state before or the
state after, and running again ends at the state after.

A file in one transaction must leave the state before (A) up to its commit and the state after (B) from then on. A file
without transaction may leave anything between its statements, but running again must end at B. B is known from two runs
without a crash, the second at a later time and with every sequence advanced by one: what differs between these two is
not compared.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.migrate.folder.files import Script
from toolkit.migrate.prove.crash.kill_backend import KillBackend
from toolkit.migrate.prove.crash.points import Point, chosen, points_of
from toolkit.migrate.prove.crash.state_digest import StateDigest, advance_sequences, common, differences, digest_state
from toolkit.migrate.prove.subject.attempts import apply, stopped_by, take_back, with_rows
from toolkit.migrate.prove.subject.claims import NO_ROLLBACK, Claim, Level, Outcome, Proof, Subject
from toolkit.migrate.run.failure import Failure
from toolkit.migrate.run.history import Direction
from toolkit.migrate.run.plan import MigrationRefused
from toolkit.migrate.run.run_model import Options, Progress, RunResult
from toolkit.postgres.connection import Connection, connected
from toolkit.report.record import shortened

_MOST_REFUTED = 3
_LINES_A_POINT = 4
_MOST_NAMED = 8
_REMEDY = (
    "Keep to what a rollback undoes (setval, replication slots and notifications outside are not), let no statement of "
    "a transaction=false file rely on the session of an earlier one, and write those that refuse a transaction so that "
    "they can run twice (IF [NOT] EXISTS, a name for every index)."
)


@dataclass(frozen=True)
class _Way:
    """One direction of a version: from `template` (looks like `before`) to `after` by `run(dsn, options)`."""

    direction: Direction
    script: Script
    template: str
    before: StateDigest
    after: StateDigest
    run: Callable[[str, Options | None], Awaitable[RunResult]]


@dataclass
class _Tally:
    """The results of one direction's points so far."""

    tried: int = 0
    refuted: int = 0
    lines: list[str] = field(default_factory=list)

    def refute(self, point: Point, lines: list[str]) -> None:
        self.refuted += 1
        self.lines += [f"ended {point}: {line}" for line in shortened(lines, _LINES_A_POINT)]


@dataclass(frozen=True)
class _Context:
    """What every step of the proof of one version uses; `killer` is a connection to the scratch server."""

    subject: Subject
    version: str
    killer: Connection
    options: Options
    rows: str

    async def up(self, dsn: str, options: Options | None = None) -> RunResult:
        return await apply(self.subject, dsn, self.version, options or self.options)

    async def down(self, dsn: str, options: Options | None = None) -> RunResult:
        return await take_back(self.subject, dsn, options or self.options)

    def dsn(self, name: str) -> str:
        return self.subject.states.scratch.dsn(name)

    async def look(
        self, dsn: str, known: StateDigest | None = None, digest: str = "", closer: Iterable[str] = ()
    ) -> StateDigest:
        """The digest of a database, its catalog recognised where it was read before."""
        return await digest_state(dsn, known, digest, closer, self.subject.states.catalogs)


async def run(subject: Subject, version: str) -> Outcome:
    """Raises CannotBuild when the version or an earlier one does not apply."""
    states, migration = subject.states, subject.migration(version)
    rows = await with_rows(subject, version)
    async with AsyncExitStack() as stack:
        exports = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toolkit-prove-")))
        killer = await stack.enter_async_context(connected(states.scratch.admin_dsn, "toolkit migrate prove: crash"))
        options = replace(states.options, export_dir=exports)
        start = rows.template or await states.before(version)
        context = _Context(
            subject, version, killer, options, rows.basis if rows.template else "no rows: there is no table"
        )
        first, before, failure = await _first(context, stack, start)
        if failure is not None and start == rows.template:
            # It does not apply with rows, which the replay proof reports; it may apply without them.
            context = replace(context, rows="no rows, since it does not apply with them")
            start = await states.before(version)
            first, before, failure = await _first(context, stack, start)
        if failure is not None:
            await states.after(version)
            return Outcome((_elsewhere(version, f"{failure}; on another copy of the same state it applied"),))
        again, applied = await _once_more(context, first)
        second = await _copy(context, stack, start)
        await advance_sequences(context.dsn(second))
        result = await context.up(context.dsn(second))
        if failure := stopped_by(result):
            return Outcome((_elsewhere(version, f"{failure}; with its sequences one less far it applied"), again))
        after = await _agreed(context, first, applied, second, result)
        up = await _crash(context, _Way("up", migration.up, start, before, after, context.up))
        down = Claim.of(PROOF, version, "down", _TITLES["down"], Level.NOT_CHECKED, NO_ROLLBACK)
        if migration.rollback is not None:
            third = await _copy(context, stack, first)
            results = [await context.down(context.dsn(name)) for name in (third, second)]
            if failure := next(filter(None, map(stopped_by, results)), None):
                down = replace(down, basis=f"the rollback does not run: {failure}")
            else:
                taken_back = await context.look(context.dsn(third))
                back = await _agreed(context, third, taken_back, second, results[1])
                down = await _crash(context, _Way("down", migration.rollback, first, applied, back, context.down))
    return Outcome((up, down, again), notes=_passed_over(version, after))


async def _first(context: _Context, stack: AsyncExitStack, start: str) -> tuple[str, StateDigest, Failure | None]:
    """A copy of the start with the version applied, the digest of the start, and the failure if it did not apply."""
    name = await _copy(context, stack, start)
    before = await context.look(context.dsn(name))
    return name, before, stopped_by(await context.up(context.dsn(name)))


def _passed_over(version: str, after: StateDigest) -> tuple[str, ...]:
    names = after.passed_over
    if not names:
        return ()
    return (
        f"{version}: these come out differently each time it is applied, so what a crash does to them is not "
        f"compared: {', '.join(shortened(names, _MOST_NAMED))}.",
    )


_TITLES = {
    "up": "Wherever it is interrupted, it leaves what was before or what comes after, and can be run again",
    "down": "Wherever the rollback is interrupted, it leaves what was before or what comes after, and can be run again",
}


async def _copy(context: _Context, stack: AsyncExitStack, template: str) -> str:
    """A copy that is kept until the end of the proof and may itself be used as a template."""
    scratch = context.subject.states.scratch
    name = await scratch.create(template)
    stack.push_async_callback(lambda: asyncio.shield(scratch.drop(name)))
    return name


async def _agreed(context: _Context, one: str, first: StateDigest, other: str, result: RunResult) -> StateDigest:
    """What two databases have in common after the same run: `first` is the digest of `one`, `result` the run on
    `other`. Tables whose rows differ are compared column by column."""
    second = await context.look(context.dsn(other), first, result.catalog_after)
    tables = common(first, second).uncertain_tables
    if tables:
        first = await context.look(context.dsn(one), first, first.digest, tables)
        second = await context.look(context.dsn(other), second, second.digest, tables)
    return common(first, second)


async def _once_more(context: _Context, name: str) -> tuple[Claim, StateDigest]:
    """Running up again after success must change nothing, not even the ledger."""
    dsn = context.dsn(name)
    done = await context.look(dsn)
    result = await context.up(dsn)
    now = await context.look(dsn, done, result.catalog_after)
    found = [f"it ran {step.name} again" for step in result.steps]
    found += differences(done, now)
    if now.ledger != done.ledger:
        found.append(f"the ledger has {now.ledger} entries, before it had {done.ledger}")
    if now.positions != done.positions:
        found.append("a sequence was moved")
    claim = Claim.of(
        PROOF,
        context.version,
        "again",
        "Running up again after success changes nothing, not even the ledger",
        Level.PROVED,
        "one run more, on a database where it was applied",
    )
    return claim.refuted_by(found, "Report this: the runner should not."), done


async def _crash(context: _Context, way: _Way) -> Claim:
    points = points_of(way.script)
    wanted = chosen(points, context.subject.options.crash_points)
    tally = _Tally()
    async with AsyncExitStack() as stack:
        dsn = ""
        for number, point in enumerate(wanted, start=1):
            context.subject.tell(
                Progress("statement", f"crash {context.version} {way.direction}", f"ended {point}", number, len(wanted))
            )
            dsn = dsn or await stack.enter_async_context(context.subject.states.clone(way.template))
            lines = await _kill_at(context, way, dsn, point, tally)
            if lines:
                tally.refute(point, lines)
            if tally.refuted == _MOST_REFUTED:
                break
            if lines or not way.script.transactional:
                # After a crash the database is no longer in the state before, so the next point gets a new copy.
                await stack.aclose()
                dsn = ""
    everything = tally.tried == len(points)
    counted = f"each of the {len(points)}" if everything else f"{tally.tried} of the {len(points)}"
    claim = Claim.of(
        PROOF,
        context.version,
        way.direction,
        _TITLES[way.direction],
        Level.PROVED if everything else Level.SAMPLED,
        f"the backend ended at {counted} points of {len(way.script.statements)} statements, with {context.rows}",
    )
    if not tally.tried and not tally.lines:
        claim = replace(claim, level=Level.NOT_CHECKED, basis="no point was reached")
    return claim.refuted_by(tally.lines, _REMEDY)


async def _kill_at(context: _Context, way: _Way, dsn: str, point: Point, tally: _Tally) -> list[str]:
    """Kill the backend at one point, compare, run again where needed; returns what is wrong."""
    kill = KillBackend(context.killer, dsn, context.version, point)
    try:
        result = await way.run(dsn, replace(context.options, interrupt=kill))
    finally:
        await kill.close()
    if not kill.killed:
        failure = stopped_by(result)
        return [f"running it after earlier crashes fails before that: {failure}"] if failure else []
    tally.tried += 1
    committed = (point.kind, point.index) == ("after_commit", 0)
    lines: list[str] = []
    if committed and not result.ok:
        lines.append(f"it was committed, but the runner said otherwise: {stopped_by(result)}")
    if way.script.transactional or committed:
        expected = way.after if committed else way.before
        lines += differences(expected, await _look_after(context, way, dsn, result, expected))
    if committed or (way.script.transactional and not lines):
        # A file in a transaction that left the state before is run again by the kill at the next point; the last point
        # comes after its commit.
        return lines
    try:
        again = await way.run(dsn, None)
    except MigrationRefused as refused:
        return [f"running it again is refused: {refused.what}", *lines]
    if failure := stopped_by(again):
        return [f"running it again fails: {failure}", *lines]
    return [
        *lines,
        *(
            f"run again: {line}"
            for line in differences(way.after, await _look_after(context, way, dsn, again, way.after))
        ),
    ]


async def _look_after(context: _Context, way: _Way, dsn: str, result: RunResult, expected: StateDigest) -> StateDigest:
    """The digest of the state after the run, with the columns that `expected` has. The catalog is read again only when
    the runner found a catalog that is neither the one before nor the one after."""
    known = way.before if result.catalog_after == way.before.digest else way.after
    return await context.look(dsn, known, result.catalog_after, expected.uncertain_tables)


def _elsewhere(version: str, line: str) -> Claim:
    lines = [f"{line}: it changes what no rollback undoes"]
    basis = "run on a second copy of the state before it"
    return Claim.of(PROOF, version, "up", _TITLES["up"], Level.SAMPLED, basis, lines, _REMEDY)


PROOF = Proof("crash", "Interrupted anywhere, nothing is left half done", run)
