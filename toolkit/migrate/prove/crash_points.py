"""The points of a file's run at which its backend is ended, and which of them are tried. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from toolkit.migrate.files import Script
from toolkit.migrate.running import Kind

# While these wait for old snapshots to go, an index is there that no query may use yet.
_LINGERING = frozenset({"CREATE INDEX CONCURRENTLY", "REINDEX CONCURRENTLY"})
# The first point and both sides of the file's own commit are always tried.
_ALWAYS = 3


@dataclass(frozen=True)
class Point:
    """`kind` and `index` are those of the runner's Moment; "inside" is in the midst of a statement that lingers."""

    kind: Kind | Literal["inside"]
    index: int
    where: str = ""

    def __str__(self) -> str:
        words = {
            "before_statement": "before", "inside": "inside", "after_statement": "after",
            "before_commit": "just before the commit of", "after_commit": "just after the commit of",
        }  # fmt: skip
        return f"{words[self.kind]} {f'statement {self.index} ({self.where})' if self.index else self.where}"


def points_of(script: Script) -> tuple[Point, ...]:
    """Every point, in the order in which a run comes by them."""
    found: list[Point] = []
    for statement in script.statements:
        where = script.where(statement)
        found.append(Point("before_statement", statement.index, where))
        if not script.transactional and statement.refuses_transaction in _LINGERING:
            found.append(Point("inside", statement.index, where))
        found.append(Point("after_statement", statement.index, where))
        if not script.transactional:
            found += [Point(kind, statement.index, where) for kind in ("before_commit", "after_commit")]
    return (*found, Point("before_commit", 0, script.path.name), Point("after_commit", 0, script.path.name))


def chosen(points: tuple[Point, ...], most: int) -> tuple[Point, ...]:
    """At most `most` of them (0: all), evenly spread; never without the first and both sides of the last commit."""
    if not most or len(points) <= max(most, _ALWAYS):
        return points
    between, wanted = points[1:-2], max(most - _ALWAYS, 0)
    spread = (between[int((number + 0.5) * len(between) / wanted)] for number in range(wanted))
    return (points[0], *spread, *points[-2:])
