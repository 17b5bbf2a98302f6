"""A verification as a report. Pure."""

from __future__ import annotations

from dataclasses import replace

from toolkit.migrate.verify.run import VerifyResult
from toolkit.report.frame import Frame
from toolkit.report.record import Report


def of_verify(frame: Frame, result: VerifyResult) -> Report:
    """Each check under its version."""
    report = frame.report(f"Verified {len(result.versions)} migrations", result.verdict, result.checks)
    return replace(report, notes=result.notices)
