"""The folder of a run, and a report's three files in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from toolkit.errors import EnvironmentError_
from toolkit.report import as_html, as_json, as_junit
from toolkit.report.record import Report

REPORT_FILE, PAGE, JUNIT = "report.json", "report.html", "junit.xml"


def write(report: Report, folder: Path) -> None:
    """Write report.json, report.html and junit.xml into `folder`, which is made. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, render in ((REPORT_FILE, as_json.render), (PAGE, as_html.render), (JUNIT, as_junit.render)):
        (folder / name).write_text(render(report))


def new_folder(reports_dir: Path, name: str) -> Path:
    """A folder of its own for one run. Raises EnvironmentError_ when it cannot be made."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    for number in range(1, 1000):
        folder = reports_dir / (f"{stamp}-{name}" if number == 1 else f"{stamp}-{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise EnvironmentError_(
                f"{folder} cannot be made: {error.strerror}.", "Give another folder for the reports."
            ) from error
        return folder
    raise EnvironmentError_(f"{reports_dir} is full of runs of this second.", "Give another folder for the reports.")
