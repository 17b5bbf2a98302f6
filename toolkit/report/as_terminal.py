"""A report as text for a terminal: the verdict first, then what failed and why."""

from __future__ import annotations

import io

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from toolkit.report.model import Check, Measurement, Report, Verdict, groups

_MARKS = {Verdict.PASS: ("✔", "green"), Verdict.FAIL: ("✘", "bold red"), Verdict.UNKNOWN: ("?", "yellow")}


def render(report: Report, *, width: int = 100, colour: bool = False) -> str:
    """Plain text, or with ANSI colours when `colour`."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        no_color=not colour,
        highlight=False,
        markup=False,
        legacy_windows=False,
        color_system="standard" if colour else None,
    )
    _headline(console, report)
    for name, checks in groups(report.checks).items():
        console.print()
        if name:
            console.print(Text(name, style="bold"))
        for check in checks:
            _check(console, check)
    if report.criteria:
        console.print()
        console.print(Text("Criteria", style="bold"))
        for check in report.criteria:
            _check(console, check, always_detail=True)
    for table in report.tables:
        console.print()
        _table(console, f"{table.group}: {table.title}" if table.group else table.title, table.columns, table.rows)
    if report.measurements:
        console.print()
        _measurements(console, report.measurements)
    for note in report.notes:
        console.print(Text(note, style="dim"))
    if report.links:
        console.print()
        for link in report.links:
            console.print(Text(f"{link.title}: {link.href}"), soft_wrap=True)
    return out.getvalue()


def _headline(console: Console, report: Report) -> None:
    mark, style = _MARKS[report.verdict]
    seconds = (report.finished_at - report.started_at).total_seconds()
    console.print(Text(f"{mark} {report.title}: {report.verdict.upper()}", style=style))
    counts = ", ".join(f"{report.count(verdict)} {verdict}" for verdict in Verdict if report.count(verdict))
    console.print(Text(f"  {counts or 'nothing was checked'} · {seconds:.1f} s · {report.target}", style="dim"))


def _check(console: Console, check: Check, *, always_detail: bool = False) -> None:
    mark, style = _MARKS[check.verdict]
    line = Text("  ")
    line.append(f"{mark} ", style=style)
    line.append(check.title)
    line.append(f"  [{check.id}]", style="dim")
    console.print(line)
    if check.verdict is Verdict.PASS and not always_detail:
        return
    if check.detail:
        console.print(Text(f"      {check.detail}"))
    for witness in check.witness:
        console.print(Text(f"      | {witness}", style="dim"))
    if check.remedy and check.verdict is not Verdict.PASS:
        console.print(Text(f"      → {check.remedy}"))


def _table(console: Console, title: str, columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> None:
    console.print(Text(title, style="bold"))
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(Text(column))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _measurements(console: Console, measurements: tuple[Measurement, ...]) -> None:
    rows = tuple((m.group, m.name, f"{m.value:,.6g}", m.unit) for m in measurements)
    _table(console, "Measured", ("", "figure", "value", "unit"), rows)
