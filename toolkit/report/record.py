"""The record that every command returns and every renderer reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from toolkit.errors import ExitCode


class Verdict(StrEnum):
    """`unknown` means: could not be determined. It is never as good as `pass`."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    UNKNOWN = "unknown"


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst verdict: fail before unknown before pass; unknown when there is none."""
    seen = set(verdicts)
    if Verdict.FAIL in seen:
        return Verdict.FAIL
    if Verdict.UNKNOWN in seen or not seen:
        return Verdict.UNKNOWN
    return Verdict.PASS


MOST_LINES = 20


def counted(number: int, noun: str) -> str:
    """`1 table`, `2 tables`, `1,000 tables`; for nouns whose plural ends in s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def shortened(lines: Iterable[str], most: int | None = MOST_LINES) -> tuple[str, ...]:
    """At most `most` lines (None: all), and a line that says how many were left out. Every list is cut by this
    function."""
    found = tuple(lines)
    return found if most is None or len(found) <= most else (*found[:most], f"… and {len(found) - most} more")


@dataclass(frozen=True)
class Evidence:
    """One fact on which a verdict rests, and the files that contain it: paths like those of a `Link`."""

    fact: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: the record of every verdict, whoever gave it.

    `group` gathers checks under one heading (a scenario, a phase). `witness`: the lines that prove a failure, shortest
    first; `evidence`: what the verdict rests on, pass or failure. A function that judges may leave `id` and `title`
    empty: `named` adds them.
    """

    id: str
    title: str
    verdict: Verdict
    detail: str = ""
    remedy: str = ""
    group: str = ""
    witness: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    def named(self, id: str, title: str, *, remedy: str = "", group: str = "") -> Check:
        """The same verdict with this id, title and group, and with `remedy` where it failed and has none."""
        remedy = self.remedy or (remedy if self.verdict is Verdict.FAIL else "")
        return replace(self, id=id, title=title, remedy=remedy, group=group)

    @property
    def seen(self) -> str:
        """What the verdict rests on, in one line."""
        return "; ".join(filter(None, (self.detail, *self.witness)))

    @classmethod
    def of_lines(
        cls,
        id: str,
        title: str,
        violations: Iterable[str],
        *,
        detail: str = "",
        remedy: str = "",
        group: str = "",
        most: int | None = MOST_LINES,
    ) -> Check:
        """A pass without violations, else a failure with at most `most` of them and with the remedy."""
        witness = shortened(violations, most)
        verdict = Verdict.FAIL if witness else Verdict.PASS
        return cls(id, title, verdict, detail, remedy if witness else "", group, witness)


@dataclass(frozen=True)
class Measurement:
    """A figure with its unit, for example ("delivery p95", 12.5, "ms")."""

    name: str
    value: float
    unit: str
    group: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text under columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    group: str = ""


@dataclass(frozen=True)
class Link:
    """A file that belongs to the report; `href` is relative to the report's folder or, when nothing was saved, to the
    working directory."""

    title: str
    href: str
    group: str = ""


Tone = Literal["plain", "good", "warn", "bad"]


@dataclass(frozen=True)
class Tick:
    """A moment on a lane, `at` seconds after the timeline's beginning."""

    at: float
    label: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Lane:
    """One row of a timeline."""

    name: str
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Band:
    """A stretch of time across all lanes, in seconds: a fault, a phase, a stall."""

    start: float
    end: float
    label: str
    tone: Tone = "warn"


@dataclass(frozen=True)
class Curve:
    """Figures over the same time axis: points of (seconds, value).

    Curves of one name and unit with different `series` (two transports, say) are drawn over one axis.
    """

    name: str
    unit: str
    points: tuple[tuple[float, float], ...]
    series: str = ""


@dataclass(frozen=True)
class Timeline:
    """Lanes, bands and curves over one axis of seconds."""

    title: str
    lanes: tuple[Lane, ...] = ()
    bands: tuple[Band, ...] = ()
    curves: tuple[Curve, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Distribution:
    """Samples of one figure, drawn as a histogram with its percentiles.

    Those of one group and unit are drawn over one axis; `series` distinguishes samples of the same figure (two
    transports, say). In a title, what was measured may follow a colon.
    """

    title: str
    unit: str
    samples: tuple[float, ...]
    group: str = ""
    series: str = ""


@dataclass(frozen=True)
class Report:
    """What a command found.

    `target` is shown as it stands, so it must be redacted (`report.redact`). `criteria` is filled by
    the rehearsal and the sign-off, in the order of the migration guide. Times are aware, in UTC. A report in which
    nothing was looked at is never a pass: it becomes unknown. Checks stand in the order of `by_verdict` whatever order
    they are given in, so that every renderer shows first what failed.
    """

    name: str
    title: str
    verdict: Verdict
    started_at: datetime
    finished_at: datetime
    target: str
    tool_version: str
    checks: tuple[Check, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    criteria: tuple[Check, ...] = ()
    tables: tuple[Table, ...] = ()
    timelines: tuple[Timeline, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    links: tuple[Link, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "checks", by_verdict(self.checks))
        if self.verdict is Verdict.PASS and not self.checks and not self.criteria:
            object.__setattr__(self, "verdict", Verdict.UNKNOWN)

    @property
    def exit_code(self) -> ExitCode:
        """0 pass, 1 fail, 3 unknown."""
        return {Verdict.PASS: ExitCode.PASS, Verdict.FAIL: ExitCode.FAIL, Verdict.UNKNOWN: ExitCode.UNKNOWN}[
            self.verdict
        ]

    def count(self, verdict: Verdict) -> int:
        """How many checks have this verdict; how many criteria, in a report without checks."""
        return sum(check.verdict is verdict for check in self.checks or self.criteria)


def by_verdict(checks: Iterable[Check]) -> tuple[Check, ...]:
    """The checks that failed, then the unknown, then those that passed; otherwise in the given order.

    The checks of one group stay together, at the place of the group's worst check.
    """
    rank = {Verdict.FAIL: 0, Verdict.UNKNOWN: 1, Verdict.PASS: 2}
    gathered = groups(tuple(checks)).values()
    ordered = sorted(gathered, key=lambda group: min(rank[check.verdict] for check in group))
    return tuple(check for group in ordered for check in sorted(group, key=lambda check: rank[check.verdict]))


def files_of(check: Check) -> tuple[str, ...]:
    """Every file that the check's evidence names, once."""
    return tuple(dict.fromkeys(file for one in check.evidence for file in one.files))


def groups(items: Sequence[Check]) -> dict[str, list[Check]]:
    """Checks by group, in order of first appearance."""
    found: dict[str, list[Check]] = {}
    for item in items:
        found.setdefault(item.group, []).append(item)
    return found


def tool_version() -> str:
    """The installed version of the toolkit."""
    try:
        return version("realtime-migration-toolkit")
    except PackageNotFoundError:
        return "unknown"
