"""Makes one report of the proofs: a table of claims first, then each claim with its violations. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from toolkit.migrate.prove.run import PROOFS, Proved
from toolkit.migrate.prove.subject.claims import Claim, Level, Subject
from toolkit.report.frame import Frame
from toolkit.report.record import Measurement, Report, Table, Verdict, worst

REFUTED, LEFT_OUT = "REFUTED", "left out"
_MOST_COLUMNS = 3


def of_proof(frame: Frame, subject: Subject, found: Sequence[Proved], notes: tuple[str, ...] = ()) -> Report:
    """The report of a run. Claims that were left out on request are in the table and count for nothing."""
    claims = [claim for one in found for claim in one.outcome.claims]
    counted = [claim for claim in claims if not claim.by_request]
    checks = tuple(claim.as_check() for claim in counted)
    refuted = sum(bool(claim.violations) for claim in counted)
    report = frame.report(_title(counted, refuted), worst(check.verdict for check in checks), checks)
    return replace(
        report,
        tables=(_overview(found), _files(subject), *(table for one in found for table in one.outcome.tables)),
        measurements=(
            *(
                Measurement(f"{one.proof.name} {one.version}", one.seconds, "s", "time taken")
                for one in found
                if one.seconds
            ),
            *(measurement for one in found for measurement in one.outcome.measurements),
        ),
        timelines=tuple(timeline for one in found for timeline in one.outcome.timelines),
        notes=(*notes, *subject.states.notes, *dict.fromkeys(note for one in found for note in one.outcome.notes)),
    )


def standing(claims: Sequence[Claim]) -> str:
    """The result of a proof of one version in a word: that of its worst claim."""
    if any(claim.violations for claim in claims):
        return REFUTED
    levels = {claim.level for claim in claims if not claim.by_request}
    if not levels:
        return LEFT_OUT
    return next(str(level) for level in (Level.NOT_CHECKED, Level.SAMPLED, Level.PROVED) if level in levels)


def tally(claims: Sequence[Claim]) -> str:
    """How many claims of a proof of one version are proved, sampled, not checked or refuted."""
    counted = [claim for claim in claims if not claim.by_request]
    if not counted:
        return LEFT_OUT
    if refuted := sum(bool(claim.violations) for claim in counted):
        return f"{REFUTED}: {refuted} of {len(counted)}"
    found = ((level, sum(claim.level is level for claim in counted)) for level in Level)
    return ", ".join(f"{count} {level}" for level, count in found if count)


def _title(claims: Sequence[Claim], refuted: int) -> str:
    if refuted:
        return f"{refuted} of {len(claims)} claims are refuted"
    unchecked = sum(claim.level is Level.NOT_CHECKED for claim in claims)
    if unchecked:
        return f"Nothing is refuted, but {unchecked} of {len(claims)} claims could not be checked"
    sampled = sum(claim.level is Level.SAMPLED for claim in claims)
    return f"{len(claims)} claims hold: {len(claims) - sampled} proved, {sampled} sampled"


def _overview(found: Sequence[Proved]) -> Table:
    """A table of proofs by version; few versions become the columns, since a terminal has no room for all the
    proofs."""
    versions = tuple(dict.fromkeys(one.version for one in found))
    claims = {(one.version, one.proof.name): one.outcome.claims for one in found}
    names = tuple(proof.name for proof in PROOFS)
    if len(versions) <= _MOST_COLUMNS:
        rows = tuple((name, *(tally(claims[version, name]) for version in versions)) for name in names)
        return Table("Claims by version", ("", *versions), rows)
    rows = tuple((version, *(standing(claims[version, name]) for name in names)) for version in versions)
    return Table("Claims by version", ("version", *names), rows)


def _files(subject: Subject) -> Table:
    """The digests of the proved files: the report does not hold for a file that was edited later."""
    rows = []
    for version in subject.versions:
        migration = subject.migration(version)
        back = migration.rollback.sha256 if migration.rollback else "none"
        verify = migration.verify.sha256 if migration.verify else "none"
        rows.append((migration.label, migration.up.sha256, back, verify))
    return Table("Files (SHA-256)", ("version", "up", "rollback", "verify"), tuple(rows))


def claims_as_dicts(found: Sequence[Proved]) -> list[dict[str, object]]:
    """Every claim for JSON."""
    return [
        {
            "id": claim.id,
            "proof": claim.proof,
            "version": claim.version,
            "title": claim.title,
            "level": str(claim.level),
            "holds": claim.verdict is Verdict.PASS,
            "basis": claim.basis,
            "violations": list(claim.violations),
            "remedy": claim.remedy,
            "by_request": claim.by_request,
        }
        for one in found
        for claim in one.outcome.claims
    ]
