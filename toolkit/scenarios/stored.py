"""Stored runs: found in a folder, judged again, and merged into one report."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from toolkit.errors import ToolkitError, UsageError
from toolkit.report.record import Check, Link, Report, Table, Verdict, tool_version, worst
from toolkit.scenarios import verdicts
from toolkit.scenarios.model.reading import load
from toolkit.scenarios.recorded import history

HISTORY, SCENARIO = "history.jsonl", "scenario.yaml"


def check_runs(folder: Path) -> Report:
    """Judge the runs in and below `folder` again; returns the report of the only run, or one report over all.

    A run that cannot be read is unknown when there are others. Raises UsageError when there is none, or when the only
    one cannot be read.
    """
    begun = datetime.now(UTC)
    runs = find_runs(folder)
    if runs == (folder,):
        return _judged(folder)
    reports, folders, unreadable = [], [], []
    for run in runs:
        try:
            reports.append(_judged(run))
            folders.append((run.name, run))
        except ToolkitError as error:
            unreadable.append(Check("readable", f"{run} can be judged", Verdict.UNKNOWN, error.what, error.remedy))
    if not reports:
        raise UsageError(f"None of the {len(runs)} runs in {folder} can be read: {unreadable[0].detail}", _GIVE)
    found = merged(reports, begun, folders)
    verdict = worst((found.verdict, *(one.verdict for one in unreadable)))
    return replace(found, verdict=verdict, checks=(*found.checks, *unreadable))


_GIVE = f"Give the folder of a run, which holds {HISTORY} and {SCENARIO}, or one that holds such folders."


def find_runs(folder: Path) -> tuple[Path, ...]:
    """`folder` itself when it is a run's folder, else the runs below it, sorted by name, each once.

    Raises UsageError when there is none.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.", _GIVE)
    if (folder / HISTORY).exists():
        return (folder,)
    # Links such as `latest` lead to runs that are found under their own names.
    found = tuple(sorted(path.parent for path in folder.rglob(HISTORY) if (path.parent / SCENARIO).exists()))
    if not found:
        raise UsageError(f"There is no run in {folder}.", _GIVE)
    return found


def _judged(folder: Path) -> Report:
    records = history.load(folder / HISTORY)
    scenario = load(folder / SCENARIO)
    target = next((str(r.value.get("target")) for r in records if r.op == "scenario" and r.kind == "note"), "unknown")
    return verdicts.report(scenario, records, target=target)


def merged(reports: list[Report], begun: datetime, folders: list[tuple[str, Path]]) -> Report:
    """One report over several runs; runs of the same scenario are told apart by their number."""
    seen: dict[str, int] = {}
    checks, measurements, timelines, distributions = [], [], [], []
    for report in reports:
        group = report.checks[0].group if report.checks else report.title
        seen[group] = seen.get(group, 0) + 1
        name = group if seen[group] == 1 else f"{group} run {seen[group]}"
        checks += [replace(check, group=name) for check in report.checks]
        measurements += [replace(measurement, group=name) for measurement in report.measurements]
        timelines += [replace(picture, group=name) for picture in report.timelines]
        distributions += [replace(picture, group=name) for picture in report.distributions]
    return Report(
        name="scenarios",
        title="Scenarios",
        verdict=worst(report.verdict for report in reports),
        started_at=begun,
        finished_at=datetime.now(UTC),
        target=reports[0].target,
        tool_version=tool_version(),
        checks=tuple(checks),
        tables=(_tally(reports),),
        measurements=tuple(measurements),
        timelines=tuple(timelines),
        distributions=tuple(distributions),
        links=tuple(Link(name, str(folder / "report.html")) for name, folder in folders),
        notes=tuple(note for report in reports for note in report.notes),
    )


def _tally(reports: list[Report]) -> Table:
    """How often each scenario ran, and how its runs ended."""
    counted: dict[str, Counter[Verdict]] = {}
    for report in reports:
        name = report.checks[0].group if report.checks else report.title
        counted.setdefault(name, Counter())[report.verdict] += 1
    rows = (
        (name, str(found.total()), *(str(found[verdict]) for verdict in Verdict)) for name, found in counted.items()
    )
    return Table("Runs", ("scenario", "runs", *map(str, Verdict)), tuple(rows))
