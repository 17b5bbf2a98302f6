"""Reads evidence from saved reports and weighs it: a pass that is old or of another version counts for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.report import as_json
from toolkit.report.files import REPORT_FILE
from toolkit.report.record import Check, Measurement, Report, Table, Verdict, files_of, groups, worst

MAX_AGE_DAYS = 7
# The guide's four end-to-end scenarios, in its order: scenario.1 … scenario.4 in a rehearsal's report.
SCENARIOS = ("complete-generation-flow", "process-recovery", "error-handling", "concurrent-processes")
COMPARISON = "load.comparison"
COMPARED = "load.compare."
SIGN_OFF = "Sign-off"
COMPLETED_ON = "Migration completed on"
SIGNED_BY = "Signed off by"
NOT_SIGNED = "nobody yet"


@dataclass(frozen=True)
class Item:
    """One verdict from a saved report. `source`: the report's file; `files`: what it was judged from, relative to the
    report's folder."""

    verdict: Verdict
    detail: str
    source: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """Items by id and figures by name, from one or more reports; the newest report wins.

    `completed_on`: when the migration was complete, as the report words it.
    """

    items: Mapping[str, Item] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    completed_on: str | None = None
    reports: tuple[str, ...] = ()
    objections: tuple[str, ...] = ()

    def with_later(self, later: Evidence) -> Evidence:
        """This evidence, replaced by `later` where both have an item or figure."""
        return Evidence(
            {**self.items, **later.items},
            {**self.figures, **later.figures},
            later.completed_on or self.completed_on,
            (*self.reports, *later.reports),
            (*self.objections, *later.objections),
        )


def compares(id: str) -> bool:
    """Whether the check of this id compares the two transports: one of its figures, or all of them."""
    return id == COMPARISON or id.startswith(COMPARED)


def from_report(report: Report, source: str) -> Evidence:
    """The evidence in `report`, not yet weighed; `source` is its file."""
    if report.name == "rehearse":
        items = {check.id: Item(check.verdict, check.detail, source, files_of(check)) for check in report.checks}
        return Evidence(items, _figures(report.measurements), _completed_on(report.tables), (source,))
    if report.name == "scenarios":
        return Evidence(_scenarios(report.checks, source), {}, None, (source,))
    if report.name == "load":
        # Only a comparison of both transports is evidence; no criterion needs the rest of a load report.
        compared = {
            check.id: Item(check.verdict, check.detail, source, files_of(check))
            for check in report.checks
            if compares(check.id)
        }
        return Evidence(compared, {}, None, (source,) if compared else ())
    return Evidence(reports=())


def weigh(
    evidence: Evidence, report: Report, *, now: datetime, tool_version: str, max_age_days: float = MAX_AGE_DAYS
) -> Evidence:
    """`evidence` with every pass turned to unknown when the report is too old or of another version.

    A failure stays a failure, however old.
    """
    objections = []
    age = now - report.finished_at
    if age > timedelta(days=max_age_days):
        objections.append(f"the report is {age.total_seconds() / 86400:.1f} days old; the limit is {max_age_days:g}")
    if age < timedelta(minutes=-5):
        objections.append(f"the report says it was finished in the future ({report.finished_at:%Y-%m-%d %H:%M}Z)")
    if report.tool_version != tool_version:
        objections.append(f"the report is of version {report.tool_version} of the toolkit; this is {tool_version}")
    if not objections:
        return evidence
    reason = "; ".join(objections)
    return replace(
        evidence,
        items={
            name: item
            if item.verdict is Verdict.FAIL
            else replace(item, verdict=Verdict.UNKNOWN, detail=f"{reason} (it said: {item.verdict} {item.detail})")
            for name, item in evidence.items.items()
        },
        figures={},
        objections=tuple(f"{source}: {reason}" for source in evidence.reports),
    )


def read(path: Path, *, now: datetime, tool_version: str, max_age_days: float = MAX_AGE_DAYS) -> Evidence:
    """The evidence in one saved report. Raises UsageError when it cannot be read."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", "Give a folder that a rehearsal wrote, or run one first."
        ) from error
    report = as_json.load(text, source=str(path))
    return weigh(from_report(report, str(path)), report, now=now, tool_version=tool_version, max_age_days=max_age_days)


def find_reports(place: Path) -> tuple[Path, ...]:
    """The reports to read: the one in folder `place`, or the newest rehearsal below it and the runs after it.

    These are scenario and load runs. Ordered by the time they ended. Raises UsageError when there is none.
    """
    if (place / REPORT_FILE).is_file():
        return (place / REPORT_FILE,)
    found: list[tuple[datetime, str, Path]] = []
    for path in sorted(place.glob(f"*/{REPORT_FILE}")):
        if path.parent.is_symlink():
            continue
        try:
            report = as_json.load(path.read_bytes(), source=str(path))
        except (UsageError, OSError):
            continue  # a file of another program or version is no evidence
        found.append((report.finished_at, report.name, path))
    found.sort()
    rehearsals = [at for at, name, _ in found if name == "rehearse"]
    if not rehearsals:
        raise UsageError(f"There is no saved rehearsal in {place}.", "Run `toolkit rehearse` first.")
    return tuple(
        path
        for at, name, path in found
        if (name == "rehearse" and at == rehearsals[-1]) or (name in ("scenarios", "load") and at > rehearsals[-1])
    )


def unreadable(place: Path) -> tuple[str, ...]:
    """What cannot be judged in the folder of runs `place`: damaged reports, and rehearsals without one."""
    if (place / REPORT_FILE).is_file():
        return ()
    found = []
    for folder in sorted(path for path in place.glob("*") if path.is_dir() and not path.is_symlink()):
        path = folder / REPORT_FILE
        try:
            as_json.load(path.read_bytes(), source=str(path))
        except FileNotFoundError:
            if folder.name.startswith("rehearse-"):
                found.append(f"{folder} holds no report: that rehearsal was killed, or is still running")
        except (UsageError, OSError) as error:
            found.append(f"{path} was left out: {str(error).splitlines()[0]}")
    return tuple(found)


def _scenarios(checks: Iterable[Check], source: str) -> dict[str, Item]:
    items: dict[str, Item] = {}
    for name, members in groups(tuple(checks)).items():
        # `name #2` is the second of several runs of the same scenario.
        base = name.split(" ")[0].split("#")[0]
        if base in SCENARIOS and "(websocket)" not in name:
            bad = [check.title for check in members if check.verdict is not Verdict.PASS]
            detail = f"{len(members) - len(bad)} of {len(members)} checks passed" + (f"; not: {bad[0]}" if bad else "")
            key = f"scenario.{SCENARIOS.index(base) + 1}"
            verdict = worst(check.verdict for check in members)
            # Of several runs the worst verdict counts: a pass does not excuse a failure.
            if key not in items or worst((verdict, items[key].verdict)) is not items[key].verdict:
                items[key] = Item(verdict, detail, source)
    return items


def _figures(measurements: Iterable[Measurement]) -> dict[str, float]:
    return {f"{m.group}: {m.name}" if m.group else m.name: m.value for m in measurements}


def _completed_on(tables: Iterable[Table]) -> str | None:
    rows = {row[0]: row[1] for table in tables if table.title == SIGN_OFF for row in table.rows}
    return rows.get(COMPLETED_ON)
