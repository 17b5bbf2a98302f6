"""Makes the sign-off's report of saved evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from toolkit.report.record import Link, Report, Table, Verdict, tool_version, worst
from toolkit.signoff.criteria import judge_all
from toolkit.signoff.evidence import (
    COMPLETED_ON,
    MAX_AGE_DAYS,
    NOT_SIGNED,
    SIGN_OFF,
    SIGNED_BY,
    Evidence,
    find_reports,
    read,
    unreadable,
)

NOT_COMPLETED = "not completed: no run applied and verified it"


@dataclass(frozen=True)
class SignOffRequest:
    """`place` is the folder of one run, or a folder of runs."""

    place: Path
    signed_off_by: str | None = None
    max_age_days: float = MAX_AGE_DAYS


def sign_off(request: SignOffRequest, *, now: datetime | None = None) -> Report:
    """Judge the ten criteria by the saved reports. Raises UsageError when there are none."""
    started = datetime.now(UTC)
    moment = now or started
    evidence = Evidence()
    for path in find_reports(request.place):
        evidence = evidence.with_later(
            read(path, now=moment, tool_version=tool_version(), max_age_days=request.max_age_days)
        )
    criteria = judge_all(evidence)
    verdict = worst(check.verdict for check in criteria)
    open_ones = sum(check.verdict is not Verdict.PASS for check in criteria)
    return Report(
        name="signoff",
        title="Sign-off of the migration",
        verdict=verdict,
        started_at=started,
        finished_at=datetime.now(UTC),
        target=f"saved evidence in {request.place}",
        tool_version=tool_version(),
        criteria=criteria,
        tables=(sign_off_table(evidence.completed_on, request.signed_off_by, open_ones),),
        links=tuple(Link("Evidence", source) for source in evidence.reports),
        notes=(*evidence.objections, *unreadable(request.place)),
    )


def sign_off_table(completed_on: str | None, signed_off_by: str | None, open_criteria: int) -> Table:
    """The two lines at the end of the migration guide; a line that is not filled in says so."""
    signed = signed_off_by or f"{NOT_SIGNED} (give --signed-off-by NAME)"
    if signed_off_by and open_criteria:
        signed += f" (with {open_criteria} of 10 criteria not passed)"
    rows = ((COMPLETED_ON, completed_on or NOT_COMPLETED), (SIGNED_BY, signed))
    return Table(SIGN_OFF, ("", ""), rows)
