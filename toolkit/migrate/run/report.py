"""Status, plans, refusals and runs as reports. Pure."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from toolkit.migrate.folder.headers import Destroyed, merged
from toolkit.migrate.run.api import Status
from toolkit.migrate.run.history import Direction
from toolkit.migrate.run.plan import Plan, Refusal, Step, VersionStatus
from toolkit.migrate.run.run_model import RunResult, StepResult
from toolkit.report.frame import Frame
from toolkit.report.record import Check, Link, Measurement, Report, Table, Verdict, worst

_STATUS_REMEDY = {
    "edited": "Restore the file as it ran; put the change into a new migration.",
    "gap": "Give it a later version, or apply it with --include-all.",
    "missing_locally": "Get the file from where it was applied, or see `toolkit migrate repair`.",
    "refused": "Correct the file; `toolkit migrate up` stops before it.",
    "interrupted": "Run `toolkit migrate up`: it goes on where it stopped.",
}
MOST_CHANGES = 200
_DONE: dict[Direction, str] = {"up": "applied", "down": "rolled back"}


def of_status(frame: Frame, status: Status) -> Report:
    """Troubled versions and invalid indexes fail; pending ones do not."""
    checks = [_version_check(version) for version in status.versions]
    checks += [
        Check(
            f"invalid-index-{index}",
            f"Index {index} is valid",
            Verdict.FAIL,
            "an interrupted build left it INVALID",
            f"drop index concurrently {index.split(' on ')[0]}; then build it again",
        )
        for index in status.invalid_indexes
    ]
    rows = tuple(
        (v.version, v.name, v.state, "yes" if v.has_rollback else "no", "yes" if v.has_verify else "no", v.detail)
        for v in status.versions
    )
    table = Table("Migrations", ("version", "name", "state", "rollback", "verify", "detail"), rows)
    verdict = worst(check.verdict for check in checks)
    title = f"{len(status.pending)} pending" if status.pending else "Up to date"
    if verdict is Verdict.FAIL:
        title = "The folder and the database disagree"
    return replace(frame.report(title, verdict, checks), tables=(table,), notes=status.notices)


def _version_check(version: VersionStatus) -> Check:
    fine = version.state in {"applied", "pending"}
    return Check(
        version.version,
        f"{version.name or version.version} is {version.state.replace('_', ' ')}",
        Verdict.PASS if fine else Verdict.FAIL,
        version.detail,
        _STATUS_REMEDY.get(version.state, ""),
    )


def of_plan(frame: Frame, plan: Plan) -> Report:
    """What would run; a plan that was made is a pass."""
    rows = tuple(
        (
            str(number),
            step.migration.label,
            f"{step.done}/{len(step.script.statements)} done" if step.done else str(len(step.script.statements)),
            "one" if step.script.transactional else "none, statement by statement",
            _destroyed_count(step),
        )
        for number, step in enumerate(plan.steps, start=1)
    )
    verb = "apply" if plan.direction == "up" else "roll back"
    title = f"Would {verb} {len(plan.steps)}" if plan.steps else "Nothing to do"
    table = Table(f"To {verb}, in this order", ("", "file", "statements", "transaction", "destroys"), rows)
    doomed = tuple(
        (destroyed.table, _what_goes(destroyed), step.migration.label)
        for step in plan.steps
        for destroyed in merged(step.destroys)
    )
    tables = [table] if rows else []
    if doomed:
        tables.append(Table("Destroyed by this; exported first (--export-dir)", ("table", "what", "file"), doomed))
    checks = [
        Check(step.migration.version, f"{step.migration.label} can be {_DONE[plan.direction]}", Verdict.PASS)
        for step in plan.steps
    ]
    report = frame.report(title, Verdict.PASS, checks or [nothing_to_do(plan.direction)])
    return replace(report, tables=tuple(tables), notes=plan.notes)


def nothing_to_do(direction: Direction) -> Check:
    """The one check of a plan without steps."""
    what = "No migration is pending" if direction == "up" else "No applied migration is newer"
    return Check("nothing-to-do", what, Verdict.PASS)


def _what_goes(destroyed: Destroyed) -> str:
    return "rows of it" if destroyed.rows_only else ", ".join(destroyed.columns) or "all of it"


def _destroyed_count(step: Step) -> str:
    destroyed = merged(step.destroys)
    tables = sum(entry.whole_table for entry in destroyed)
    columns = sum(len(entry.columns) for entry in destroyed)
    changed = sum(entry.rows_only for entry in destroyed)
    counts = [f"{n} {noun}{'s' * (n > 1)}" for n, noun in ((tables, "table"), (columns, "column")) if n]
    counts += [f"rows of {changed} more"] if changed else []
    return ", ".join(counts) or "nothing"


def plan_as_dict(plan: Plan) -> dict[str, Any]:
    """The plan for JSON."""
    return {
        "direction": plan.direction,
        "steps": [
            {
                "version": step.migration.version,
                "name": step.migration.name,
                "file": str(step.script.path),
                "sha256": step.script.sha256,
                "statements": len(step.script.statements),
                "done": step.done,
                "transactional": step.script.transactional,
                "destroys": [str(destroyed) for destroyed in merged(step.destroys)],
            }
            for step in plan.steps
        ],
        "notes": list(plan.notes),
    }


def of_refusals(frame: Frame, refusals: tuple[Refusal, ...], verdict: Verdict = Verdict.FAIL) -> Report:
    """A refusal as a report, each reason a check: failed, or unknown where the request made no sense (`verdict`)."""
    checks = tuple(
        Check(f"{refusal.code}-{number}", refusal.what, verdict, "", refusal.remedy)
        for number, refusal in enumerate(refusals, start=1)
    )
    return frame.report("Refused", verdict, checks)


def of_run(frame: Frame, result: RunResult) -> Report:
    """What became of each file."""
    checks = tuple(check_of_step(step) for step in result.steps) or (nothing_to_do(result.direction),)
    measurements = tuple(
        Measurement(f"{step.version} {step.name}", step.seconds, "s")
        for step in result.steps
        if step.outcome != "not_run"
    )
    exports = tuple(
        (export.table, export.rows, str(step.export_dir / export.file))
        for step in result.steps
        if step.export_dir is not None
        for export in step.exports
    )
    done = _DONE[result.direction]
    title = "Nothing to do" if not result.steps else f"{sum(not s.failure for s in result.steps)} {done}"
    if not result.ok:
        title = f"Stopped: not everything was {done}"
    return replace(
        frame.report(title, Verdict.PASS if result.ok else Verdict.FAIL, checks),
        measurements=measurements,
        # Not a table: a path folded into a column can neither be read nor copied.
        links=tuple(
            Link(f"Exported before it was destroyed, {table} ({rows} rows)", file) for table, rows, file in exports
        ),
        notes=result.notes + tuple(note for step in result.steps for note in step.notes),
    )


def check_of_step(step: StepResult, mood: str = "") -> Check:
    """What became of one file; `mood` is "would be " where nothing was meant to stay."""
    label = f"{step.version}_{step.name}"
    if step.failure is not None:
        return Check(
            step.version,
            f"{label} {'would fail' if mood else 'failed'}",
            Verdict.FAIL,
            str(step.failure),
            step.failure.remedy,
        )
    if step.outcome == "not_run":
        return Check(step.version, f"{label} was not run", Verdict.UNKNOWN, "an earlier file stopped the run", "")
    verb = step.outcome.replace("_", " ")
    return Check(
        step.version,
        f"{label} {mood}{verb}",
        Verdict.PASS,
        f"{len(step.changes)} facts of the catalog changed; attempts: {step.attempts}; SHA-256 {step.sha256[:12]}…",
    )


def run_as_dict(result: RunResult) -> dict[str, Any]:
    """The run for JSON."""
    steps = []
    for step in result.steps:
        shown = asdict(step) | {
            "changes": [str(change) for change in step.changes[:MOST_CHANGES]],
            "changes_total": len(step.changes),
            "export_dir": str(step.export_dir) if step.export_dir else None,
        }
        steps.append(shown)
    return {
        "direction": result.direction,
        "ok": result.ok,
        "catalog_before": result.catalog_before,
        "catalog_after": result.catalog_after,
        "steps": steps,
    }
