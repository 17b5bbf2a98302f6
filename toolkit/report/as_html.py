"""One self-contained page: no script, no font, no picture is loaded from anywhere."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from toolkit.report import pictures
from toolkit.report.links import is_link
from toolkit.report.record import Distribution, Report, Timeline, Verdict, files_of, groups

MARKS = {Verdict.PASS: "✔", Verdict.FAIL: "✘", Verdict.UNKNOWN: "?"}


def _timeline(picture: Timeline) -> Markup:
    return Markup(pictures.timeline(picture))  # noqa: S704 - every text in it went through html.escape


def _distribution(picture: Distribution) -> Markup:
    return Markup(pictures.distribution(picture))  # noqa: S704 - the same


_ENVIRONMENT = Environment(
    loader=PackageLoader("toolkit.report", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(report: Report) -> str:
    """The whole page as text."""
    return _ENVIRONMENT.get_template("report.html").render(
        report=report,
        groups=groups(report.checks),
        marks=MARKS,
        counts={verdict: report.count(verdict) for verdict in Verdict},
        seconds=(report.finished_at - report.started_at).total_seconds(),
        files_of=files_of,
        is_link=is_link,
        timeline=_timeline,
        distribution=_distribution,
    )
