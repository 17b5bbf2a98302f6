"""What a triage found and a repair changed, as reports. Pure."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from toolkit.migrate.repair.mend import Mended
from toolkit.migrate.repair.model import Disagreement, Triage
from toolkit.report.frame import Frame
from toolkit.report.record import Check, Report, Table, Verdict, worst


def of_triage(frame: Frame, found: Triage) -> Report:
    """Each disagreement fails, whether a proposal would mend it or a person has to look."""
    checks = [_check(one) for one in found.disagreements]
    checks.append(_in_step(found))
    title = f"{len(found.disagreements)} out of step, {len(found.proposals)} of them --apply would mend"
    if not found.disagreements:
        title = "Folder and history are in step"
    changes = tuple((f.id, change) for f in found.disagreements if f.proposal for change in f.proposal.changes)
    tables = (Table("What --apply would change", ("id", "change"), changes),) if changes else ()
    report = frame.report(title, worst(check.verdict for check in checks), checks)
    return replace(report, tables=tables, notes=found.unknown)


def _check(one: Disagreement) -> Check:
    remedy = "With --apply: " + "; ".join(one.proposal.changes) if one.proposal else one.remedy
    return Check(one.id, one.what, Verdict.FAIL, "; ".join(one.evidence), remedy)


def _in_step(found: Triage) -> Check:
    pending = f"; pending: {', '.join(found.pending)}" if found.pending else ""
    return Check(
        "in-step",
        f"{len(found.in_step)} versions agree in row and file",
        Verdict.PASS,
        f"{', '.join(found.in_step) or 'none'}{pending}",
    )


def of_mended(frame: Frame, found: Triage, mended: Mended) -> Report:
    """What was changed passes; what is left for people fails."""
    checks = [
        Check(one.id, f"{one.what}: mended", Verdict.PASS, "; ".join(one.proposal.changes))
        for one in mended.done
        if one.proposal is not None
    ]
    checks += [_check(one) for one in mended.left]
    checks.append(_in_step(found))
    title = f"{len(mended.done)} mended" + (f", {len(mended.left)} left to decide" if mended.left else "")
    note = "Recorded in supabase_migrations.toolkit_repairs, with each row as it was before."
    report = frame.report(title, worst(check.verdict for check in checks), checks)
    return replace(report, notes=(*found.unknown, *((note,) if mended.done else ())))


def triage_as_dict(found: Triage, mended: Mended | None = None) -> dict[str, Any]:
    """The triage for JSON; `applied` says whether its proposals were carried out."""
    return {
        "findings": [asdict(one) for one in found.disagreements],
        "in_step": list(found.in_step),
        "pending": list(found.pending),
        "unknown": list(found.unknown),
        "applied": mended is not None,
    }
