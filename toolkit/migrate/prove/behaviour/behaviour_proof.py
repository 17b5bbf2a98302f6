"""The behaviour proof: what a migration makes works when it is used. Functions are called, tables written to so that
their triggers fire, views read, and the folder's verify files run.

A refusal by a rule of the schema is accepted; an undefined column, an ambiguous name or an endless recursion is a
violation. What failed in the same way before the version, and was not changed by it, is a note and no violation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.migrate.prove.behaviour.answers import rank
from toolkit.migrate.prove.behaviour.arguments import Function, Known
from toolkit.migrate.prove.behaviour.calls import Called, call_functions, read_functions, read_views, sample_rows
from toolkit.migrate.prove.behaviour.writes import Fired, Trigger, read_triggers, write_everywhere
from toolkit.migrate.prove.subject.claims import Claim, Level, Outcome, Proof, Subject
from toolkit.migrate.rows.seeding import Seeded, seed
from toolkit.migrate.rows.shapes import Shape, read_shapes
from toolkit.migrate.run.api import migrate_up
from toolkit.migrate.run.run_model import Progress
from toolkit.migrate.verify.run import migrate_verify
from toolkit.postgres.connection import connected
from toolkit.report.record import Verdict, shortened

_PURPOSE = "toolkit migrate prove: behaviour"
_ROWS_EACH = 4
_CODE = re.compile(r"\[(\w{5})\]")
_VERBS = ("insert", "update", "delete")


@dataclass(frozen=True)
class _State:
    """What can be exercised in a state of the schema."""

    shapes: Mapping[str, Shape]
    functions: Mapping[str, Function]
    triggers: Mapping[tuple[str, str], Trigger]
    known: Known


@dataclass(frozen=True)
class _Found:
    """The results of exercising a state."""

    state: _State
    called: Called
    viewed: Called
    views: Mapping[str, str]
    fired: Fired
    seeded: Seeded


async def run(subject: Subject, version: str) -> Outcome:
    """Exercise the state after one version; when something fails there, exercise the state before too."""
    migration = subject.migration(version)
    template = await subject.states.seeded(version)

    def tell(what: str) -> None:
        subject.tell(Progress("statement", migration.label, f"behaviour: {what}"))

    async with subject.states.clone(template) as dsn:
        result = await migrate_up(dsn, subject.folder, to=version, include_all=True, options=subject.states.options)
        if result.ok:
            tell("calling functions, firing triggers, reading views")
            after = await _exercise(dsn)
    notes: list[str] = []
    if not result.ok:  # existing rows stop it, which says nothing about whether it works
        notes.append("it does not apply to a database with rows: looked at without them")
        async with subject.states.clone(await subject.states.after(version)) as dsn:
            after = await _exercise(dsn)
    before = after  # the state before is needed only when something failed
    if _is_troubled(after):
        async with subject.states.clone(template) as dsn:
            tell("comparing with the state before")
            before = await _exercise(dsn)
    declared = {entry.table for entry in migration.up.changes if not entry.columns}
    claims = [
        *_functions(version, before, after, notes),
        _writes(version, before, after, declared, notes),
        *_views(version, before, after, notes),
    ]
    if migration.verify is not None:
        tell("running the verify files")
        claims.append(await _verified(subject, version))
    elif any(other.verify for other in subject.folder.migrations):
        notes.append(f"{migration.label} has no verify file")
    return Outcome(tuple(claims), notes=tuple(dict.fromkeys(notes)))


async def _exercise(dsn: str) -> _Found:
    async with connected(dsn, _PURPOSE) as conn:
        shapes = await read_shapes(conn)
        seeded = await seed(conn, shapes, _ROWS_EACH)
        known = Known(shapes, await sample_rows(conn, shapes))
        state = _State(shapes, await read_functions(conn), await read_triggers(conn), known)
        tables = {trigger.table for trigger in state.triggers.values()}
        bare = {trigger.table for trigger in state.triggers.values() if trigger.needs_path}
        fired = await write_everywhere(conn, shapes, known.rows, thoroughly=tables, pathless=bare)
    async with connected(dsn, _PURPOSE) as conn:
        called = await call_functions(conn, [f for f in state.functions.values() if f.callable], known)
        viewed, views = await read_views(conn)
    return _Found(state, called, viewed, views, fired, seeded)


def _is_troubled(found: _Found) -> bool:
    """Whether anything failed that may have failed before as well."""
    refused = any(_by_function(why) and where not in found.fired.worked for where, why in found.fired.refused.items())
    return refused or bool(found.called.problems or found.viewed.problems or found.fired.problems)


def _by_function(why: str) -> bool:
    """Whether a function raised it. A refusing constraint may simply have no row of ours that satisfies it."""
    return ", in " in why


# -- functions --------------------------------------------------------------------------------------------------------


def _functions(version: str, before: _Found, after: _Found, notes: list[str]) -> list[Claim]:
    functions = after.state.functions
    if not any(not function.for_triggers for function in functions.values()):
        return []
    violations = []
    for signature, problems in after.called.problems.items():
        old = before.state.functions.get(signature)
        touched = old is None or old.definition != functions[signature].definition
        violations += _new_ones(signature, problems, before.called.problems.get(signature, []), notes, touched=touched)
    violations.sort(key=rank)
    called, silent = after.called, _silent(after)
    basis = f"called {called.callees} of {called.callees + len(silent)} functions, {called.calls} calls"
    if silent:
        basis += f"; not callable from SQL: {', '.join(silent)}"
    if called.undecided:
        basis += "; undecided: " + "; ".join(shortened((f"{name}: {why}" for name, why in called.undecided.items()), 3))
    return [
        Claim.of(
            PROOF,
            version,
            "functions",
            "Every function can be called",
            Level.SAMPLED if called.callees else Level.NOT_CHECKED,
            basis,
            violations,
            "Correct the function; the message says what it cannot find or do.",
        )
    ]


def _silent(found: _Found) -> list[str]:
    return [s for s, f in found.state.functions.items() if not f.callable and not f.for_triggers]


def _new_ones(
    name: str, problems: Sequence[str], before: Sequence[str], notes: list[str], *, touched: bool
) -> list[str]:
    """The problems for which this version is answerable: it made or changed what fails, or it did not fail before."""
    found = []
    codes = {code for problem in before for code in _CODE.findall(problem)}
    for problem in problems:
        # Messages contain ids of rows, which differ from run to run.
        if touched or not set(_CODE.findall(problem)) <= codes or not codes:
            found.append(f"{name}: {problem}")
        else:
            notes.append(f"as before this version: {name}: {problem}")
    return found


# -- writes and triggers ----------------------------------------------------------------------------------------------


def _writes(version: str, before: _Found, after: _Found, declared: set[str], notes: list[str]) -> Claim:
    fired = after.fired
    violations = []
    for (table, verb), problems in fired.problems.items():
        old = before.fired.problems.get((table, verb), [])
        violations += _new_ones(f"{verb} on {table}", problems, old, notes, touched=_is_new(table, before))
    for table in sorted(fired.tables & before.fired.tables):
        for verb in _VERBS:
            works_no_more = (table, verb) in before.fired.worked and (table, verb) not in fired.worked
            why = fired.refused.get((table, verb))
            if works_no_more and why and _by_function(why) and table not in declared:
                violations.append(f"{verb} on {table} worked before this version and is always refused now: {why}")
    reached, missed = _triggers(after)
    total = len(reached) + len(missed)
    basis = f"{fired.statements} statements on {len(fired.tables)} tables"
    level = Level.PROVED if not missed else Level.SAMPLED
    if total:
        basis += f"; {len(reached)} of {total} trigger functions ran"
    if missed:
        basis += "; not reached: " + "; ".join(f"{name} ({why})" for name, why in missed.items())
    if after.seeded.refused:
        level = Level.SAMPLED
        some = shortened((f"{table}: {why}" for table, why in after.seeded.refused.items()), 3)
        basis += f"; no row in {'; '.join(some)}"
    if not fired.worked and not fired.problems and not violations:
        level, basis = Level.NOT_CHECKED, f"nothing could be written ({basis})"
    return Claim.of(
        PROOF,
        version,
        "writes",
        "Ordinary inserts, updates and deletes work, and every trigger with them",
        level,
        basis,
        violations,
        "Correct the trigger function; a table that is meant to refuse from now on is declared in the migration's "
        "header: `-- changes: rows TABLE`.",
    )


def _is_new(table: str, before: _Found) -> bool:
    return table not in before.state.shapes


def _triggers(found: _Found) -> tuple[list[str], dict[str, str]]:
    """Trigger functions that ran, and why the others did not."""
    reached, missed = [], {}
    for signature, function in found.state.functions.items():
        if function.returns != "trigger":
            continue
        triggers = [trigger for trigger in found.state.triggers.values() if trigger.function == function.oid]
        tables = {trigger.table for trigger in triggers}
        failed = any((table, verb) in found.fired.problems for table in tables for verb in _VERBS)
        # The count of a trigger function that refused was rolled back.
        said = [why for (table, _), why in found.fired.refused.items() if table in tables]
        refused = any(f"function {signature.split('(')[0]}(" in why for why in said)
        if function.oid in found.fired.reached or failed or refused:
            reached.append(signature)
        elif not found.fired.counted:
            missed[signature] = "the server's role may not count calls"
        elif not triggers:
            missed[signature] = "no trigger uses it"
        elif not any(trigger.enabled for trigger in triggers):
            missed[signature] = "its trigger is disabled"
        elif any(trigger.on_view for trigger in triggers):
            missed[signature] = "it belongs to a view, and views are not written to"
        else:
            missed[signature] = f"nothing that was written to {', '.join(sorted(tables))} called it"
    return reached, missed


# -- views and verify files -------------------------------------------------------------------------------------------


def _views(version: str, before: _Found, after: _Found, notes: list[str]) -> list[Claim]:
    if not after.views:
        return []
    violations = []
    for view, problems in after.viewed.problems.items():
        touched = before.views.get(view) != after.views[view]
        violations += _new_ones(view, problems, before.viewed.problems.get(view, []), notes, touched=touched)
    basis = f"every column of every row of {len(after.views)} views over {_ROWS_EACH} rows or more a table"
    return [
        Claim.of(
            PROOF,
            version,
            "views",
            "Every view can be read",
            Level.SAMPLED,
            basis,
            violations,
            "Correct the view: rows that its tables allow must not break it.",
        )
    ]


async def _verified(subject: Subject, version: str) -> Claim:
    """The checks of the verify files up to this version, on the state after it."""
    async with subject.states.clone(await subject.states.after(version)) as dsn:
        result = await migrate_verify(dsn, subject.folder, to=version, probes=subject.options.probes)
    has_file = {m.version for m in subject.folder.migrations if m.verify is not None}
    checks = [check for check in result.checks if check.group in has_file]
    failed = [check for check in checks if check.verdict is Verdict.FAIL]
    violations = [f"{check.id} {check.title}: {'; '.join(shortened(check.witness, 3))}" for check in failed]
    open_ones = [check for check in checks if check.verdict is Verdict.UNKNOWN]
    basis = f"{len(checks)} checks of the verify files and probes"
    if open_ones:
        basis += "; undecided: " + "; ".join(shortened((f"{c.id}: {c.detail}" for c in open_ones), 5))
    return Claim.of(
        PROOF,
        version,
        "verify",
        "What the verify files say of it holds",
        Level.SAMPLED if open_ones else Level.PROVED,
        basis,
        violations,
        failed[0].remedy if failed else "",
    )


PROOF = Proof("behaviour", "What it makes works when it is used", run)
