"""Results of the migration tools as reports. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from toolkit.migrate.dry_run import DryRun
from toolkit.migrate.folder.files import Destroyed, merged
from toolkit.migrate.repair.mend import Mended
from toolkit.migrate.repair.triage import Finding, Triage
from toolkit.migrate.run.api import Status
from toolkit.migrate.run.execute import RunResult, StepResult
from toolkit.migrate.run.history import Direction
from toolkit.migrate.run.plan import Plan, Refusal, Step, VersionStatus
from toolkit.migrate.run.tracing import Trace, strength
from toolkit.migrate.verify.run import VerifyResult
from toolkit.report.record import Check, Link, Measurement, Report, Table, Verdict, worst

_STATUS_REMEDY = {
    "edited": "Restore the file as it ran; put the change into a new migration.",
    "gap": "Give it a later version, or apply it with --include-all.",
    "missing_locally": "Get the file from where it was applied, or see `toolkit migrate repair`.",
    "interrupted": "Run `toolkit migrate up`: it goes on where it stopped.",
}
_MOST_CHANGES = 200
_DONE: dict[Direction, str] = {"up": "applied", "down": "rolled back"}


@dataclass(frozen=True)
class Frame:
    """What every report of one command has in common."""

    name: str
    started_at: datetime
    target: str
    tool_version: str

    def report(self, title: str, verdict: Verdict, checks: Iterable[Check]) -> Report:
        """A report of this command, finished now."""
        return Report(
            self.name, title, verdict, self.started_at, datetime.now(UTC), self.target, self.tool_version, tuple(checks)
        )


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
    report = frame.report(title, Verdict.PASS, checks or [_nothing_to_do(plan.direction)])
    return replace(report, tables=tuple(tables), notes=plan.notes)


def _nothing_to_do(direction: Direction) -> Check:
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
    checks = tuple(_step_check(step) for step in result.steps) or (_nothing_to_do(result.direction),)
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


def _step_check(step: StepResult, mood: str = "") -> Check:
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
            "changes": [str(change) for change in step.changes[:_MOST_CHANGES]],
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


_WHERE = {
    "target": "in a transaction of the target, rolled back",
    "copy": "on a copy of the database, dropped",
    "schema copy": "on a copy of the schema, without rows, dropped",
}


def of_dry_run(frame: Frame, result: DryRun) -> Report:
    """What each file would do. Without the rows of the target the verdict is unknown at best."""
    checks = [_step_check(step, "would be ") for step in result.steps] or [_nothing_to_do(result.plan.direction)]
    if result.same_after is not None:
        checks.append(
            Check(
                "nothing-left",
                "The catalog is as it was before",
                Verdict.PASS if result.same_after else Verdict.UNKNOWN,
                "" if result.same_after else "it differs, though all was rolled back: another session changed it",
                "" if result.same_after else "Look at `toolkit migrate status`, and run it again.",
            )
        )
    if result.where == "schema copy" and result.steps:
        checks.append(
            Check(
                "rows",
                "The files go through on the rows of the target",
                Verdict.UNKNOWN,
                "the copy has no rows",
                "Run the dry run on a restored backup that you may copy, or on a staging database.",
            )
        )
    verb = "be applied" if result.plan.direction == "up" else "be rolled back"
    title = f"{len(result.steps)} would {verb}" if result.steps else "Nothing to do"
    if not result.ok:
        title = f"Would stop: not everything can {verb}"
    plan = of_plan(frame, result.plan)
    locks = tuple(_trace_row(trace) for trace in result.traces)
    changes = tuple((step.version, str(change)) for step in result.steps for change in step.changes[:_MOST_CHANGES])
    tables = [*plan.tables]
    if locks:
        title_of_locks = (
            "Locks and rewrites, by statement (without locks on what it makes itself: nobody waits for those)"
        )
        tables.append(Table(title_of_locks, ("version", "line", "statement", "locks", "rewrites"), locks))
    if changes:
        tables.append(Table("What changes in the catalog", ("version", "difference"), changes))
    if result.doomed:
        rows = tuple((what, str(count)) for what, count in result.doomed)
        tables.append(Table("Rows that would be exported and destroyed", ("table", "rows"), rows))
    notes = [*plan.notes, *result.notes, *(note for step in result.steps for note in step.notes)]
    if result.moved:
        notes.append(
            "Sequences keep where a dry run (or somebody else meanwhile) moved them: " + ", ".join(result.moved)
        )
    measurements = (Measurement(f"dry run, {_WHERE[result.where]}", result.seconds, "s"),)
    report = frame.report(title, worst(check.verdict for check in checks), checks)
    return replace(report, tables=tuple(tables), notes=tuple(notes), measurements=measurements)


def _trace_row(trace: Trace) -> tuple[str, ...]:
    foreign = [lock for lock in trace.locks if not lock.made_here and strength(lock.mode)]
    locks = ", ".join(f"{lock.mode.removesuffix('Lock')} {lock.relation}" for lock in foreign) or "none"
    if trace.sampled:
        locks += " (sampled)"
    return trace.version, str(trace.line), trace.text, locks, ", ".join(trace.rewritten)


def dry_run_as_dict(result: DryRun) -> dict[str, Any]:
    """The dry run for JSON."""
    return {
        "ok": result.ok,
        "where": result.where,
        "plan": plan_as_dict(result.plan),
        "steps": [
            asdict(step)
            | {"changes": [str(change) for change in step.changes[:_MOST_CHANGES]], "changes_total": len(step.changes)}
            for step in result.steps
        ],
        "statements": [asdict(trace) for trace in result.traces],
        "would_destroy": [{"what": what, "rows": rows} for what, rows in result.doomed],
        "sequences_moved": list(result.moved),
        "catalog_same_after": result.same_after,
    }


def of_triage(frame: Frame, found: Triage) -> Report:
    """Each finding fails, whether a proposal would mend it or a person has to look."""
    checks = [_finding_check(finding) for finding in found.findings]
    checks.append(_in_step(found))
    title = f"{len(found.findings)} out of step, {len(found.proposals)} of them --apply would mend"
    if not found.findings:
        title = "Folder and history are in step"
    changes = tuple((f.id, change) for f in found.findings if f.proposal for change in f.proposal.changes)
    tables = (Table("What --apply would change", ("finding", "change"), changes),) if changes else ()
    report = frame.report(title, worst(check.verdict for check in checks), checks)
    return replace(report, tables=tables, notes=found.unknown)


def _finding_check(finding: Finding) -> Check:
    remedy = "With --apply: " + "; ".join(finding.proposal.changes) if finding.proposal else finding.remedy
    return Check(finding.id, finding.what, Verdict.FAIL, "; ".join(finding.evidence), remedy)


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
        Check(finding.id, f"{finding.what}: mended", Verdict.PASS, "; ".join(finding.proposal.changes))
        for finding in mended.done
        if finding.proposal is not None
    ]
    checks += [_finding_check(finding) for finding in mended.left]
    checks.append(_in_step(found))
    title = f"{len(mended.done)} mended" + (f", {len(mended.left)} left to decide" if mended.left else "")
    note = "Recorded in supabase_migrations.toolkit_repairs, with each row as it was before."
    report = frame.report(title, worst(check.verdict for check in checks), checks)
    return replace(report, notes=(*found.unknown, *((note,) if mended.done else ())))


def triage_as_dict(found: Triage, mended: Mended | None = None) -> dict[str, Any]:
    """The triage for JSON; `applied` says whether its proposals were carried out."""
    return {
        "findings": [asdict(finding) for finding in found.findings],
        "in_step": list(found.in_step),
        "pending": list(found.pending),
        "unknown": list(found.unknown),
        "applied": mended is not None,
    }


def of_verify(frame: Frame, result: VerifyResult) -> Report:
    """Each check under its version."""
    checks = tuple(
        Check(check.id, check.title, Verdict(check.status.value), "", check.remedy, check.version, check.evidence)
        for check in result.checks
    )
    verdict = Verdict(result.status.value)
    return replace(frame.report(f"Verified {len(result.versions)} migrations", verdict, checks), notes=result.notices)
