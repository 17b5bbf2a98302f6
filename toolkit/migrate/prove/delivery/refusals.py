"""Decides for which refused probe rows a migration is to blame. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from toolkit.migrate.prove.delivery.publications import Violation
from toolkit.migrate.prove.delivery.wal import Operation
from toolkit.migrate.prove.delivery.wal_judge import NO_IDENTITY, OPERATIONS, Phase, Write

# SQLSTATE classes of broken code, as opposed to rules that refuse: errors inside a function, or of Postgres itself.
_BROKEN = ("42", "0A", "54", "XX", "22")
# The table or its schema was dropped or renamed meanwhile, which the comparison of publications judges.
_GONE = frozenset({"42P01", "3F000"})


def blamed(writes: Sequence[Write], phases: Iterable[Phase]) -> tuple[tuple[Violation, ...], tuple[str, ...]]:
    """Violations of these phases that did not happen before the migration, and notes on what was not written."""
    cases: dict[tuple[Phase, str, Operation], list[Write]] = defaultdict(list)
    for write in writes:
        cases[write.phase, write.table, write.operation].append(write)
    violations: list[Violation] = []
    notes: list[str] = []
    wanted = set(phases)
    for (phase, table, operation), seen in cases.items():
        if phase not in wanted:
            continue
        before = cases.get(("before", table, operation), [])
        violations += _altered(phase, table, seen, before)
        failed = [write for write in seen if not write.committed]
        if not failed or len(failed) < len(seen):
            if any(write.sqlstate not in _GONE for write in failed):
                notes.append(f"{phase}: {_counted(failed)} of {len(seen)} {operation}s of {table} did not happen")
            continue
        last = failed[-1]
        same = any((w.sqlstate, w.suppressed) == (last.sqlstate, last.suppressed) for w in before if not w.committed)
        violation = None if same or phase.startswith("during") else _refused(phase, last)
        if violation is not None:
            violations.append(violation)
        else:
            so = "; it was so before" if same else ""
            notes.append(f"{phase}: no {operation} of {table} was written: {last.refused}{so}")
    return tuple(dict.fromkeys(violations)), tuple(dict.fromkeys(notes))


def covered(writes: Sequence[Write], phase: Phase, tables: Iterable[str]) -> tuple[int, int]:
    """How many pairs of table and operation were written in a phase, and how many there are."""
    done = {(write.table, write.operation) for write in writes if write.phase == phase and write.committed}
    pairs = [(table, operation) for table in tables for operation in OPERATIONS]
    return sum(pair in done for pair in pairs), len(pairs)


def _refused(phase: Phase, write: Write) -> Violation | None:
    what = f"{write.operation} of {write.table} {phase}"
    if write.suppressed:
        return Violation(
            f"{what}: {write.refused}; a trigger or a rule swallows it, and there is no change to deliver",
            "Let the trigger return the row, or raise an error that the application sees.",
        )
    if write.sqlstate in NO_IDENTITY:
        return Violation(
            f"{what} fails: {write.refused}",
            f"Give {write.table} a primary key, or `alter table {write.table} replica identity full`, and publish the "
            "identity's columns.",
        )
    if write.sqlstate.startswith(_BROKEN) and write.sqlstate != "42501":
        return Violation(f"{what} fails: {write.refused}", "Correct the function, rule or type that the error names.")
    return None


def _altered(phase: Phase, table: str, seen: Sequence[Write], before: Sequence[Write]) -> list[Violation]:
    if not before:
        return []
    known = {name for write in before for name in write.altered}
    changed = {name for write in seen for name in write.altered} - known
    return [
        Violation(
            f"{table}.{name}: what an application writes there is stored and delivered as something else {phase}",
            "A BEFORE trigger rewrites it; have it fill what is missing and leave what is given.",
        )
        for name in sorted(changed)
    ]


def _counted(failed: Sequence[Write]) -> str:
    reasons = Counter(write.sqlstate or "no code" for write in failed)
    return ", ".join(f"{count} ({code})" for code, count in reasons.most_common())
