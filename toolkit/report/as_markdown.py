"""Markdown for a comment on a change: the verdict, what failed, and the tables that a reviewer compares."""

from __future__ import annotations

import re
from collections.abc import Sequence

from toolkit.report.places import NOWHERE, Places, told
from toolkit.report.record import Check, Report, Table, Verdict
from toolkit.report.visible import all_visible

# A comment may have 65,536 characters.
_MOST = 60_000
_MARKS = {Verdict.PASS: "✅", Verdict.FAIL: "❌", Verdict.UNKNOWN: "❔"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!@])")


def render(report: Report, places: Places = NOWHERE) -> str:
    """What does not fit is left out from the end, which is said."""
    found = told(report, places)
    report = all_visible(report)
    parts = [f"### {_MARKS[report.verdict]} {_text(report.name)}: {_text(report.title)}"]
    parts += [_check(check) for check, _, _ in found]
    if report.notes:
        parts.append("\n".join(f"- {_text(note)}" for note in report.notes))
    parts += [_table(table) for table in report.tables if table.rows]
    shown: list[str] = []
    room = _MOST
    for number, part in enumerate(parts):
        if len(part) > room:
            shown.append(f"What did not fit is in the report: {len(parts) - number} parts.")
            break
        shown.append(part)
        room -= len(part) + 2
    return "\n\n".join(shown) + "\n"


def _check(check: Check) -> str:
    lines = [f"{_MARKS[check.verdict]} **{_text(check.id)}**: {_text(check.title)}"]
    lines += [f"  - {_text(line)}" for line in filter(None, (check.detail, *check.witness))]
    if check.remedy:
        lines.append(f"  - What to do: {_text(check.remedy)}")
    return "\n".join(["- " + lines[0], *lines[1:]])


def _table(table: Table) -> str:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(map(_text, cells))} |"

    head = [row(table.columns), f"|{' --- |' * len(table.columns)}"]
    body = "\n".join([*head, *map(row, table.rows)])
    return f"<details><summary>{_html(table.title)}</summary>\n\n{body}\n\n</details>"


def _text(text: str) -> str:
    """The same characters in a comment, whatever they would mean there; a mention notifies nobody."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("\\@", "&#64;")


def _html(text: str) -> str:
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
