"""A report as text for a terminal: the verdict first, then what failed and why."""

from __future__ import annotations

import io
import os
import shutil
from typing import IO

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from toolkit.report.record import Check, Measurement, Report, Verdict, groups
from toolkit.report.visible import all_visible

_MARKS = {Verdict.PASS: ("✔", "green"), Verdict.FAIL: ("✘", "bold red"), Verdict.UNKNOWN: ("?", "yellow")}


NARROWEST, WIDEST = 60, 140


def is_live(stream: IO[str]) -> bool:
    """Whether `stream` is a terminal on which the cursor can be moved: what a spinner or a cleared screen needs."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def wants_colour(stream: IO[str]) -> bool:
    """Whether colours may be written to `stream`: to a terminal that has them, unless NO_COLOR is set."""
    return is_live(stream) and not os.environ.get("NO_COLOR")


def render(report: Report, *, width: int | None = None, colour: bool = False) -> str:
    """Plain text, or with ANSI colours when `colour`; `width` in columns, by default what the terminal has."""
    report = all_visible(report)
    if width is None:
        width = min(max(shutil.get_terminal_size((100, 24)).columns, NARROWEST), WIDEST)
    console = _console(out := io.StringIO(), width, colour)
    _headline(console, report)
    for name, checks in groups(report.checks).items():
        console.print()
        if name:
            console.print(Text(name, style="bold"))
        for check in checks:
            _check(console, check)
    if report.criteria:
        console.print()
        _criteria(console, report.criteria)
    for table in report.tables:
        if not table.rows:
            continue
        console.print()
        _table(console, f"{table.group}: {table.title}" if table.group else table.title, table.columns, table.rows)
    if report.measurements:
        console.print()
        _measurements(console, report.measurements)
    if report.notes:
        console.print()
    for note in report.notes:
        console.print(Text(note, style="dim"))
    if report.links:
        console.print()
        for link in report.links:
            console.print(Text(f"{link.title}: {link.href}"), soft_wrap=True)
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def line(report: Report, *, colour: bool = False) -> str:
    """The first line of `render`, which is enough for a report without anything to explain."""
    report = all_visible(report)
    mark, style = _MARKS[report.verdict]
    console = _console(out := io.StringIO(), WIDEST, colour)
    text = f"{mark} {report.title}: {report.verdict.upper()} · {_seconds(report)} · {report.target}"
    console.print(Text(text, style=style), soft_wrap=True)
    return out.getvalue()


def headline(report: Report, *, colour: bool = False) -> str:
    """What `render` begins with: title, verdict and counts."""
    console = _console(out := io.StringIO(), WIDEST, colour)
    _headline(console, report)
    return out.getvalue()


def _console(out: io.StringIO, width: int, colour: bool) -> Console:
    return Console(
        file=out,
        width=width,
        force_terminal=colour,
        no_color=not colour,
        highlight=False,
        markup=False,
        legacy_windows=False,
        color_system="standard" if colour else None,
    )


def _seconds(report: Report) -> str:
    return f"{(report.finished_at - report.started_at).total_seconds():.1f} s"


def _headline(console: Console, report: Report) -> None:
    mark, style = _MARKS[report.verdict]
    console.print(Text(f"{mark} {report.title}: {report.verdict.upper()}", style=style))
    counts = ", ".join(f"{report.count(verdict)} {verdict}" for verdict in Verdict if report.count(verdict))
    console.print(Text(f"  {counts or 'nothing was checked'} · {_seconds(report)} · {report.target}", style="dim"))


def _check(console: Console, check: Check) -> None:
    mark, style = _MARKS[check.verdict]
    line = RichTable.grid(padding=(0, 1))
    line.add_row(Text(f"  {mark}", style=style), Text.assemble(check.title, "  ", (f"[{check.id}]", "dim")))
    console.print(line)
    if check.verdict is Verdict.PASS:
        return
    if check.detail:
        console.print(Padding(Text(check.detail), (0, 0, 0, 6)))
    for witness in check.witness:
        _marked(console, "|", Text(witness, style="dim"))
    for one in check.evidence:
        _marked(console, "|", Text(": ".join((one.fact, *one.files)), style="dim"))
    if check.remedy:
        _marked(console, "→", Text(check.remedy))


def _marked(console: Console, mark: str, text: Text) -> None:
    """A paragraph with a hanging indent after the mark."""
    line = RichTable.grid(padding=(0, 1))
    line.add_row(Text(f"      {mark}", style="dim"), text)
    console.print(line)


def _criteria(console: Console, criteria: tuple[Check, ...]) -> None:
    console.print(Text("Criteria", style="bold"))
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_lines=True, expand=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("criterion", ratio=2)
    table.add_column("verdict", no_wrap=True)
    table.add_column("evidence", ratio=4)
    for number, check in enumerate(criteria, start=1):
        mark, style = _MARKS[check.verdict]
        # The files are named on the page only: paths wrapped in a narrow column can neither be read nor copied.
        facts = [one.fact for one in check.evidence] or [check.detail]
        parts = [Text(fact, overflow="fold") for fact in facts if fact]
        if check.remedy and check.verdict is not Verdict.PASS:
            parts.append(Text(f"→ {check.remedy}"))
        table.add_row(str(number), Text(check.title), Text(f"{mark} {check.verdict}", style=style), Group(*parts))
    console.print(table)


def _table(console: Console, title: str, columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> None:
    if title:
        console.print(Text(title, style="bold"))
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=any(columns))
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _measurements(console: Console, measurements: tuple[Measurement, ...]) -> None:
    rows = tuple((m.group, m.name, f"{m.value:,.6g}", m.unit) for m in measurements)
    _table(console, "Measured", ("", "figure", "value", "unit"), rows)
