"""Resolves the files that a report names, relative to the page that links to them."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from toolkit.report.record import Check, Report

# No other scheme and no other host: a report is data, and data must not decide where a click leads.
_LOCAL = re.compile(r"(?![\w+.-]+:|[/\\])\S(?:.*\S)?")


def is_link(file: str) -> bool:
    """Whether a page may lead to `file`: a relative path."""
    return _LOCAL.fullmatch(file) is not None


def seen_from(report: Report, folder: Path, base: Path = Path()) -> Report:
    """`report`, whose files are relative to `base`, with its files relative to `folder`."""

    def moved(file: str) -> str:
        return os.path.relpath(base / file, folder)

    def checks(found: tuple[Check, ...]) -> tuple[Check, ...]:
        return tuple(
            replace(check, evidence=tuple(replace(one, files=tuple(map(moved, one.files))) for one in check.evidence))
            for check in found
        )

    return replace(
        report,
        checks=checks(report.checks),
        criteria=checks(report.criteria),
        links=tuple(replace(link, href=moved(link.href)) for link in report.links),
    )
