"""Makes one report of what the phases found, and saves it."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from toolkit.rehearse.stage.diary import PhaseResult
from toolkit.rehearse.stage.stage import APPLIED, Stage
from toolkit.rehearse.traffic.latencies import peaks, rate
from toolkit.report.files import REPORT_FILE, write
from toolkit.report.record import (
    Band,
    Check,
    Curve,
    Distribution,
    Lane,
    Link,
    Report,
    Table,
    Tick,
    Timeline,
    Verdict,
    tool_version,
    worst,
)
from toolkit.signoff.criteria import NOT_COUNTED_BY_THE_REHEARSAL, judge_all
from toolkit.signoff.evidence import compares, from_report
from toolkit.signoff.sign_off import sign_off_table

WIDE_S = 0.5
NARROW_S = 0.05
# Seconds of traffic before and after the migration that its own picture shows.
AROUND_S = 3.0
SCOPE = (
    "Criterion 7 (performance against WebSocket) is judged here in short form: steps are short, people few, and the "
    "machine is whatever it is. So it does not make the rehearsal's own verdict; `toolkit signoff` counts it."
)


def make_report(stage: Stage, started_at: datetime) -> Report:
    """The report of a finished rehearsal, however it ended."""
    results = stage.results
    checks = tuple(check for result in results for check in _checks(result))
    report = Report(
        name="rehearse",
        title="Rehearsal of the migration",
        verdict=Verdict.UNKNOWN,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        target="embedded",
        tool_version=tool_version(),
        checks=checks,
        measurements=tuple(figure for result in results for figure in result.measurements),
        tables=(_phases(results), *(table for result in results for table in result.tables)),
        timelines=_timelines(stage),
        distributions=(*_distributions(stage), *stage.distributions),
        links=(*(link for result in results for link in result.links), *_logs(stage.options.run_dir)),
        notes=(f"seed {stage.options.seed}", f"data: {_data(stage)}", SCOPE),
    )
    criteria = judge_all(from_report(report, REPORT_FILE))
    counted = [check.verdict for check in criteria if check.id not in NOT_COUNTED_BY_THE_REHEARSAL]
    verdict = worst([*(check.verdict for check in checks if not compares(check.id)), *counted])
    open_criteria = sum(check.verdict is not Verdict.PASS for check in criteria)
    completed = f"{stage.completed_at:%Y-%m-%d %H:%M:%S} UTC" if stage.completed_at else None
    signed = sign_off_table(completed, stage.options.signed_off_by, open_criteria)
    return replace(report, verdict=verdict, criteria=criteria, tables=(*report.tables, signed))


def save(report: Report, run_dir: Path) -> None:
    """Write report.json, report.html and junit.xml, and point the link `latest` beside the folder to it."""
    write(report, run_dir)
    latest = run_dir.parent / "latest"
    if latest.is_symlink() or not latest.exists():
        fresh = run_dir.parent / f".latest-{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(run_dir.name)
        fresh.replace(latest)


def keep_logs(logs: Path, run_dir: Path) -> None:
    """Copy the servers' logs beside the report, before their own folder is removed."""
    if logs.is_dir():
        shutil.copytree(logs, run_dir / "logs", dirs_exist_ok=True)


def _checks(result: PhaseResult) -> Iterable[Check]:
    """The phase's checks, and one more about the phase itself when it did not come to its end."""
    yield from result.checks
    if result.outcome != "done":
        verdict = Verdict.FAIL if result.outcome == "aborted" and not result.environment else Verdict.UNKNOWN
        title = "The phase came to its end" if result.outcome == "aborted" else "The phase was run"
        yield Check(
            f"{result.id}.phase", title, verdict, result.error, "Read the logs in the run's folder.", result.title
        )


