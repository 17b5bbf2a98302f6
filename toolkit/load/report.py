"""Makes one report of what the workers found, and compares the reports of the two transports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from toolkit.load.figures import (
    DELIVERY,
    FIGURES,
    FIRST_EVENT,
    GENERATION,
    REACTION,
    START,
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
COMPARISON = "load.comparison"
GROUP = "comparison"
# The comparison leaves room for noise: both runs share a machine with other work. A second still feels immediate;
# criterion 10 has the same limit for the first feedback.
TOLERANCE = 0.10
IMMEDIATE_MS = 1000.0
COMPARED = (START, FIRST_EVENT, GENERATION)
# The figures that are shown over time; the others have one sample a generation, or follow the same curve.
OVER_TIME = (FIRST_EVENT, REACTION, DELIVERY)
STRETCHES = 60
LOCUST_PAGE = "locust.html"
UNITS = {
    "clock offset": "ms",
    "CPU of the load generator": "s",
    "requests": "requests",
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


def report(planned: Planned, outcomes: Sequence[Outcome], thresholds: Thresholds, *, began: datetime) -> Report:
    """The report of one transport's run. What was not observed is unknown, never a pass."""
    group = planned.transport
    whole = together(outcomes) if outcomes else Outcome(worker="none")
    checks = [
        _reached(whole, group),
        _workers(planned, outcomes),
        _users(planned, whole),
        _completed(whole, group),
        _failures(whole, thresholds, group),
        *whole.checks,
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
            Link("Locust's own page", LOCUST_PAGE, group),
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


def _over_one_axis(parts: Sequence[Report]) -> tuple[Timeline, ...]:
    """The transports' timelines merged, each beginning at 0."""
    timelines = [timeline for part in parts for timeline in part.timelines]
    if not timelines:
        return ()
    curves = tuple(curve for timeline in timelines for curve in timeline.curves)
    return (Timeline("As each run went on: p95 of each stretch, both from their start", curves=curves, group=GROUP),)


def _reached(whole: Outcome, group: str) -> Check:
    title = "The target answered"
    if whole.environment:
        return Check("load.target", title, Verdict.UNKNOWN, whole.environment, "Start it, or correct its URLs.", group)
    return Check("load.target", title, Verdict.PASS, "", "", group)


def _workers(planned: Planned, outcomes: Sequence[Outcome]) -> Check:
    title, group = "Every worker told what it saw", planned.transport
    detail = f"{len(outcomes)} of {max(planned.workers, 1)} workers"
    if not outcomes or len(outcomes) < planned.workers:
        return Check("load.workers", title, Verdict.UNKNOWN, detail, "Read the workers' logs; run it again.", group)
    return Check("load.workers", title, Verdict.PASS, detail, "", group)


def _users(planned: Planned, whole: Outcome) -> Check:
    title = f"All {planned.users} users worked"
    done = whole.finished_users if planned.generations else whole.users
    detail = f"{done} of {planned.users} users " + ("ran all their generations" if planned.generations else "began")
    if planned.users < 1 or done < planned.users:
        remedy = "Nothing was loaded by the others: see the failures, and the workers' logs."
        return Check("load.users", title, Verdict.UNKNOWN, detail, remedy, planned.transport)
    return Check("load.users", title, Verdict.PASS, detail, "", planned.transport)


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


# -- both transports --------------------------------------------------------------------------


def both(realtime: Report, websocket: Report) -> Report:
    """One report of both runs and their comparison; links lead into the folders `realtime/` and `websocket/`."""
    comparison, table, ratios = compare(realtime, websocket)
    parts = (websocket, realtime)
    return Report(
        name=NAME,
        title=f"Load: {_value(realtime, 'users'):.0f} users at once, Realtime against WebSocket",
        verdict=worst([comparison.verdict, *(part.verdict for part in parts)]),
        started_at=min(part.started_at for part in parts),
        finished_at=max(part.finished_at for part in parts),
        target=realtime.target,
        tool_version=realtime.tool_version,
        checks=(comparison, *(check for part in parts for check in part.checks)),
        measurements=(*ratios, *(measurement for part in parts for measurement in part.measurements)),
        tables=(table, *(table for part in parts for table in part.tables)),
        timelines=_over_one_axis(parts),
        distributions=tuple(replace(picture, group=GROUP) for part in parts for picture in part.distributions),
        links=tuple(
            replace(link, href=f"{part_name}/{link.href}")
            for part_name, part in (("websocket", websocket), ("realtime", realtime))
            for link in part.links
        ),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def compare(realtime: Report, websocket: Report) -> tuple[Check, Table, list[Measurement]]:
    """The check that the sign-off reads (criterion 7), a table to read, and the ratios as measurements."""
    rows: list[tuple[str, ...]] = []
    ratios: list[Measurement] = []
    slower: list[str] = []
    unmeasured: list[str] = []
    facts: list[str] = []
    for figure in COMPARED:
        for name in ("p50", "p95"):
            new, old = _figure(realtime, f"{figure} {name}"), _figure(websocket, f"{figure} {name}")
            if new is None or old is None:
                unmeasured.append(f"{figure} {name}")
                continue
            ratio = new / old if old else float(new > 0)
            ratios.append(Measurement(f"{figure} {name} ratio", round(ratio, 3), "x", GROUP))
            rows.append((f"{figure} {name}, ms", f"{old:.1f}", f"{new:.1f}", f"{ratio:.2f}"))
            facts.append(f"{figure} {name} {new:.0f} against {old:.0f} ms")
            immediate = 0.0 if figure == GENERATION else IMMEDIATE_MS
            if new > max(old * (1 + TOLERANCE), immediate):
                slower.append(f"{figure} {name} {new:.0f} against {old:.0f} ms")
    for figure in ("answer", "reaction", "event delivery"):
        new, old = _figure(realtime, f"{figure} p95"), _figure(websocket, f"{figure} p95")
        if new is not None:
            rows.append((f"{figure} p95, ms", "–" if old is None else f"{old:.1f}", f"{new:.1f}", "–"))
    for name in (
        "generations completed",
        "generations failed",
        "events in the database",
        "delivered",
        "lost",
        "CPU of the servers",
        "CPU of the database",
        "CPU of the load generator",
    ):
        new, old = _figure(realtime, name), _figure(websocket, name)
        if new is not None or old is not None:
            rows.append((name, *("–" if value is None else f"{value:g}" for value in (old, new)), "–"))
    title = "Realtime meets or exceeds the WebSocket version under load"
    bad = [part.title for part in (websocket, realtime) if part.verdict is Verdict.FAIL]
    open_ = [part.title for part in (websocket, realtime) if part.verdict is Verdict.UNKNOWN]
    if bad:
        verdict, detail = Verdict.FAIL, f"not passed by itself: {', '.join(bad)}"
    elif open_ or unmeasured:
        verdict = Verdict.UNKNOWN
        detail = "; ".join([*(f"unknown: {name}" for name in open_), *(f"not measured: {name}" for name in unmeasured)])
    elif slower:
        verdict, detail = Verdict.FAIL, "slower: " + ", ".join(slower)
    else:
        verdict, detail = Verdict.PASS, ", ".join(facts)
    remedy = (
        f"A generation may take {TOLERANCE:.0%} longer, and start and first event up to {IMMEDIATE_MS:g} ms: look at "
        "the workers' concurrency, the queue and the CPU."
    )
    check = Check(COMPARISON, title, verdict, detail, "" if verdict is Verdict.PASS else remedy, GROUP)
    table = Table("Comparison", ("", "WebSocket", "Realtime", "Ratio"), tuple(rows), GROUP)
    return check, table, ratios


def _figure(part: Report, name: str) -> float | None:
    return next((m.value for m in part.measurements if m.name == name), None)


def _value(part: Report, name: str) -> float:
    found = _figure(part, name)
    return 0.0 if found is None else found


def _spoken(transport: str) -> str:
    return {"realtime": "Realtime", "websocket": "the legacy WebSocket"}.get(transport, transport)
