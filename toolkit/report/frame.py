"""The common part of the reports of one command."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from toolkit.report.record import Check, Report, Verdict


@dataclass(frozen=True)
class Frame:
    """The fields that every report of one command shares."""

    name: str
    started_at: datetime
    target: str
    tool_version: str

    def report(self, title: str, verdict: Verdict, checks: Iterable[Check]) -> Report:
        """A report of this command, finished now."""
        return Report(
            self.name, title, verdict, self.started_at, datetime.now(UTC), self.target, self.tool_version, tuple(checks)
        )
