"""A named check: a pure function over gathered facts, with an id, a title and a remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from toolkit.checks.absent import Absent, Undetermined
from toolkit.checks.facts import Facts
from toolkit.report.record import Check, Evidence, Verdict, shortened

F = TypeVar("F")


def passed(detail: str = "", *, warning: str = "") -> Check:
    """A pass; `detail` says what was seen, and `warning` is shown all the same."""
    return Check("", "", Verdict.PASS, detail, evidence=(Evidence(warning),) if warning else ())


def failed(detail: str, witness: Sequence[str] = ()) -> Check:
    """A failure, with the lines that show it."""
    return Check("", "", Verdict.FAIL, detail, witness=shortened(witness))


def unknown(reason: str, remedy: str = "") -> Undetermined:
    """The error to raise when the facts are present and still do not decide."""
    return Undetermined(Absent(reason, remedy))


def none_of(problems: Sequence[str], wrong: str, fine: str) -> Check:
    """A failure with the problems as witness, or a pass when there are none."""
    return failed(wrong, problems) if problems else passed(fine)


@dataclass(frozen=True)
class NamedCheck(Generic[F]):
    """One check. `judge` decides from the facts alone; `remedy`: what to do about a failure."""

    id: str
    title: str
    remedy: str
    group: str
    judge: Callable[[F], Check]

    def run(self, facts: F) -> Check:
        """The check's verdict on these facts; an absent fact makes it unknown."""
        try:
            found = self.judge(facts)
        except Undetermined as open_question:
            found = Check("", "", Verdict.UNKNOWN, open_question.absent.reason, open_question.absent.remedy)
        return found.named(self.id, self.title, remedy=self.remedy, group=self.group)


def check(id: str, title: str, *, remedy: str, group: str) -> Callable[[Callable[[Facts], Check]], NamedCheck[Facts]]:
    """A decorator that makes a NamedCheck of a function; it must also be listed in `toolkit.checks.ALL`."""

    def named(judge: Callable[[Facts], Check]) -> NamedCheck[Facts]:
        return NamedCheck(id, title, remedy, group, judge)

    return named
