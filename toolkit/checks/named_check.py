"""What a named check is: a pure function over gathered facts, with an id, a title and a remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.checks.absent import Absent, Undetermined
from toolkit.checks.facts import Facts
from toolkit.report.record import Check, Verdict

_MOST_LINES = 10


@dataclass(frozen=True)
class Finding:
    """What a check saw. `witness` are lines of evidence; `warning` is told although the check passes."""

    verdict: Verdict
    detail: str = ""
    witness: tuple[str, ...] = ()
    warning: str = ""


def passed(detail: str = "", *, warning: str = "") -> Finding:
    """Nothing is wrong; `detail` says what was seen."""
    return Finding(Verdict.PASS, detail, warning=warning)


def failed(detail: str, witness: Sequence[str] = ()) -> Finding:
    """Something is wrong; at most ten lines of evidence are kept."""
    more = (f"… and {len(witness) - _MOST_LINES} more",) if len(witness) > _MOST_LINES else ()
    return Finding(Verdict.FAIL, detail, (*witness[:_MOST_LINES], *more))


def unknown(reason: str, remedy: str = "") -> Undetermined:
    """Raise this where the facts are there and still do not decide."""
    return Undetermined(Absent(reason, remedy))


def none_of(problems: Sequence[str], wrong: str, fine: str) -> Finding:
    """Fails with the problems as evidence when there are any."""
    return failed(wrong, problems) if problems else passed(fine)


@dataclass(frozen=True)
class NamedCheck:
    """One check. `judge` decides over the facts; `remedy` says what to do about a failure."""

    id: str
    title: str
    remedy: str
    group: str
    judge: Callable[[Facts], Finding]

    def run(self, facts: Facts) -> tuple[Check, str]:
        """The check's result, and its warning ("" for none). An absent fact makes it unknown."""
        try:
            finding = self.judge(facts)
        except Undetermined as open_question:
            absent = open_question.absent
            return Check(self.id, self.title, Verdict.UNKNOWN, absent.reason, absent.remedy, self.group), ""
        remedy = self.remedy if finding.verdict is Verdict.FAIL else ""
        result = Check(self.id, self.title, finding.verdict, finding.detail, remedy, self.group, finding.witness)
        return result, f"{self.id}: {finding.warning}" if finding.warning else ""


def check(id: str, title: str, *, remedy: str, group: str) -> Callable[[Callable[[Facts], Finding]], NamedCheck]:
    """Makes a named check of a function. Membership is not its business: see `toolkit.checks.ALL`."""

    def named(judge: Callable[[Facts], Finding]) -> NamedCheck:
        return NamedCheck(id, title, remedy, group, judge)

    return named
