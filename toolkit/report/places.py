"""Where in a repository a check belongs, for programs that show it there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.report.record import Check, Report, Verdict
from toolkit.report.visible import all_visible

Level = Literal["error", "warning", "note"]
_NAMED = re.compile(r"(?P<file>(?:rollbacks/|verify/)?\d[\w.-]*\.sql)(?::(?P<line>\d+))?")


@dataclass(frozen=True)
class Place:
    """A line of a file, named as from the working directory. A `level` is told even of a check that passed."""

    file: str
    line: int = 1
    level: Level | None = None


Places = Mapping[Check, Place]
NOWHERE: Places = {}


def relative(path: Path) -> str:
    """As seen from the working directory, with slashes."""
    return Path(os.path.relpath(path)).as_posix()


def places_in(report: Report, folder: Path, *, of_versions: Mapping[str, Path] | None = None) -> Places:
    """For each check the file of the folder that it names, with its line; else the one of the version that it names;
    else the folder."""
    return {check: _place(check, folder, of_versions or {}) for check in report.checks}


def told(report: Report, places: Places) -> Iterator[tuple[Check, Place | None, Level]]:
    """What is to be told of a report elsewhere: what failed, what is unknown, and what passed with a level."""
    for check in report.checks:
        place = places.get(check)
        if place is not None and place.level is not None:
            level = place.level
        elif check.verdict is Verdict.PASS:
            continue
        else:
            level = "error" if check.verdict is Verdict.FAIL else "warning"
        yield all_visible(check), all_visible(place), level


def _place(check: Check, folder: Path, of_versions: Mapping[str, Path]) -> Place:
    text = "\n".join((check.group, check.title, check.detail, *check.witness))
    for named in _NAMED.finditer(text):
        if (folder / named["file"]).is_file():
            return Place(relative(folder / named["file"]), max(1, int(named["line"] or 1)))
    words = f"{check.id} {check.group}"
    path = next((path for version, path in of_versions.items() if version in words), folder)
    return Place(relative(path))
