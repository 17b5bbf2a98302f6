"""The stored form of a report: JSON that loads to an equal record."""

from __future__ import annotations

from dataclasses import asdict

import orjson
from pydantic import TypeAdapter, ValidationError

from toolkit.errors import UsageError
from toolkit.report.record import Report

_REPORT = TypeAdapter(Report)


def render(report: Report) -> str:
    """Indented JSON; times in ISO 8601 with their offset."""
    return orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2).decode() + "\n"


def load(text: str | bytes, *, source: str = "report.json") -> Report:
    """The report that `render` wrote. Raises UsageError naming the first field that is wrong."""
    try:
        report = _REPORT.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise UsageError(
            f"{source} is not a report of this toolkit: {where}: {first['msg']}.",
            "Give the report.json that a toolkit command wrote, of this version of the toolkit.",
        ) from error
    for name in ("started_at", "finished_at"):
        if getattr(report, name).tzinfo is None:
            raise UsageError(
                f"{source} is not a report of this toolkit: {name} does not say in which time zone it is.",
                "Give the report.json as a toolkit command wrote it.",
            )
    return report
