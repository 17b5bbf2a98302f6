"""The folder of a run, and a report's three files in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from toolkit.errors import EnvironmentError_
from toolkit.report import as_html, as_json, as_junit
from toolkit.report.record import Report

REPORT_FILE, PAGE, JUNIT = "report.json", "report.html", "junit.xml"
_MOST_A_SECOND = 1000


def write(report: Report, folder: Path) -> None:
    """Write report.json, report.html and junit.xml into `folder`, which is made. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, render in ((REPORT_FILE, as_json.render), (PAGE, as_html.render), (JUNIT, as_junit.render)):
        (folder / name).write_text(render(report))


def new_folder(parent: Path, name: str, *, option: str = "--reports-dir", private: bool = False) -> Path:
    """A folder of its own for one run, below `parent`, named by the time (UTC) and `name`; `private`: readable by its
    owner alone. Raises EnvironmentError_, naming the `option` that gives another place, when it cannot be made."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    mode = 0o700 if private else 0o777
    for number in range(1, _MOST_A_SECOND):
        folder = parent / (f"{stamp}-{name}" if number == 1 else f"{stamp}-{name}-{number}")
        try:
            folder.mkdir(mode, parents=True)
        except FileExistsError:
            if folder.is_dir():
                continue
            raise _no_place(f"{folder} cannot be made: a file of that name is there", option) from None
        except OSError as error:
            raise _no_place(f"{folder} cannot be made: {error.strerror}", option) from error
        return folder
    raise _no_place(f"{parent} is full of runs of this second", option)


def _no_place(what: str, option: str) -> EnvironmentError_:
    return EnvironmentError_(f"{what}.", f"Give another folder with {option}.")
