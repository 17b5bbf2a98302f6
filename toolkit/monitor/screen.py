"""A monitor's report on one screen: each figure once, lists cut where there is no room. JSON has them whole. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from toolkit.report.record import Report, Table, shortened

LINES = 50
# Lengths to try for each list, the longest first.
_ROOM = (20, 12, 9, 7, 5, 4, 3, 2, 1)
_MORE = "… --json tells the rest"


def on_one_screen(report: Report, render: Callable[[Report], str], lines: int = LINES) -> str:
    """What `render` makes of the report, with lists as long as fit into `lines` lines."""
    for most in _ROOM:
        text = render(_condensed(report, most))
        if text.count("\n") <= lines:
            return text
    # Failures alone fill the screen; they come first.
    return "".join(text.splitlines(keepends=True)[: lines - 1]) + _MORE + "\n"


def _condensed(report: Report, most: int) -> Report:
    seen = _Seen(report)
    now = Table("Now", ("", ""), tuple((name, text) for name, text in _now(seen, most) if text))
    lists = (_tables(seen), _steps(seen), seen.tables.get("Failed processes"))
    shown = [now, *(_cut(replace(table, title="", group=""), most) for table in lists if table is not None)]
    checks = tuple(
        replace(check, witness=(*check.witness[:most], _MORE)) if len(check.witness) > most else check
        for check in report.checks
    )
    tables = tuple(table for table in shown if table.rows)
    return replace(report, checks=checks, tables=tables, measurements=(), distributions=())


class _Seen:
    """Figures and tables of the report by name; what is not known is absent."""

    def __init__(self, report: Report) -> None:
        self.tables = {table.title: table for table in report.tables}
        self._figures = {one.name: one for one in report.measurements}

    def rows(self, title: str) -> tuple[tuple[str, ...], ...]:
        table = self.tables.get(title)
        return table.rows if table is not None else ()

    def figure(self, name: str) -> float | None:
        found = self._figures.get(name)
        return None if found is None else found.value

    def say(self, form: str, *names: str) -> str:
        """`form` filled with the figures called `names`; nothing when the first is not known."""
        values = [self.figure(name) for name in names]
        return (
            "" if values[0] is None else form.format(*("?" if value is None else f"{value:,.4g}" for value in values))
        )


def _now(seen: _Seen, most: int) -> Iterator[tuple[str, str]]:
    yield "processes", ", ".join(f"{count} {status}" for status, count in seen.rows("Active processes"))
    queue = ("tasks pending", "tasks running", "oldest due task")
    yield "queue", seen.say("{} pending, {} running, the oldest due for {} s", *queue)
    for row in _few(seen.rows("Task execution times"), min(most, 4)):
        yield "task", row[0] if len(row) == 1 else f"{row[0]}: {row[1]} completed, {row[2]} failed, p95 {row[4]}"
    growth = ("events appended", "event log growth", "event log growth, rows alone")
    yield "events", seen.say("{} appended ({}/h, {} MiB/h)", *growth)
    kinds = shortened((f"{row[0]} {row[1]}" for row in seen.rows("Recent events")), 3)
    yield "", ", ".join(kinds)
    tried, rate = seen.figure("connections tried"), seen.figure("connection success rate")
    if tried is not None and rate is not None:
        yield "connections", f"{round(tried * rate)} of {tried:g} live" + seen.say(" (p50 {} ms)", "live after, p50")
    delivered = ("events delivered", "events written", "delivery p50", "delivery p95")
    yield "delivery", seen.say("{} of {} events, p50 {} ms, p95 {} ms", *delivered)
    yield "reconnections", seen.say("{} in {} s", "reconnections", "watched for")
    yield "Realtime", ", ".join(f"health {row[0]}" for row in seen.rows("Health"))
    for row in _few(seen.rows("Replication slots"), min(most, 3)):
        yield (
            "slot",
            row[0] if len(row) == 1 else f"{row[0]}: {'active' if row[1] == 'yes' else 'idle'}, keeps {row[3]}",
        )
    if indexes := seen.rows("Indexes"):
        unused = sum(row[2] == "0" for row in indexes)
        yield "indexes", f"{len(indexes)}, of which {unused} {'was' if unused == 1 else 'were'} never used"
    for names, because in _unknown(seen):
        yield "unknown", f"{', '.join(shortened(names, 3))}: {because}"


def _unknown(seen: _Seen) -> Iterator[tuple[list[str], str]]:
    """The unknown figures, grouped by reason and remedy."""
    gathered: dict[tuple[str, str], list[str]] = {}
    for _, name, because, remedy in seen.rows("Unknown"):
        gathered.setdefault((because, remedy), []).append(name)
    for (because, remedy), names in gathered.items():
        yield names, f"{because}. {remedy}" if remedy else because


def _tables(seen: _Seen) -> Table:
    """Sizes, with their growth where there was a sample before."""
    grown = any(seen.figure(f"growth of {row[0]}") is not None for row in seen.rows("Tables"))
    rows = []
    for name, size, live, dead, scans, _, vacuumed in seen.rows("Tables"):
        growth = (seen.say("{} MiB/h", f"growth of {name}"),) if grown else ()
        rows.append((name, size, *growth, live, dead, scans, vacuumed))
    growing = ("growth",) if grown else ()
    return Table("", ("table", "size", *growing, "live", "dead", "index scans", "vacuumed"), tuple(rows))


def _steps(seen: _Seen) -> Table:
    """How steps ended and how long they took, in one row each."""
    times = {row[0]: row[2:] for row in seen.rows("Step durations")}
    rows = tuple((*row[:5], *times.pop(row[0], ("", ""))) for row in seen.rows("Steps"))
    rows += tuple((step, "", "", "", "", *took) for step, took in times.items())
    return Table("", ("step", "began", "completed", "failed", "at it", "p50", "p95"), rows)


def _cut(table: Table, most: int) -> Table:
    rows = _few(table.rows, most)
    return replace(table, rows=tuple((*row, *[""] * (len(table.columns) - len(row))) for row in rows))


def _few(rows: tuple[tuple[str, ...], ...], most: int) -> tuple[tuple[str, ...], ...]:
    """At most `most` rows, and after them one cell that says how many were left out."""
    return rows if len(rows) <= most else (*rows[:most], shortened(("",) * len(rows), most)[-1:])
