"""Snapshots and comparisons as reports. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from toolkit.migrate.catalog.compare import Comparison
from toolkit.migrate.catalog.document import Document
from toolkit.migrate.catalog.facts import Difference, Snapshot, canonical
from toolkit.migrate.catalog.take import NOT_MODELLED
from toolkit.report.frame import Frame
from toolkit.report.record import Check, Report, Table, Verdict, shortened, worst

_MOST_NAMES = 12
_LONG = 300
_MOST_OF_THE_DUMP = 60


def of_snapshot(frame: Frame, document: Document) -> Report:
    """What was read: facts by kind, and what exists that no fact stands for."""
    snapshot = document.snapshot
    check = Check("snapshot", f"{len(snapshot.facts)} facts, sha256 {snapshot.digest()}", Verdict.PASS)
    kinds = Table("Facts", ("kind", "how many"), tuple((kind, str(count)) for kind, count in snapshot.kinds()))
    report = frame.report(f"Snapshot of Postgres {document.server_version}", Verdict.PASS, [check])
    notes = (f"Positions of {len(snapshot.positions or {})} sequences are kept apart from the facts.",)
    return replace(report, tables=(kinds, *_unmodelled(snapshot)), notes=notes + _not_modelled())


def of_comparison(frame: Frame, found: Comparison, title: str, remedy: str, more: Sequence[Check] = ()) -> Report:
    """Every difference by name, before and after, by each oracle."""
    facts = max(len(side.snapshot.facts) for side in (found.before, found.after))
    checks = [
        *more,
        Check.of_lines(
            "facts",
            f"The {facts} facts are the same",
            (line for difference in found.differences for line in lines_of(difference)),
            detail=_count(found.differences),
            remedy=remedy,
            most=None,
        ),
        Check.of_lines(
            "unmodelled",
            "Objects that no fact stands for are on both sides",
            (f"only {where}: {kind} {name}" for kind, name, where in found.unmodelled),
            detail="nothing but their names was compared",
            remedy=remedy,
            most=None,
        ),
        *_by_dump(found, remedy),
    ]
    verdict = worst(check.verdict for check in checks)
    endings = {Verdict.PASS: "equal", Verdict.FAIL: "different", Verdict.UNKNOWN: "not everything could be compared"}
    sides = tuple(
        (name, side.source, f"Postgres {side.server_version}", side.taken_at.isoformat(), side.snapshot.digest()[:16])
        for name, side in (("before", found.before), ("after", found.after))
    )
    report = frame.report(f"{title}: {endings[verdict]}", verdict, checks)
    table = Table("Compared", ("", "catalog", "server", "taken at", "sha256 begins"), sides)
    return replace(report, tables=(table, *_unmodelled(found.after.snapshot)), notes=found.notes + _not_modelled())


def as_dict(found: Comparison) -> dict[str, Any]:
    """The comparison for JSON: full values, nothing shortened."""
    return {
        "equal": found.equal,
        "before": {"source": found.before.source, "sha256": found.before.snapshot.digest()},
        "after": {"source": found.after.source, "sha256": found.after.snapshot.digest()},
        "differences": [asdict(difference) for difference in found.differences],
        "dump": None if found.dumps is None else asdict(found.dumps),
        "disagreements": list(found.disagreements),
        "unmodelled": {
            "only_one_side": [list(one) for one in found.unmodelled],
            "after": [asdict(one) for one in found.after.snapshot.unmodelled or ()],
        },
    }


def lines_of(difference: Difference) -> tuple[str, ...]:
    """A difference for reading: its key, and below it what was and what is; of long texts the lines that changed."""
    lines = [f"{difference.kind}: {difference.key}"]
    if difference.kind != "changed":
        # What is false or nothing is what a reader assumes.
        values = [(name, new if difference.kind == "added" else old) for name, old, new in difference.parts()]
        told = [f"{name} {_shown(value)}".strip() for name, value in values if value not in (False, None, [], {})]
        return (*lines, f"    {'; '.join(told)}") if told else tuple(lines)
    for name, old, new in difference.parts():
        label = f"{name}: " if name else ""
        if isinstance(old, str) and isinstance(new, str) and ("\n" in old or "\n" in new):
            _, _, *changed = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
            lines += [f"    {label}{line}" for line in changed if not line.startswith("@@")]
        else:
            lines.append(f"    {label}{_shown(old)} → {_shown(new)}")
    return tuple(lines)


def _shown(value: Any) -> str:
    text = "(none)" if value is None else value if isinstance(value, str) else canonical(value)
    first, *rest = text.strip().split("\n", 1)
    if rest or len(first) > _LONG:
        return f"{first[:_LONG]}… ({len(text)} characters)"
    return first


def _by_dump(found: Comparison, remedy: str) -> list[Check]:
    if found.dumps is None:
        return []
    title = "pg_dump writes both sides alike"
    if found.dumps.problem:
        return [Check("dump", title, Verdict.UNKNOWN, found.dumps.problem, "Or leave it out with --no-dump.")]
    entries = found.dumps.differences
    lines = [f"{one.title}: {line}" for one in entries for line in one.lines or ("(removed or empty)",)]
    detail = _count(entries, "entry differs", "entries differ")
    if len(lines) > _MOST_OF_THE_DUMP:
        detail += " (--json shows every line)"
    return [
        Check.of_lines("dump", title, lines, detail=detail, remedy=remedy, most=_MOST_OF_THE_DUMP),
        Check.of_lines(
            "oracles",
            "Our facts and pg_dump agree",
            found.disagreements,
            detail="one of the two does not see what the other does" if found.disagreements else "",
            remedy="Judge the difference by the line above, and report it: it is a fault of this toolkit's catalog.",
            most=None,
        ),
    ]


def _count(found: Sequence[object], one: str = "fact differs", many: str = "facts differ") -> str:
    return f"{len(found)} {one if len(found) == 1 else many}" if found else ""


def _unmodelled(snapshot: Snapshot) -> tuple[Table, ...]:
    if not snapshot.unmodelled:
        return ()
    rows = tuple(
        (one.kind, str(one.count), ", ".join(shortened(one.names, _MOST_NAMES))) for one in snapshot.unmodelled
    )
    return (Table("There, but no fact stands for it", ("kind", "how many", "which"), rows),)


def _not_modelled() -> tuple[str, ...]:
    return ("Never compared: " + "; ".join(NOT_MODELLED) + ".",)
