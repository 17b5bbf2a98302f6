"""A rehearsal's options, what each phase finds, and the diary that the phases share."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from toolkit.report.record import Band, Check, Link, Measurement, Table, Tick, Verdict, shortened, worst
from toolkit.resources import migrations_dir
from toolkit.signoff.evidence import compares

Outcome = Literal["done", "aborted", "not_run"]


@dataclass(frozen=True)
class Size:
    """How much a rehearsal does. Times in seconds, latencies in milliseconds.

    `realtime_runs`: people in each turn when both transports are compared. `baseline_s`: traffic before the migration,
    for comparison; `settle_s`: traffic after it, before it is judged.
    """

    processes: int = 300
    legacy_users: int = 6
    realtime_runs: int = 6
    readers: int = 2
    step_latency_ms: int = 60
    baseline_s: float = 3.0
    settle_s: float = 3.0
    quick: bool = False


QUICK = Size(legacy_users=3, realtime_runs=2, readers=1, step_latency_ms=30, baseline_s=1.0, settle_s=1.0, quick=True)


@dataclass(frozen=True)
class Options:
    """`run_dir` receives the report, the histories and the logs; `data_dir` is where the embedded target lives and is
    removed at the end unless `keep`."""

    data_dir: Path
    run_dir: Path
    size: Size = field(default_factory=Size)
    migrations: Path = field(default_factory=migrations_dir)
    seed: int = 4711
    signed_off_by: str | None = None
    keep: bool = False


@dataclass(frozen=True)
class PhaseResult:
    """What a phase found. `start` and `end` in seconds since the rehearsal began.

    `aborted`: it could not go on, and `error` says why; what it had found by then is kept. `environment`: it was cut
    short by the machine, which says nothing about the migration.
    """

    id: str
    title: str
    outcome: Outcome
    start: float = 0.0
    end: float = 0.0
    checks: tuple[Check, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    tables: tuple[Table, ...] = ()
    links: tuple[Link, ...] = ()
    error: str = ""
    environment: bool = False

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of its checks, but of those that compare the transports (see the report's note); a phase
        that was cut short never passes."""
        if self.outcome == "done":
            return worst(check.verdict for check in self.checks if not compares(check.id))
        return Verdict.FAIL if self.outcome == "aborted" else Verdict.UNKNOWN


class Findings:
    """Collects what one phase finds, so that nothing is lost when it is cut short."""

    def __init__(self, group: str, prefix: str) -> None:
        self.group, self.prefix = group, prefix
        self.checks: list[Check] = []
        self.measurements: list[Measurement] = []
        self.tables: list[Table] = []
        self.links: list[Link] = []

    def check(  # noqa: PLR0917 - id, title, verdict, detail, remedy, witness: the order of the record
        self,
        id: str,
        title: str,
        good: bool | Verdict,
        detail: str = "",
        remedy: str = "",
        witness: Iterable[str] = (),
        *,
        most: int = 12,
    ) -> bool:
        """Record one check as `<prefix>.<id>`, with at most `most` lines of witness; returns whether it passed."""
        verdict = good if isinstance(good, Verdict) else (Verdict.PASS if good else Verdict.FAIL)
        remedy = "" if verdict is Verdict.PASS else remedy
        self.checks.append(
            Check(f"{self.prefix}.{id}", title, verdict, detail, remedy, self.group, shortened(witness, most))
        )
        return verdict is Verdict.PASS

    def add(self, checks: Iterable[Check]) -> None:
        """Record checks that were made elsewhere, under this phase's heading."""
        self.checks.extend(replace(check, group=self.group) for check in checks)

    def measure(self, name: str, value: float, unit: str, *, group: str | None = None) -> None:
        """Record a figure."""
        self.measurements.append(Measurement(name, value, unit, self.prefix if group is None else group))

    def verdict_of(self, id: str) -> Verdict:
        """The verdict of `<prefix>.<id>`; unknown when that check was not reached."""
        return worst(check.verdict for check in self.checks if check.id == f"{self.prefix}.{id}")


class Clock:
    """Seconds since the rehearsal began, on the monotonic clock."""

    def __init__(self) -> None:
        self.origin = time.monotonic()

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.origin

    def of(self, monotonic: float) -> float:
        """A time of the monotonic clock as seconds since the beginning."""
        return monotonic - self.origin


@dataclass
class Diary:
    """What the timeline of the report shows: stretches of time and moments, in seconds since the beginning."""

    bands: list[Band] = field(default_factory=list)
    ticks: dict[str, list[Tick]] = field(default_factory=dict)

    def tick(self, lane: str, at: float, label: str, tone: Literal["plain", "good", "warn", "bad"] = "plain") -> None:
        """Add a moment to a lane; lanes appear in the order of their first moment."""
        self.ticks.setdefault(lane, []).append(Tick(at, label, tone))
