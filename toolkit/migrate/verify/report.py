"""A verification as a report. Pure."""

from __future__ import annotations

from dataclasses import replace

from toolkit.migrate.verify.run import VerifyResult
from toolkit.report.frame import Frame
from toolkit.report.record import Check, Report, Verdict


def of_verify(frame: Frame, result: VerifyResult) -> Report:
    """Each check under its version."""
    checks = tuple(
        Check(check.id, check.title, Verdict(check.status.value), "", check.remedy, check.version, check.evidence)
        for check in result.checks
    )
    verdict = Verdict(result.status.value)
    return replace(frame.report(f"Verified {len(result.versions)} migrations", verdict, checks), notes=result.notices)
