"""The points of a file's run at which its backend is killed, and which of them are tried. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from toolkit.migrate.folder.files import Script
from toolkit.migrate.folder.statements import Statement
from toolkit.migrate.run.run_model import Kind

# The first point and both sides of the file's own commit are always tried.
_ALWAYS = 3


@dataclass(frozen=True)
class Point:
    """A point of a run. `kind` and `index` are those of the runner's Moment; "inside" is during a statement that
    waits."""

    kind: Kind | Literal["inside"]
    index: int
    where: str = ""

    def __str__(self) -> str:
        words = {
            "before_statement": "before",
            "inside": "inside",
            "after_statement": "after",
            "before_commit": "just before the commit of",
            "after_commit": "just after the commit of",
        }
        return f"{words[self.kind]} {f'statement {self.index} ({self.where})' if self.index else self.where}"


def points_of(script: Script) -> tuple[Point, ...]:
    """Every point, in the order of a run."""
    found: list[Point] = []
    for statement in script.statements:
        where = script.where(statement)
        found.append(Point("before_statement", statement.index, where))
        if not script.transactional and _builds_index(statement):
            found.append(Point("inside", statement.index, where))
        found.append(Point("after_statement", statement.index, where))
        if not script.transactional:
            found += [Point(kind, statement.index, where) for kind in ("before_commit", "after_commit")]
    return (*found, Point("before_commit", 0, script.path.name), Point("after_commit", 0, script.path.name))


def chosen(points: tuple[Point, ...], most: int) -> tuple[Point, ...]:
    """At most `most` of them (0: all): always the first and both sides of the last commit, then those inside a
    statement, then an even spread of the others."""
    if not most or len(points) <= max(most, _ALWAYS):
        return points
    room, between = max(most - _ALWAYS, 0), points[1:-2]
    inside = [point for point in between if point.kind == "inside"][:room]
    others, wanted = [point for point in between if point.kind != "inside"], room - len(inside)
    picked = {*inside, *(others[int((number + 0.5) * len(others) / wanted)] for number in range(wanted))}
    return (points[0], *(point for point in between if point in picked), *points[-2:])


def _builds_index(statement: Statement) -> bool:
    """Whether it waits for older snapshots while an index exists that no query may use yet."""
    construct = statement.refuses_transaction or ""
    return construct.endswith("INDEX CONCURRENTLY") and not construct.startswith("DROP")
