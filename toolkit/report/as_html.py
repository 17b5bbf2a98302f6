"""One self-contained page: no script, no font, no picture is loaded from anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, count
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from toolkit.report import pictures
from toolkit.report.links import is_link
from toolkit.report.record import Check, Distribution, Report, Table, Timeline, Verdict
from toolkit.report.visible import all_visible

if TYPE_CHECKING:
    from jinja2 import Environment

# Cells of figures, signs, units and placeholders for nothing: a column of only such cells is aligned to the right.
_NUMBER = re.compile(r"[-+<≤]?[\d.,]+\s?(?:ms|s|min|%|x|MB|kB|B)?|[–—-]|")
_SHORT = 26
_RAW = ("report.json", "history.jsonl")
MANY = 40  # with more checks than this, those that passed are folded away
MARKS = {Verdict.PASS: "✔", Verdict.FAIL: "✘", Verdict.UNKNOWN: "?"}


def as_code(text: str) -> Markup:
    """`text` for the page; what stands between backticks is shown as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one is open: none means anything
        return escape(text)
    empty = Markup("")
    return empty.join(Markup("<code>{}</code>").format(part) if n % 2 else escape(part) for n, part in enumerate(parts))


def _timeline(picture: Timeline) -> Markup:
    return Markup(pictures.timeline(picture))  # noqa: S704 - every text in it went through html.escape


def _distributions(of_group: Sequence[Distribution]) -> Markup:
    return Markup(pictures.distributions(of_group))  # noqa: S704 - the same


@dataclass
class Section:
    """What a page shows of one group: its checks, then its pictures and tables."""

    name: str
    bad: list[Check] = field(default_factory=list)
    passed: list[Check] = field(default_factory=list)
    timelines: list[Timeline] = field(default_factory=list)
    distributions: list[Distribution] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def sections(report: Report) -> list[Section]:
    """The groups of a report: those with checks first, in the order of the checks, so that what failed comes first."""
    found: dict[str, Section] = {}

    def of(group: str) -> Section:
        return found.setdefault(group, Section(group))

    for check in report.checks:
        section = of(check.group)
        (section.passed if check.verdict is Verdict.PASS else section.bad).append(check)
    for timeline in report.timelines:
        of(timeline.group).timelines.append(timeline)
    for distribution in report.distributions:
        of(distribution.group).distributions.append(distribution)
    for table in report.tables:
        of(table.group).tables.append(table)
    return list(found.values())


def column_kinds(table: Table) -> list[str]:
    """How each column is set: `number` to the right, `short` on one line, "" with line breaks where needed."""
    kinds = []
    for place in range(max((len(row) for row in table.rows), default=0)):
        cells = [row[place] for row in table.rows if place < len(row)]
        if all(_NUMBER.fullmatch(cell) for cell in cells) and any(map(str.isdigit, "".join(cells))):
            kinds.append("number")
        else:
            kinds.append("short" if max(map(len, cells)) <= _SHORT else "")
    return kinds


def slug(name: str) -> str:
    """`name` as an anchor: letters, digits and `._:-`."""
    return re.sub(r"[^\w.:-]+", "-", name)


class Anchors:
    """Gives every check of a page an anchor that no other has: its slug, from the second of a name on with a number."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def __call__(self, name: str) -> str:
        first = slug(name)
        wanted = chain([first], (f"{first}-{number}" for number in count(2)))
        free = next(anchor for anchor in wanted if anchor not in self._given)
        self._given.add(free)
        return free


def pages_of(files: Iterable[str], fact: str = "") -> list[str]:
    """The pages that show what `files` hold: the page of a report or history lies beside it.

    A fact that begins with the id of a check leads to that check on the page.
    """
    anchor = found[0] if (found := re.match(r"[\w.:-]+(?=: )", fact)) else ""
    pages = []
    for file in files:
        folder, slash, name = file.rpartition("/")
        page = f"{folder}{slash}report.html" if name in _RAW else file
        pages.append(f"{page}#{anchor}" if anchor and name == "report.json" else page)
    return list(dict.fromkeys(pages))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # here: most commands write no page

    made = Environment(
        loader=PackageLoader("toolkit.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["code"] = as_code
    return made


def render(report: Report) -> str:
    """The whole page as text."""
    report = all_visible(report)
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            sections=sections(report),
            many=len(report.checks) > MANY,
            marks=MARKS,
            counts={verdict: report.count(verdict) for verdict in Verdict},
            seconds=(report.finished_at - report.started_at).total_seconds(),
            is_link=is_link,
            anchor=Anchors(),
            timeline=_timeline,
            distributions=_distributions,
            column_kinds=column_kinds,
            pages_of=pages_of,
            quantity=pictures.quantity,
        )
    )
