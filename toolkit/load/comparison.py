"""Two systems, measured in interleaved rounds: how many times as long the second takes, and whether that is known.

Pure. The unit is the round, not the sample: samples of one round share what the machine was doing, rounds that follow
each other in turns do not. So each round gives one ratio, and the interval of their mean is drawn from the rounds by
bootstrap (percentile, widened for few rounds as Hesterberg does: a plain one of five rounds is a third too narrow).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist, fmean

from toolkit.report.pictures import percentile
from toolkit.report.record import Verdict, worst

# At most so much slower still counts as equal.
TOLERANCE = 0.10
LEAST_ROUNDS = 5
# What a person perceives as at once. It excuses a ratio only of what people perceive as one answer to one action of
# theirs, and only while the whole interval of the new system's value lies below it; the ratio is shown all the same.
PERCEIVED_MS = 100.0
# A p95 of fewer samples is their maximum.
LEAST_FOR_P95 = 20
CONFIDENCE = 0.95
RESAMPLES = 5_000
INTERVAL = f"{CONFIDENCE:.0%} interval by bootstrap over the rounds (expanded percentile, {RESAMPLES:,} resamples)"
# Student's t at 97.5 % by degrees of freedom; from 30 on the normal distribution's is near enough.
_T = {
    4: 2.776,
    5: 2.571,
    6: 2.447,
    7: 2.365,
    8: 2.306,
    9: 2.262,
    10: 2.228,
    11: 2.201,
    12: 2.179,
    13: 2.160,
    14: 2.145,
    15: 2.131,
    16: 2.120,
    17: 2.110,
    18: 2.101,
    19: 2.093,
    20: 2.086,
    21: 2.080,
    22: 2.074,
    23: 2.069,
    24: 2.064,
    25: 2.060,
    26: 2.056,
    27: 2.052,
    28: 2.048,
    29: 2.045,
}


class Outcome(StrEnum):
    """How the new system compares with the old."""

    BETTER = "better"
    EQUAL = "equal"
    WORSE = "worse"
    UNDECIDED = "undecided"

    @property
    def verdict(self) -> Verdict:
        """Better and equal pass, worse fails, undecided is unknown."""
        return {Outcome.WORSE: Verdict.FAIL, Outcome.UNDECIDED: Verdict.UNKNOWN}.get(self, Verdict.PASS)


@dataclass(frozen=True)
class Interval:
    """An estimate and the bounds of its confidence interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_short(self.low)}–{_short(self.high)}"


@dataclass(frozen=True)
class Compared:
    """One statistic of one figure (`what`: p50, p95, a generation). `old` and `new` are geometric means over the
    rounds; `ratio` None: there were no rounds to compare. `rule` says why the outcome is what it is."""

    what: str
    old: float | None
    new: float | None
    ratio: Interval | None
    outcome: Outcome
    rule: str

    def __str__(self) -> str:
        return f"{self.what}: {self.outcome}: {self.rule}"


def compare_rounds(what: str, old: Sequence[float], new: Sequence[float], *, perceived: bool = False) -> Compared:
    """Compare one statistic, measured in each round on both systems: `old[n]` beside `new[n]`, smaller is better.

    `perceived`: milliseconds that a person waits for an answer, to which the floor of 100 ms applies.
    """
    pairs = [(a, b) for a, b in zip(old, new, strict=True) if a > 0 and b > 0]
    if not pairs:
        return Compared(what, None, None, None, Outcome.UNDECIDED, "nothing was measured on both sides in one round")
    value = mean_interval([b for _, b in pairs])
    before = mean_interval([a for a, _ in pairs]).estimate
    ratio = mean_interval([b / a for a, b in pairs])
    if len(pairs) < LEAST_ROUNDS:
        outcome, rule = Outcome.UNDECIDED, f"only {len(pairs)} rounds with both, and {LEAST_ROUNDS} are needed"
    else:
        outcome, rule = _ruled(ratio)
        if perceived and outcome.verdict is not Verdict.PASS and value.high < PERCEIVED_MS:
            rule = (
                f"to a person: {value.estimate:.0f} against {before:.0f} ms, below the {PERCEIVED_MS:g} ms within "
                f"which an answer is perceived as immediate; by ratio {outcome}, interval {ratio}"
            )
            outcome = Outcome.EQUAL
    return Compared(what, before, value.estimate, ratio, outcome, rule)


def _ruled(ratio: Interval) -> tuple[Outcome, str]:
    limit = 1 + TOLERANCE
    if ratio.high < 1:
        return Outcome.BETTER, f"faster, interval {ratio}"
    if ratio.low >= 1 / limit and ratio.high <= limit:
        return Outcome.EQUAL, f"within {TOLERANCE:.0%}, interval {ratio}"
    if ratio.high <= limit:
        return Outcome.EQUAL, f"not more than {TOLERANCE:.0%} slower, interval {ratio}"
    if ratio.low > limit:
        return Outcome.WORSE, f"more than {TOLERANCE:.0%} slower, interval {ratio}"
    return Outcome.UNDECIDED, f"interval {ratio} holds both less and more than {TOLERANCE:.0%} slower: more rounds"


def compare_samples(
    old: Sequence[Sequence[float]], new: Sequence[Sequence[float]], *, perceived: bool = False
) -> tuple[Compared, ...]:
    """The median of each round compared, and the p95 where every round has enough samples for one."""
    both = [(a, b) for a, b in zip(old, new, strict=True) if a and b]
    shares = [("p50", 0.5)]
    if both and min(len(side) for pair in both for side in pair) >= LEAST_FOR_P95:
        shares.append(("p95", 0.95))
    return tuple(
        compare_rounds(
            name,
            [percentile(sorted(a), share) for a, _ in both],
            [percentile(sorted(b), share) for _, b in both],
            perceived=perceived,
        )
        for name, share in shares
    )


def verdict_of(compared: Sequence[Compared]) -> Verdict:
    """The verdict over several statistics: fails when one is worse, unknown when one is undecided."""
    return worst(one.outcome.verdict for one in compared)


def mean_interval(values: Sequence[float]) -> Interval:
    """The geometric mean of positive values and its interval. One value has no width, and nothing to say about it."""
    logs = [math.log(value) for value in values]
    center, size = fmean(logs), len(logs)
    rng = random.Random(0)  # noqa: S311 - the same rounds always give the same interval
    means = sorted(fmean(rng.choices(logs, k=size)) for _ in range(RESAMPLES)) if size > 1 else [center]
    tail = _tail(size)
    low, high = percentile(means, tail), percentile(means, 1 - tail)
    return Interval(math.exp(center), math.exp(min(low, center)), math.exp(max(high, center)))


def _tail(rounds: int) -> float:
    """The share of resamples to leave out at each end."""
    if rounds < LEAST_ROUNDS:
        return 0.0
    normal = NormalDist()
    t = _T.get(rounds - 1, normal.inv_cdf((1 + CONFIDENCE) / 2))
    return normal.cdf(-t * math.sqrt(rounds / (rounds - 1)))


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def ratios(compared: Mapping[str, Sequence[Compared]]) -> dict[str, float]:
    """`figure p50` → ratio, for those that could be compared."""
    return {
        f"{figure} {one.what}": one.ratio.estimate
        for figure, several in compared.items()
        for one in several
        if one.ratio is not None
    }
