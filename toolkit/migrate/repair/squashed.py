"""Files that took the place of several which ran: one that holds the statements of several rows, or a dump of what they
made. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from toolkit.migrate.folder.files import Folder, Migration
from toolkit.migrate.repair.model import Disagreement, Named, Proposal
from toolkit.migrate.repair.reading import created, said_by, statements_of
from toolkit.migrate.run.history import AppliedRow, History, same_text


def squashed_files(
    folder: Folder, history: History, exists: Mapping[Named, bool]
) -> Iterator[tuple[Disagreement, set[str], str]]:
    """For each file that is several rows in one: the finding, the versions of those rows, and the file's.

    Only rows without a file of their own are meant, and that of the file's version where it has other statements.
    """
    settled: set[str] = set()
    for migration in folder.migrations:
        own = history.row(migration.version)
        if own is not None and (own.statements is None or same_text(own.statements, migration.up)):
            continue
        rows = [
            row
            for row in history.rows
            if row.statements is not None
            and row.version not in settled
            and (row is own or folder.get(row.version) is None)
        ]
        if (run := _holds(migration, rows, own)) is not None:
            evidence = [f"its statements are those of rows {_listed(run)}, in that order"]
        elif (run := _stands_for(migration, rows, own, folder, exists)) is not None:
            evidence = [
                f"rows {_listed(run)} have no file, and no file is older than it",
                "it creates everything that they create and that exists, and all that it creates exists",
                "whether it is the same is not known: `toolkit migrate drift` looks",
            ]
        else:
            continue
        found = _finding(migration, run, own, evidence)
        versions = {row.version for row in run}
        settled |= versions
        yield found, versions, migration.version


def _holds(migration: Migration, rows: Sequence[AppliedRow], own: AppliedRow | None) -> list[AppliedRow] | None:
    """Rows that follow each other, and whose statements are together those of the file."""
    whole = said_by(migration.up.statements)
    said = [said_by(statements_of(row)) for row in rows]
    for start in range(len(rows)):
        length, at = 0, start
        while at < len(rows) and said[at] and whole[length : length + len(said[at])] == said[at]:
            length += len(said[at])
            at += 1
        run = list(rows[start:at])
        if length == len(whole) and len(run) > 1 and (own is None or own in run):
            return run
    return None


def _stands_for(
    migration: Migration,
    rows: Sequence[AppliedRow],
    own: AppliedRow | None,
    folder: Folder,
    exists: Mapping[Named, bool],
) -> list[AppliedRow] | None:
    """Every row up to the version of a folder's first file, where this makes all that is left of what they made."""
    if migration is not folder.migrations[0]:
        return None
    run = [row for row in rows if row.version <= migration.version]
    made = set(created(migration.up.statements)[0])
    theirs = {name for row in run for name in created(statements_of(row))[0] if exists.get(name, False)}
    if len(run) < 2 or (own is not None and own not in run):
        return None
    return run if theirs and theirs <= made and all(exists.get(name, False) for name in made) else None


def _finding(
    migration: Migration, run: Sequence[AppliedRow], own: AppliedRow | None, evidence: Sequence[str]
) -> Disagreement:
    kept = own or run[-1]
    removed = tuple(row for row in run if row is not kept)
    changes = [
        f"history row {row.version} ({row.name or 'unnamed'}): removed; its contents are kept in the ledger"
        for row in removed
    ]
    if kept.version != migration.version:
        changes.append(f"history row {kept.version}: version {kept.version} → {migration.version}")
    if kept.name != migration.name:
        changes.append(f"history row {kept.version}: name {kept.name or 'none'} → {migration.name}")
    changes.append(f"history row {kept.version}: statements → the {len(migration.up.recorded)} of the file")
    proposal = Proposal(
        "squash_rows",
        kept.version,
        migration.version,
        tuple(changes),
        rewrites=True,
        removed=tuple(row.version for row in removed),
    )
    what = f"{migration.up.path.name} is {len(run)} applied migrations in one"
    return Disagreement(f"squashed-{migration.version}", what, tuple(evidence), proposal)


def _listed(rows: Sequence[AppliedRow]) -> str:
    return ", ".join(row.version for row in rows)
