"""What a named check is: a pure function over gathered facts, with an id, a title and a remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from toolkit.checks.absent import Absent, Undetermined
from toolkit.checks.facts import Facts
from toolkit.report.record import Check, Evidence, Verdict, shortened

F = TypeVar("F")


def passed(detail: str = "", *, warning: str = "") -> Check:
    """Nothing is wrong; `detail` says what was seen. `warning` is a fact to be told all the same."""
    return Check("", "", Verdict.PASS, detail, evidence=(Evidence(warning),) if warning else ())


def failed(detail: str, witness: Sequence[str] = ()) -> Check:
    """Something is wrong, and these lines show it."""
    return Check("", "", Verdict.FAIL, detail, witness=shortened(witness))


def unknown(reason: str, remedy: str = "") -> Undetermined:
    """Raise this where the facts are there and still do not decide."""
    return Undetermined(Absent(reason, remedy))


def none_of(problems: Sequence[str], wrong: str, fine: str) -> Check:
    """Fails with the problems as witness when there are any."""
    return failed(wrong, problems) if problems else passed(fine)


@dataclass(frozen=True)
class NamedCheck(Generic[F]):
    """One check. `judge` decides over the facts, of which it may know nothing but that; `remedy`: of a failure."""

    id: str
    title: str
    remedy: str
    group: str
    judge: Callable[[F], Check]

    def run(self, facts: F) -> Check:
        """The verdict under this check's name. An absent fact makes it unknown."""
        try:
            found = self.judge(facts)
        except Undetermined as open_question:
            found = Check("", "", Verdict.UNKNOWN, open_question.absent.reason, open_question.absent.remedy)
        return found.named(self.id, self.title, remedy=self.remedy, group=self.group)


def check(id: str, title: str, *, remedy: str, group: str) -> Callable[[Callable[[Facts], Check]], NamedCheck[Facts]]:
    """Makes a named check of a function. Membership is not its business: see `toolkit.checks.ALL`."""

    def named(judge: Callable[[Facts], Check]) -> NamedCheck[Facts]:
        return NamedCheck(id, title, remedy, group, judge)

    return named
