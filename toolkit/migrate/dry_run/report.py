"""A dry run as a report. Pure."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from toolkit.migrate.dry_run.run import DryRun
from toolkit.migrate.run.report import MOST_CHANGES, check_of_step, nothing_to_do, of_plan, plan_as_dict
from toolkit.migrate.run.tracing import Trace, strength
from toolkit.report.frame import Frame
from toolkit.report.record import Check, Measurement, Report, Table, Verdict, worst

_WHERE = {
    "target": "in a transaction of the target, rolled back",
    "copy": "on a copy of the database, dropped",
    "schema copy": "on a copy of the schema, without rows, dropped",
}


def of_dry_run(frame: Frame, result: DryRun) -> Report:
    """What each file would do. Without the rows of the target the verdict is unknown at best."""
    checks = [check_of_step(step, "would be ") for step in result.steps] or [nothing_to_do(result.plan.direction)]
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
    changes = tuple((step.version, str(change)) for step in result.steps for change in step.changes[:MOST_CHANGES])
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
            | {"changes": [str(change) for change in step.changes[:MOST_CHANGES]], "changes_total": len(step.changes)}
            for step in result.steps
        ],
        "statements": [asdict(trace) for trace in result.traces],
        "would_destroy": [{"what": what, "rows": rows} for what, rows in result.doomed],
        "sequences_moved": list(result.moved),
        "catalog_same_after": result.same_after,
    }
