"""What a linter says: rules, and what they found where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How bad a finding is. `OFF` is never reported."""

    OFF = 0
    INFO = 1
    WARNING = 2
    ERROR = 3

    @property
    def word(self) -> str:
        """As people write it."""
        return self.name.lower()


LIMITS = tuple(severity.word for severity in (Severity.ERROR, Severity.WARNING, Severity.INFO))


def severity_of(word: str) -> Severity:
    """The severity of this name. Raises KeyError."""
    return Severity[word.upper()]


@dataclass(frozen=True)
class Rule:
    """What is looked for: `title` names the mistake, `why` what it costs on this platform, `remedy` what to write."""

    id: str
    severity: Severity
    title: str
    why: str
    remedy: str

    def found(self, at: At, what: str, remedy: str = "") -> LintFinding:
        """This mistake, made at a place. `remedy` replaces the rule's own where the place asks for a particular one."""
        return LintFinding(self.id, self.severity, at, what, self.why, remedy or self.remedy)


@dataclass(frozen=True, order=True)
class At:
    """A place in a folder: the file as it is named there (`rollbacks/…` for a rollback; "" for the folder itself) and
    the 1-based line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file else "the folder"


@dataclass(frozen=True)
class LintFinding:
    """One finding as it is told. `accepted` is the reason for which it is suppressed, "" when it is not."""

    rule: str
    severity: Severity
    at: At
    what: str
    why: str
    remedy: str
    accepted: str = ""


def in_order(findings: Iterable[LintFinding]) -> tuple[LintFinding, ...]:
    """By file and line, the worst first on one line."""
    return tuple(sorted(findings, key=lambda f: (f.at, -f.severity, f.rule, f.what)))
