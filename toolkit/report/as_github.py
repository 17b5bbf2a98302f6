"""Commands of a GitHub workflow: an annotation for each check that failed or is unknown, at its line."""

from __future__ import annotations

from toolkit.report.places import NOWHERE, Place, Places, told
from toolkit.report.record import Check, Report
from toolkit.report.visible import visible

_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def render(report: Report, places: Places = NOWHERE) -> str:
    """A line each, and the report's title at last, which is for the log."""
    lines = [_line(check, place, _COMMANDS[level]) for check, place, level in told(report, places)]
    last = visible(f"{report.name}: {report.title}: {report.verdict.value}").replace("\n", " ")
    return "\n".join([*lines, last]) + "\n"


def _line(check: Check, place: Place | None, command: str) -> str:
    said = [check.title, check.detail, *check.witness, *([f"What to do: {check.remedy}"] if check.remedy else [])]
    properties = {"file": place.file, "line": str(place.line)} if place is not None else {}
    properties["title"] = check.id
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{command} {written}::{_data(chr(10).join(filter(None, said)))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
