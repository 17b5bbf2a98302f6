"""The figures that are measured for each generation, and their limits."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from toolkit.report.pictures import percentile
from toolkit.report.record import Check, Verdict

# When there are more samples than this, percentiles are computed from an even selection of them.
RESERVOIR = 50_000

START = "start"
ANSWER = "answer"
FIRST_EVENT = "first event"
DELIVERY = "event delivery"
REACTION = "reaction"
CAUGHT_UP = "back again"
GENERATION = "generation"

# In the order in which they are shown.
FIGURES: dict[str, str] = {
    START: "until the server says that the process is started",
    FIRST_EVENT: "from the start request to the first event (frame) in the application's hands",
    ANSWER: "until the server accepts the answer to a prompt",
    REACTION: "from an answer to the next event (frame) in the application's hands",
    CAUGHT_UP: "from opening everything again to the open prompt on the screen",
    DELIVERY: "from the row's created_at to the application's hands, live events",
    GENERATION: "from the start request to the finished article",
}


class Samples:
    """The samples of one figure, in milliseconds, each with its time; of very many it keeps an even selection."""

    def __init__(self, keep: int = RESERVOIR) -> None:
        self.count = 0
        self._keep = keep
        self._kept: list[tuple[float, float]] = []
        self._rng = random.Random(0)  # noqa: S311 - which samples are kept needs no secrecy

    def add(self, value: float, at: float) -> None:
        """Add one sample; `value` in milliseconds, `at` in seconds since the epoch."""
        self.count += 1
        if len(self._kept) < self._keep:
            self._kept.append((value, at))
        elif (place := self._rng.randrange(self.count)) < self._keep:
            self._kept[place] = (value, at)

    @property
    def kept(self) -> list[float]:
        """The kept samples in milliseconds, in no particular order."""
        return [value for value, _ in self._kept]

    @property
    def moments(self) -> list[float]:
        """The time of each sample of `kept`, in the same order, in seconds since the epoch."""
        return [at for _, at in self._kept]


@dataclass(frozen=True)
class Thresholds:
    """The limits within which a run passes. Percentiles in milliseconds; None: measured, but not judged.

    The defaults are what a person still perceives as immediate (start, answer, first event) and twice the p95 of an
    idle Supabase project (delivery). How long a generation takes depends on its language model, so it has no limit.
    """

    max_failures: int = 0
    p95_start: float | None = field(default=2000.0, metadata={"figure": START})
    p95_first_event: float | None = field(default=3000.0, metadata={"figure": FIRST_EVENT})
    p95_answer: float | None = field(default=2000.0, metadata={"figure": ANSWER})
    p95_delivery: float | None = field(default=1000.0, metadata={"figure": DELIVERY})
    p95_generation: float | None = field(default=None, metadata={"figure": GENERATION})

    def limits(self) -> dict[str, float]:
        """Figure → the p95 in milliseconds that it must not exceed, for those that are judged."""
        found = {item.metadata["figure"]: getattr(self, item.name) for item in fields(self) if item.metadata}
        return {figure: limit for figure, limit in found.items() if limit is not None}


# An answer over the old socket is acknowledged by nothing, and its frames carry no time of their own.
NOT_ON_WEBSOCKET = frozenset({ANSWER, DELIVERY})


def p(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of unsorted samples; `share` between 0 and 1. There must be at least one sample."""
    return percentile(sorted(samples), share)


def judge_figures(samples: Mapping[str, Sequence[float]], thresholds: Thresholds, transport: str) -> list[Check]:
    """One check for each figure that has a limit; a figure without samples is unknown."""
    found = []
    for figure, limit in thresholds.limits().items():
        if transport == "websocket" and figure in NOT_ON_WEBSOCKET:
            continue
        id = f"load.p95-{figure.replace(' ', '-')}"
        title = f"p95 of {figure} is at most {limit:g} ms"
        values = samples.get(figure, ())
        if not values:
            remedy = "Let at least one generation complete: see the failures."
            found.append(Check(id, title, Verdict.UNKNOWN, "nothing was measured", remedy, transport))
            continue
        value = p(values, 0.95)
        verdict = Verdict.PASS if value <= limit else Verdict.FAIL
        detail = f"{value:.1f} ms (median {p(values, 0.5):.1f} ms, {len(values)} samples)"
        remedy = "" if verdict is Verdict.PASS else "Look at its distribution, at the servers' CPU and at the queue."
        found.append(Check(id, title, verdict, detail, remedy, transport))
    return found
