"""The replay proof: each version applies to the state that the versions before it leave, with and without rows, alone
and in one run."""

from __future__ import annotations

from dataclasses import replace

from toolkit.migrate.catalog import diff, take_snapshot
from toolkit.migrate.prove.subject.attempts import SeededRows, apply, stopped_by, with_rows
from toolkit.migrate.prove.subject.claims import Claim, Level, Outcome, Proof, Subject
from toolkit.migrate.prove.subject.states import CannotBuild
from toolkit.migrate.run.failure import Failure
from toolkit.migrate.scratch.lacks import Lack
from toolkit.postgres.connection import connected


async def run(subject: Subject, version: str) -> Outcome:
    """Raises CannotBuild when an earlier version does not apply."""
    states = subject.states
    rows = await with_rows(subject, version)
    try:
        await states.after(version)
    except CannotBuild:
        failed = await states.failed()
        assert failed is not None, "a state could not be built, but no version failed"
        failure = stopped_by(failed.result)
        assert failure is not None, "a run is not ok, but no step failed"
        if failed.lack is not None:
            return Outcome((_not_checked(version, failure, failed.lack),))
        return Outcome((await _refuted(subject, version, failure, rows),))
    statements = len(subject.migration(version).up.statements)
    basis = f"each of its {statements} statements ran on the state before it"
    claims = [Claim.of(PROOF, version, "", "It applies to the state before it", Level.PROVED, basis)]
    if rows.template is None:
        claims[0] = replace(claims[0], basis=f"{basis}; {rows.basis}")
    else:
        claims.append(await _claim_rows(subject, version, rows.template, rows))
    if version == states.versions[-1] and not (states.earlier and len(states.versions) == 1):
        claims.append(await _claim_whole(subject, version))
    return Outcome(tuple(claims))


def _not_checked(version: str, failure: Failure, lack: Lack) -> Claim:
    """The claim of a version that stops at something which the scratch server cannot hold."""
    basis = f"{failure}; {lack.basis}"
    claim = Claim.of(PROOF, version, "", "It applies to the state before it", Level.NOT_CHECKED, basis)
    return replace(claim, remedy=lack.remedy)


async def _refuted(subject: Subject, version: str, failure: Failure, rows: SeededRows) -> Claim:
    """The claim of a version that does not apply; where rows would let it, that is said too."""
    violations = [str(failure)]
    if rows.template is not None:
        async with subject.states.clone(rows.template) as dsn:
            if (await apply(subject, dsn, version)).ok:
                violations.append(f"with {rows.basis} it applies: it depends on rows that an empty database lacks")
    title, basis = "It applies to the state before it", "it was run on the state before it"
    return Claim.of(PROOF, version, "", title, Level.PROVED, basis, violations, failure.remedy)


async def _claim_rows(subject: Subject, version: str, template: str, rows: SeededRows) -> Claim:
    title = "It applies to a database with rows in it"
    if not rows.count:
        return Claim.of(PROOF, version, "rows", title, Level.NOT_CHECKED, rows.basis)
    try:
        async with subject.states.clone(template) as dsn:
            failure = stopped_by(await apply(subject, dsn, version))
    except CannotBuild as why:
        return Claim.of(PROOF, version, "rows", title, Level.NOT_CHECKED, why.what)
    claim = Claim.of(PROOF, version, "rows", title, Level.SAMPLED, f"run with {rows.basis}")
    if failure is None:
        return claim
    return claim.refuted_by([f"{failure}; without rows it applies"], failure.remedy)


async def _claim_whole(subject: Subject, version: str) -> Claim:
    """The claim that all versions in one run and session end in the same state as one run for each."""
    states = subject.states
    whole = "What comes after the earlier versions" if states.earlier else "The whole folder"
    title = f"{whole} applies in one run, to the same result"
    basis = f"{len(states.versions)} versions in one run, compared with as many runs"
    if states.earlier:
        basis += f"; {states.earlier} earlier versions were applied before, and only that"
    claim = Claim.of(PROOF, version, "whole", title, Level.PROVED, basis)
    async with states.clone(await states.after(version)) as dsn, connected(dsn) as conn:
        stepwise = await take_snapshot(conn, memory=states.catalogs)
    async with states.clone(await states.before(states.versions[0])) as dsn:
        try:
            failure = stopped_by(await apply(subject, dsn, version))
        except CannotBuild as why:
            return replace(claim, level=Level.NOT_CHECKED, basis=why.what)
        if failure:
            return claim.refuted_by([f"{failure}; by itself it applies"], failure.remedy)
        async with connected(dsn) as conn:
            found = diff(stepwise, await take_snapshot(conn, memory=states.catalogs))
    remedy = "A file leaves something in its session (a temporary table) that a later file meets: clean it up."
    return claim.refuted_by(map(str, found), remedy)


PROOF = Proof("replay", "Every version applies, in the order of the files", run)
