"""Makes one report of what the workers found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from toolkit.load.figures import (
    DELIVERY,
    FIGURES,
    FIRST_EVENT,
    REACTION,
    Thresholds,
    judge_figures,
    p,
)
from toolkit.load.outcome import Outcome, together
from toolkit.report.record import (
    Check,
    Curve,
    Distribution,
    Link,
    Measurement,
    Report,
    Table,
    Timeline,
    Verdict,
    tool_version,
    worst,
)

NAME = "load"
# The figures that are shown over time; the others have one sample a generation, or follow the same curve.
OVER_TIME = (FIRST_EVENT, REACTION, DELIVERY)
STRETCHES = 60
LOCUST_PAGE = "locust.html"
UNITS = {
    "clock offset": "ms",
    "CPU of the load generator": "s",
    "requests": "requests",
    "prompts put": "prompts",
    "prompts answered": "prompts",
    "requests unanswered": "requests",
    "answers 5xx": "answers",
    "reconnects": "connections",
    "processes judged": "processes",
}


@dataclass(frozen=True)
class Planned:
    """What the run was asked to do. `generations` 0: until the run is stopped. `target` is shown unchanged, so
    redacted."""

    transport: str
    users: int
    generations: int
    workers: int
    target: str


def report(
    planned: Planned,
    outcomes: Sequence[Outcome],
    thresholds: Thresholds,
    *,
    began: datetime,
    group: str | None = None,
    locust: bool = True,
) -> Report:
    """The report of one transport's run. What was not observed is unknown, never a pass.

    `group`: the heading of its checks and figures, the transport without one. `locust`: Locust wrote a page of its own.
    """
    group = group or planned.transport
    whole = together(outcomes) if outcomes else Outcome(worker="none")
    checks = [
        _reached(whole, group),
        _workers(planned, outcomes, group),
        _users(planned, whole, group),
        _completed(whole, group),
        _failures(whole, thresholds, group),
        *(replace(check, group=group) for check in whole.checks),
        *judge_figures(whole.samples, thresholds, group),
    ]
    return Report(
        name=NAME,
        title=f"Load: {planned.users} users at once over {_spoken(group)}",
        verdict=worst(check.verdict for check in checks),
        started_at=began,
        finished_at=datetime.now(UTC),
        target=planned.target,
        tool_version=tool_version(),
        checks=tuple(checks),
        measurements=tuple(_measurements(whole, group)),
        tables=(_figures_table(whole, group),),
        timelines=over_time(whole, group, began),
        distributions=tuple(
            Distribution(f"{figure}: {FIGURES[figure]}", "ms", tuple(values), group, _spoken(group))
            for figure in FIGURES
            if (values := whole.samples.get(figure))
        ),
        links=(
            *((Link("Locust's own page", LOCUST_PAGE, group),) if locust else ()),
            *(Link("History", path, group) for path in whole.histories),
        ),
        notes=whole.notes,
    )


def over_time(whole: Outcome, transport: str, began: datetime) -> tuple[Timeline, ...]:
    """How long users waited in the course of the run: the p95 of each figure in each time slice."""
    origin = began.timestamp()
    last = max((at for moments in whole.moments.values() for at in moments), default=origin)
    width = max((last - origin) / STRETCHES, 0.5)
    series = _spoken(transport)
    curves = []
    for figure in OVER_TIME:
        stretches: dict[int, list[float]] = {}
        for value, at in zip(whole.samples.get(figure, ()), whole.moments.get(figure, ()), strict=True):
            stretches.setdefault(max(0, int((at - origin) / width)), []).append(value)
        points = tuple(((number + 0.5) * width, p(values, 0.95)) for number, values in sorted(stretches.items()))
        if len(points) > 1:
            curves.append(Curve(f"{figure}, p95", "ms", points, series))
    title = f"As the run went on: p95 of each {width:.2g} s"
    return (Timeline(title, curves=tuple(curves), group=transport),) if curves else ()


def _reached(whole: Outcome, group: str) -> Check:
    title = "The target answered"
    if whole.environment:
        return Check("load.target", title, Verdict.UNKNOWN, whole.environment, "Start it, or correct its URLs.", group)
    return Check("load.target", title, Verdict.PASS, "", "", group)


def _workers(planned: Planned, outcomes: Sequence[Outcome], group: str) -> Check:
    title = "Every worker told what it saw"
    detail = f"{len(outcomes)} of {max(planned.workers, 1)} workers"
    if not outcomes or len(outcomes) < planned.workers:
        return Check("load.workers", title, Verdict.UNKNOWN, detail, "Read the workers' logs; run it again.", group)
    return Check("load.workers", title, Verdict.PASS, detail, "", group)


def _users(planned: Planned, whole: Outcome, group: str) -> Check:
    title = f"All {planned.users} users worked"
    done = whole.finished_users if planned.generations else whole.users
    detail = f"{done} of {planned.users} users " + ("ran all their generations" if planned.generations else "began")
    if planned.users < 1 or done < planned.users:
        remedy = "Nothing was loaded by the others: see the failures, and the workers' logs."
        return Check("load.users", title, Verdict.UNKNOWN, detail, remedy, group)
    return Check("load.users", title, Verdict.PASS, detail, "", group)


def _completed(whole: Outcome, group: str) -> Check:
    title = "Generations came to their article"
    detail = f"{whole.completed} of {whole.started} completed, {whole.failed} failed"
    detail += f", {whole.stopped} were cut off by the end of the run" if whole.stopped else ""
    if whole.completed == 0:
        verdict = Verdict.FAIL if whole.failed else Verdict.UNKNOWN
        return Check("load.completed", title, verdict, detail, "A run in which nothing completed shows nothing.", group)
    return Check("load.completed", title, Verdict.PASS, detail, "", group)


def _failures(whole: Outcome, thresholds: Thresholds, group: str) -> Check:
    title = f"At most {thresholds.max_failures} generations failed"
    if not whole.started:
        return Check("load.failures", title, Verdict.UNKNOWN, "none was started", "See the target.", group)
    verdict = Verdict.PASS if whole.failed <= thresholds.max_failures else Verdict.FAIL
    remedy = "" if verdict is Verdict.PASS else "Find each process in the history and in the server's log."
    return Check("load.failures", title, verdict, f"{whole.failed} of {whole.started}", remedy, group, whole.failures)


def _measurements(whole: Outcome, group: str) -> list[Measurement]:
    found = [
        Measurement("users", whole.users, "users", group),
        Measurement("generations started", whole.started, "generations", group),
        Measurement("generations completed", whole.completed, "generations", group),
        Measurement("generations failed", whole.failed, "generations", group),
    ]
    found += [Measurement(name, value, UNITS.get(name, "events"), group) for name, value in whole.counts.items()]
    for figure in FIGURES:
        if values := whole.samples.get(figure):
            found += [
                Measurement(f"{figure} {name}", round(p(values, share), 3), "ms", group)
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            ]
            found.append(Measurement(f"{figure} max", round(max(values), 3), "ms", group))
    return found


def _figures_table(whole: Outcome, group: str) -> Table:
    rows = tuple(
        (
            figure,
            FIGURES[figure],
            str(len(values)),
            *(f"{p(values, share):.1f}" for share in (0.5, 0.95, 0.99)),
            f"{max(values):.1f}",
        )
        for figure in FIGURES
        if (values := whole.samples.get(figure))
    )
    return Table(f"{_spoken(group)}, ms", ("Figure", "What it is", "Samples", "p50", "p95", "p99", "max"), rows, group)


def _spoken(transport: str) -> str:
    return {"realtime": "Realtime", "websocket": "the legacy WebSocket"}.get(transport, transport)