def _phases(results: Iterable[PhaseResult]) -> Table:
    rows = tuple(
        (
            result.title,
            str(result.verdict),
            f"{result.end - result.start:.1f} s",
            result.error or f"{sum(c.verdict is Verdict.PASS for c in result.checks)} of {len(result.checks)} checks",
        )
        for result in results
    )
    return Table("Phases", ("phase", "verdict", "took", ""), rows)


def _timelines(stage: Stage) -> tuple[Timeline, ...]:
    whole = Timeline(
        "The whole rehearsal",
        (_phase_lane(stage), *_lanes(stage, 0.0, math.inf)),
        _bands(stage, 0.0, math.inf),
        _curves(stage, stage.clock.origin, math.inf, WIDE_S),
    )
    applied = [band for band in stage.diary.bands if band.label.startswith(APPLIED)]
    if not applied:
        return (whole,)
    start = max(0.0, applied[0].start - AROUND_S)
    last = max(band.end for band in applied if band.start < applied[0].start + 10 * AROUND_S)
    end = last + AROUND_S
    near = Timeline(
        f"The migration under traffic, from {start:.1f} s on",
        tuple(_lanes(stage, start, end)),
        _bands(stage, start, end),
        _curves(stage, stage.clock.origin + start, end - start, NARROW_S),
    )
    return (near, whole)


def _phase_lane(stage: Stage) -> Lane:
    return Lane("phases", tuple(Tick(result.start, result.title) for result in stage.results))


def _curves(stage: Stage, origin: float, length: float, width: float) -> tuple[Curve, ...]:
    if stage.traffic is None:
        return ()
    found = []
    for name, meter in (("request", stage.traffic.requests), ("write", stage.traffic.writes)):
        samples = [sample for sample in meter.samples if 0 <= sample.end - origin <= length]
        found.append(Curve(f"{name}s", "1/s", rate(samples, origin, width)))
        found.append(Curve(f"longest {name}", "ms", peaks(samples, origin, width)))
    return tuple(found)


def _lanes(stage: Stage, start: float, end: float) -> list[Lane]:
    """Lanes of what happened between `start` and `end`; their times count from `start`."""
    lanes = dict(stage.diary.ticks)
    if stage.traffic is not None:
        people = []
        for generation in stage.traffic.generations:
            people.append(Tick(stage.clock.of(generation.began), f"{generation.user} starts"))
            if generation.ended is not None:
                ending = generation.error or f"{generation.user} has the article"
                people.append(Tick(stage.clock.of(generation.ended), ending, "bad" if generation.error else "good"))
        lanes["people's articles"] = sorted(people, key=lambda tick: tick.at)
        failed = (*stage.traffic.requests.failed, *stage.traffic.writes.failed)
        lanes["failed operations"] = [Tick(stage.clock.of(sample.at), sample.error, "bad") for sample in failed]
    return [
        Lane(name, tuple(replace(tick, at=tick.at - start) for tick in ticks if start <= tick.at <= end))
        for name, ticks in lanes.items()
    ]


def _bands(stage: Stage, start: float, end: float) -> tuple[Band, ...]:
    inside = [band for band in stage.diary.bands if band.start < end and band.end > start]
    return tuple(
        replace(band, start=band.start - start, end=min(band.end, end) - start)
        for band in sorted(inside, key=lambda band: band.start)
    )


def _distributions(stage: Stage) -> list[Distribution]:
    if stage.traffic is None:
        return []
    pairs = (
        ("Requests on the legacy API", stage.traffic.requests),
        ("Writes of another application", stage.traffic.writes),
    )
    return [
        Distribution(title, "ms", tuple(sample.seconds * 1000 for sample in meter.samples)) for title, meter in pairs
    ]


def _logs(run_dir: Path) -> list[Link]:
    return [Link(f"Log of {path.stem}", f"logs/{path.name}") for path in sorted((run_dir / "logs").glob("*.log"))]


def _data(stage: Stage) -> str:
    return f"kept in {stage.options.data_dir}" if stage.options.keep else "removed (use --keep to look at it)"
