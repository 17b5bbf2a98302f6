"""Several files of one version: which of them ran, and under which version the others can stand. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.migrate.folder.files import Folder, Migration
from toolkit.migrate.folder.versions import after
from toolkit.migrate.repair.model import Disagreement, Named, Proposal
from toolkit.migrate.repair.reading import created, says_the_same
from toolkit.migrate.run.history import AppliedRow, History, plain_text, same_text


def doubles_of(folder: Folder, history: History, exists: Mapping[Named, bool]) -> tuple[list[Disagreement], set[str]]:
    """A finding for each file whose version another file has, which `folder` puts first as the one that ran; and the
    versions of the rows that turned out to be theirs."""
    found, settled = [], set()
    taken = {migration.version for migration in folder.migrations} | {row.version for row in history.rows}
    for double in folder.doubles:
        first = folder.get(double.version)
        assert first is not None, "it is a double of one that the folder has"
        id_, what = f"double-{double.label}", f"{first.up.path.name} and {double.up.path.name} have the same version"
        if plain_text(first.up.text) == plain_text(double.up.text):
            remedy = f"Remove {double.up.path.name}, with its rollback and verify file."
            found.append(Disagreement(id_, what, ("their texts are equal",), None, remedy))
            continue
        evidence = [_why_first(history.row(double.version), first, double)]
        rows = [row for row in history.rows if folder.get(row.version) is None and _is_of(row, double)]
        if len(rows) > 1:
            versions = ", ".join(row.version for row in rows)
            evidence.append(f"rows {versions} have the statements of {double.up.path.name}, and no file")
            remedy = "Rename it to the version of the row that it is."
            found.append(Disagreement(id_, what, tuple(evidence), None, remedy))
            continue
        if rows and rows[0].version.isdecimal():
            version = rows[0].version
            settled.add(version)
            evidence.append(f"row {version} has no file, and the statements of {double.up.path.name}")
        else:
            version = _free(double.version, taken, history)
            evidence.append(f"no row is that of {double.up.path.name}: it has not run, or nothing recorded it")
            there = [str(name) for name in created(double.up.statements)[0] if exists.get(name, False)]
            if there:
                evidence.append(f"what it creates exists all the same: {', '.join(there)}")
        row = rows[0] if version in settled else None
        rewrites = row is not None and not same_text(row.statements or (), double.up)
        taken.add(version)
        target = f"{version}_{double.name}.sql"
        changes = tuple(f"file {part}{double.up.path.name} → {part}{target}" for part in pieces_of(double))
        if rewrites:
            changes = (*changes, f"history row {version}: statements → those of the file, with its comments")
        proposal = Proposal(
            "renumber_file",
            row.version if row else None,
            double.version,
            changes,
            rewrites,
            source=double.up.path.name,
            becomes=version,
        )
        found.append(Disagreement(id_, what, tuple(evidence), proposal))
    return found, settled


def pieces_of(migration: Migration) -> tuple[str, ...]:
    """The folders, below that of the migrations, in which it has a file."""
    beside = {"rollbacks/": migration.rollback, "verify/": migration.verify}
    return ("", *(part for part, file in beside.items() if file is not None))


def _is_of(row: AppliedRow, migration: Migration) -> bool:
    return row.statements is not None and (same_text(row.statements, migration.up) or says_the_same(row, migration))


def _why_first(row: AppliedRow | None, first: Migration, double: Migration) -> str:
    if row is None:
        return f"neither is recorded; by their names {first.up.path.name} comes before {double.up.path.name}"
    if row.name == first.name != double.name:
        return f"row {row.version} has the name of {first.up.path.name}"
    if _is_of(row, first):
        return f"row {row.version} has the statements of {first.up.path.name}"
    return f"row {row.version} is not told apart by name or text; {first.up.path.name} is the first by name"


def _free(version: str, taken: set[str], history: History) -> str:
    """Directly after `version` where that is free and newer than all that is applied; else after everything."""
    newest = max((row.version for row in history.rows), default="")
    following = min((one for one in taken if one > version), default="")
    for candidate in (after(version), f"{version}1"):
        if candidate > max(version, newest) and candidate not in taken and (not following or candidate < following):
            return candidate
    return after(max(taken))
