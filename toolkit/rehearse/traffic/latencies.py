"""How long requests and writes took: figures over samples. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from toolkit.report.pictures import percentile


@dataclass(frozen=True)
class Sample:
    """One operation: it began at the monotonic time `at` and took `seconds`.

    `error` is '' when it was answered as it should be.
    """

    at: float
    seconds: float
    error: str = ""

    @property
    def end(self) -> float:
        """The monotonic time at which it ended."""
        return self.at + self.seconds


@dataclass(frozen=True)
class LatencySummary:
    """Percentiles of some samples, in milliseconds."""

    count: int
    failed: int
    p50: float
    p95: float
    p99: float
    worst: float
    worst_at: float


def during(samples: Iterable[Sample], start: float, end: float) -> tuple[Sample, ...]:
    """The samples that were under way between `start` and `end` (monotonic seconds)."""
    return tuple(sample for sample in samples if sample.at < end and sample.end > start)


def with_unsent(samples: Iterable[Sample], period_s: float) -> tuple[Sample, ...]:
    """`samples` and the operations that a stall kept from being sent.

    A client that sends every `period_s` and waits for each answer sends nothing during a stall, so one long sample
    would stand for all the operations that would have waited, and percentiles would look too good. Each of those is
    added, and counts from when it was due.
    """
    return tuple(
        replace(sample, at=sample.at + turn * period_s, seconds=sample.seconds - turn * period_s)
        for sample in samples
        for turn in range(max(1, math.ceil(sample.seconds / period_s)))
    )


def summary_of(samples: Sequence[Sample]) -> LatencySummary | None:
    """The percentiles of `samples`; None without samples."""
    if not samples:
        return None
    times = sorted(sample.seconds * 1000 for sample in samples)
    worst = max(samples, key=lambda sample: sample.seconds)
    return LatencySummary(
        count=len(samples),
        failed=sum(bool(sample.error) for sample in samples),
        p50=percentile(times, 0.50),
        p95=percentile(times, 0.95),
        p99=percentile(times, 0.99),
        worst=times[-1],
        worst_at=worst.at,
    )


def rate(samples: Iterable[Sample], origin: float, width_s: float) -> tuple[tuple[float, float], ...]:
    """Operations per second that ended in each slice of `width_s` since `origin`: points of (seconds, 1/s)."""
    counts: dict[int, int] = {}
    for sample in samples:
        counts[int((sample.end - origin) // width_s)] = counts.get(int((sample.end - origin) // width_s), 0) + 1
    if not counts:
        return ()
    return tuple(((n + 0.5) * width_s, counts.get(n, 0) / width_s) for n in range(max(min(counts), 0), max(counts) + 1))


def peaks(samples: Iterable[Sample], origin: float, width_s: float) -> tuple[tuple[float, float], ...]:
    """The longest operation that ended in each slice of `width_s`: points of (seconds, milliseconds)."""
    longest: dict[int, float] = {}
    for sample in samples:
        place = int((sample.end - origin) // width_s)
        longest[place] = max(longest.get(place, 0.0), sample.seconds * 1000)
    return tuple(((n + 0.5) * width_s, longest[n]) for n in sorted(longest) if n >= 0)
