"""The round-trip proof: A → up → B → down → A′ → up → B′ with A = A′ and B = B′.

Two oracles compare the states, independent of each other on purpose: our catalog facts, and pg_dump. Where they
disagree, that is a violation of its own. Rows are for the data proof to judge; here they must only not stop the three
runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.errors import EnvironmentError_
from toolkit.migrate.catalog import Snapshot, diff, take_snapshot
from toolkit.migrate.catalog.pg_dump import diff_dumps, dump_schema
from toolkit.migrate.prove.subject.attempts import SeededRows, apply, stopped_by, take_back, with_rows
from toolkit.migrate.prove.subject.claims import NO_ROLLBACK, Claim, Level, Outcome, Proof, Subject, not_checked
from toolkit.migrate.run.failure import Failure
from toolkit.migrate.run.run_model import RunResult
from toolkit.postgres.connection import connected

_LEGS = ("up", "down", "up again")
_WITH_ROWS = "With rows too, up, down and up again run through and end where they were"
_UNDO = "Make the rollback undo exactly what the migration did: the differences say what is left or missing."


@dataclass(frozen=True)
class State:
    """A state as both oracles read it; `dump` is None when pg_dump failed, and `why` says why."""

    facts: Snapshot
    dump: str | None = None
    why: str = ""


@dataclass(frozen=True)
class Trip:
    """The states A, B, A′, B′ as far as they were reached, and the failure that stopped the runs."""

    states: tuple[State, ...]
    failure: Failure | None = None

    @property
    def leg(self) -> str:
        """The run that failed, or else the last one."""
        return _LEGS[min(len(self.states), len(_LEGS)) - 1]


async def run(subject: Subject, version: str, *, pg_dump: Path | None = None) -> Outcome:
    """`pg_dump` replaces the shipped one. Raises CannotBuild when the version or an earlier one does not apply."""
    if subject.migration(version).rollback is None:
        return Outcome((not_checked(PROOF, version, NO_ROLLBACK),))
    states = subject.states
    await states.after(version)
    async with states.clone(await states.before(version)) as dsn:
        trip = await _travel(subject, dsn, version, pg_dump)
    claims = judge(version, trip)
    if trip.failure or any(claim.violations for claim in claims):
        # The same would be said again; what rows do is worth a look when this is mended.
        refuted = Claim.of(PROOF, version, "rows", _WITH_ROWS, Level.NOT_CHECKED, "without rows it is refuted already")
        return Outcome((*claims, refuted))
    rows = await with_rows(subject, version)
    if rows.template is None:
        return Outcome((replace(claims[0], basis=f"{claims[0].basis}; {rows.basis}"), *claims[1:]))
    return Outcome((*claims, await _claim_rows(subject, version, rows.template, rows)))


def judge(version: str, trip: Trip) -> tuple[Claim, ...]:
    """The claims that the runs went through, that A = A′ and B = B′ by each oracle, and that the oracles agree.
    Pure."""
    runs = Claim.of(PROOF, version, "runs", "Up, down and up again run through", Level.PROVED, "three runs on one copy")
    if trip.failure is not None:
        runs = runs.refuted_by([f"{trip.leg}: {trip.failure}"], trip.failure.remedy)
    claims, disagreements, compared = [runs], [], 0
    for part, title, first in (
        ("back", "The rollback returns the catalog to what it was", 0),
        ("again", "Applying again gives the same catalog", 1),
    ):
        if len(trip.states) < first + 3:
            why = f"the {trip.leg} did not run through"
            claims.append(Claim.of(PROOF, version, part, title, Level.NOT_CHECKED, why))
            continue
        one, other = trip.states[first], trip.states[first + 2]
        ours, theirs = _by_facts(version, part, title, one, other), _by_dump(version, part, title, one, other)
        claims += [ours, theirs]
        if theirs.level is Level.NOT_CHECKED:
            continue
        compared += 1
        if bool(ours.violations) != bool(theirs.violations):
            says = ("equal", "different") if theirs.violations else ("different", "equal")
            example = (theirs.violations or ours.violations)[0]
            disagreements.append(f"{part}: our facts say {says[0]}, pg_dump says {says[1]}: {example}")
    agree = Claim.of(
        PROOF,
        version,
        "oracles",
        "Both oracles say the same",
        Level.PROVED if compared else Level.NOT_CHECKED,
        f"{compared} of 2 pairs of states compared by both",
    )
    remedy = "One of the two does not see the difference: judge it by the line above, and undo it if it is real."
    return (*claims, agree.refuted_by(disagreements, remedy))


def _by_facts(version: str, part: str, title: str, one: State, other: State) -> Claim:
    basis = f"{len(one.facts.facts)} facts of the catalog compared"
    return Claim.of(PROOF, version, part, title, Level.PROVED, basis, map(str, diff(one.facts, other.facts)), _UNDO)


def _by_dump(version: str, part: str, title: str, one: State, other: State) -> Claim:
    part, title = f"{part}-dump", f"{title} (pg_dump's view)"
    if one.dump is None or other.dump is None:
        return Claim.of(PROOF, version, part, title, Level.NOT_CHECKED, one.why or other.why)
    basis = f"{len(one.dump.splitlines())} lines of the dump compared"
    return Claim.of(PROOF, version, part, title, Level.PROVED, basis, diff_dumps(one.dump, other.dump), _UNDO)


async def _claim_rows(subject: Subject, version: str, template: str, rows: SeededRows) -> Claim:
    claim = Claim.of(PROOF, version, "rows", _WITH_ROWS, Level.SAMPLED, f"run with {rows.basis}")
    if not rows.count:
        return replace(claim, level=Level.NOT_CHECKED, basis=rows.basis)
    async with subject.states.clone(template) as dsn:
        results: list[RunResult] = []
        async with aclosing(_legs(subject, dsn, version)) as legs:
            async for result in legs:
                results.append(result)
    failure = stopped_by(results[-1])
    if failure is not None:
        if len(results) == 1:
            # The replay proof says so; of the way back nothing is known.
            return replace(claim, level=Level.NOT_CHECKED, basis=f"with rows the version does not apply: {failure}")
        return claim.refuted_by([f"{_LEGS[len(results) - 1]}: {failure}"], failure.remedy)
    up, down, again = results
    if up.catalog_before == down.catalog_after and up.catalog_after == again.catalog_after:
        return claim
    # The runs' own digests are cheap, but say only that; what differs needs a second trip with eyes open.
    async with subject.states.clone(template) as dsn:
        trip = await _travel(subject, dsn, version, None, dumps=False)
    found = [
        f"{part}: {difference}"
        for part, first in (("back", 0), ("again", 1))
        if len(trip.states) > first + 2
        for difference in diff(trip.states[first].facts, trip.states[first + 2].facts)
    ] or ["the catalog differed on one copy and not on a second one: what it does depends on more than the database"]
    return claim.refuted_by(found, _UNDO)


async def _legs(subject: Subject, dsn: str, version: str) -> AsyncGenerator[RunResult, None]:
    """Up, down, up again, as far as they go."""
    for leg in _LEGS:
        result = await (take_back(subject, dsn) if leg == "down" else apply(subject, dsn, version))
        yield result
        if not result.ok:
            return


async def _travel(subject: Subject, dsn: str, version: str, pg_dump: Path | None, *, dumps: bool = True) -> Trip:
    seen = [await _look(dsn, pg_dump, dumps=dumps)]
    async with aclosing(_legs(subject, dsn, version)) as legs:
        async for result in legs:
            if failure := stopped_by(result):
                return Trip(tuple(seen), failure)
            seen.append(await _look(dsn, pg_dump, dumps=dumps))
    return Trip(tuple(seen))


async def _look(dsn: str, pg_dump: Path | None, *, dumps: bool) -> State:
    async with connected(dsn) as conn:
        if not dumps:
            return State(await take_snapshot(conn))
        major = conn.get_server_version().major
        facts, dump = await asyncio.gather(
            take_snapshot(conn), dump_schema(dsn, pg_dump, server_major=major), return_exceptions=True
        )
    for found in (facts, dump):
        if isinstance(found, BaseException) and not (found is dump and isinstance(found, EnvironmentError_)):
            raise found
    assert isinstance(facts, Snapshot)
    return State(facts, None, dump.what) if isinstance(dump, EnvironmentError_) else State(facts, str(dump))


PROOF = Proof("round-trip", "Up, down and up again end where they were", run)
