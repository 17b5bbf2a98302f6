"""What the rounds of two transports say: a verdict for each figure, by a rule that stands beside it in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolkit.load.comparison import (
    INTERVAL,
    PERCEIVED_MS,
    TOLERANCE,
    Compared,
    compare_rounds,
    compare_samples,
    verdict_of,
)
from toolkit.load.figures import CAUGHT_UP, FIGURES, FIRST_EVENT, GENERATION, REACTION
from toolkit.load.report import NAME
from toolkit.load.rounds import Side
from toolkit.report.pictures import quantity
from toolkit.report.record import Check, Curve, Link, Measurement, Report, Table, Timeline, Verdict, worst

COMPARISON = "load.comparison"
GROUP = "comparison"
# The start is told only: the old socket answers it with its first frame, so the first event holds it on both sides.
JUDGED = (FIRST_EVENT, REACTION, CAUGHT_UP, GENERATION)
# What a person perceives as the answer to what they just did: started, answered, opened the page again.
PERCEIVED = frozenset({FIRST_EVENT, REACTION, CAUGHT_UP})
RULE = (
    f"Each round gives one ratio, new to old; the ratio shown is their geometric mean, with its {INTERVAL}. Better: "
    f"the whole interval is below 1. Equal: it ends at or below {1 + TOLERANCE:g}. Worse: it begins above "
    f"{1 + TOLERANCE:g}. Undecided: anything else, or too few rounds. First event, reaction and back again, which "
    f"people perceive, also count as equal while the new system's whole interval is below {PERCEIVED_MS:g} ms. What a "
    "generation costs is told, not judged."
)


@dataclass(frozen=True)
class Comparison:
    """`checks`: one for each figure and, first, the one over all of them, which the sign-off reads as criterion 7."""

    checks: tuple[Check, ...]
    table: Table
    measurements: tuple[Measurement, ...]
    timelines: tuple[Timeline, ...]

    @property
    def whole(self) -> Check:
        """The check over all figures."""
        return self.checks[0]


def compare(sides: tuple[Side, Side], judged: Sequence[str] = JUDGED, *, group: str = GROUP) -> Comparison:
    """Judge the figures named by `judged`, and tell the others. The sides must be settled."""
    old, new = sides
    compared = {
        figure: compare_samples(*(_samples(side, figure) for side in sides), perceived=figure in PERCEIVED)
        for figure in FIGURES
        if any(_samples(new, figure))
    }
    checks = [_figure_check(sides, figure, compared.get(figure, ()), group) for figure in judged]
    costs = _costs(sides)
    whole = _whole(sides, checks, judged, costs, group)
    rows = [
        _row(f"{figure} {one.what}, ms", one, judged=figure in judged)
        for figure, several in compared.items()
        for one in several
    ]
    rows += [_row(f"{one.what}, s a generation", one, judged=False) for one in costs]
    named = {f"{figure} {one.what}": one for figure, several in compared.items() for one in several}
    named |= {one.what: one for one in costs}
    return Comparison(
        (whole, *checks),
        Table("Comparison", ("", old.name, new.name, "ratio", "interval", "verdict"), tuple(rows), group),
        tuple(
            Measurement(f"{name} ratio{bound}", round(value, 4), "x", group)
            for name, one in named.items()
            if one.ratio is not None
            for bound, value in (("", one.ratio.estimate), (", low", one.ratio.low), (", high", one.ratio.high))
        ),
        _by_round(sides, group),
    )


def _samples(side: Side, figure: str) -> list[list[float]]:
    return [taken.get(figure, []) for taken in side.samples]


def _costs(sides: tuple[Side, Side]) -> list[Compared]:
    pairs = [(a, b) for a, b in zip(*(side.costs for side in sides), strict=False) if a and b]
    names = [name for name in pairs[0][0] if all(name in cost for pair in pairs for cost in pair)] if pairs else []
    return [compare_rounds(name, [a[name] for a, _ in pairs], [b[name] for _, b in pairs]) for name in names]


def _figure_check(sides: tuple[Side, Side], figure: str, compared: Sequence[Compared], group: str) -> Check:
    old, new = sides
    title = f"{figure.capitalize()}: {new.name} takes at most as long as {old.name}"
    id = f"load.compare.{figure.replace(' ', '-')}"
    words = "; ".join(f"{one} ({_amounts(one)})" for one in compared)
    if limit := _beyond_its_limits(sides):
        detail = f"unknown, since {limit}" + (f"; measured: {words}" if words else "")
        return Check(
            id, title, Verdict.UNKNOWN, detail, "Load it with fewer users, or from a machine that is idle.", group
        )
    if not compared:
        return Check(id, title, Verdict.UNKNOWN, "nothing was measured", "See the failures of both sides.", group)
    verdict = verdict_of(compared)
    remedy = {
        Verdict.FAIL: "Look where the time goes: the servers' CPU, the queue, the database.",
        Verdict.UNKNOWN: "Give more rounds or more users, on a machine that does nothing else.",
    }
    return Check(id, title, verdict, words, remedy.get(verdict, ""), group)


def _beyond_its_limits(sides: tuple[Side, Side]) -> str:
    found = [
        check.detail
        for side in sides
        if side.report is not None
        for check in side.report.checks
        if check.id == "load.instrument" and check.verdict is not Verdict.PASS
    ]
    return found[0] if found else ""


def _whole(
    sides: tuple[Side, Side], checks: Sequence[Check], judged: Sequence[str], costs: Sequence[Compared], group: str
) -> Check:
    old, new = sides
    title = f"{new.name.capitalize()} meets or exceeds {old.name} (judged: {', '.join(judged)})"
    by_themselves = {
        verdict: [
            f"{side.name}: {check.title}"
            for side in sides
            if side.report is not None
            for check in side.report.checks
            if check.verdict is verdict
        ]
        for verdict in (Verdict.FAIL, Verdict.UNKNOWN)
    }
    verdict = worst(
        [*(check.verdict for check in checks), *(verdict for verdict, titles in by_themselves.items() if titles)]
    )
    facts = [f"{verdict} by itself: {titles[0]}" for verdict, titles in by_themselves.items() if titles]
    ordered = sorted(checks, key=lambda check: (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS).index(check.verdict))
    facts += [f"{check.title.split(':', 1)[0].lower()} {check.detail}" for check in ordered]
    if costs:
        facts.append("told, not judged: " + ", ".join(f"{one.what} {_times(one)}" for one in costs))
    remedy = "" if verdict is Verdict.PASS else "The figures' own checks say which rule was not met; see `Comparison`."
    return Check(COMPARISON, title, verdict, "; ".join(facts), remedy, group)


def _times(one: Compared) -> str:
    return "unknown" if one.ratio is None else f"{one.ratio.estimate:.2f}× ({one.ratio})"


def _amounts(one: Compared) -> str:
    if one.old is None or one.new is None:
        return "–"
    return f"{quantity(one.new, 'ms')} against {quantity(one.old, 'ms')}"


def _row(name: str, one: Compared, *, judged: bool) -> tuple[str, ...]:
    if one.old is None or one.new is None or one.ratio is None:
        return (name, "–", "–", "–", "–", "told: only one of the two has it" if not judged else str(one.outcome))
    outcome = f"{one.outcome}: {one.rule}"
    return (
        name,
        f"{one.old:.4g}",
        f"{one.new:.4g}",
        f"{one.ratio.estimate:.2f}",
        str(one.ratio),
        outcome if judged else f"told, not judged; {outcome}",
    )


def _by_round(sides: tuple[Side, Side], group: str) -> tuple[Timeline, ...]:
    """The median of each figure in each round, both sides over one axis."""
    curves = []
    for figure in JUDGED:
        for side in sides:
            points = tuple(
                (float(turn), sorted(values)[len(values) // 2])
                for turn, values in enumerate(_samples(side, figure), 1)
                if values
            )
            if len(points) > 1:
                curves.append(Curve(f"{figure}, median", "ms", points, side.name))
    return (Timeline("Round by round (the axis counts rounds)", curves=tuple(curves), group=group),) if curves else ()


def report_of(sides: tuple[Side, Side], comparison: Comparison, notes: Sequence[str]) -> Report:
    """One report of both sides and their comparison, the comparison first."""
    parts = [side.report for side in sides if side.report is not None]
    old, new = sides
    rounds = min(len(side.samples) for side in sides)
    return Report(
        name=NAME,
        title=f"Load: {new.name} compared with {old.name} in {rounds} interleaved rounds",
        verdict=worst([*(check.verdict for check in comparison.checks), *(part.verdict for part in parts)]),
        started_at=min(part.started_at for part in parts),
        finished_at=max(part.finished_at for part in parts),
        target=parts[0].target,
        tool_version=parts[0].tool_version,
        checks=(*comparison.checks, *(check for part in parts for check in part.checks)),
        measurements=(*comparison.measurements, *(figure for part in parts for figure in part.measurements)),
        tables=(comparison.table, *(table for part in parts for table in part.tables)),
        timelines=comparison.timelines,
        distributions=tuple(
            replace(picture, group=GROUP, series=side.name)
            for side in sides
            if side.report is not None
            for picture in side.report.distributions
        ),
        links=tuple(Link(link.title, link.href, link.group) for part in parts for link in part.links),
        notes=tuple(dict.fromkeys([RULE, *notes, *(note for part in parts for note in part.notes)])),
    )
