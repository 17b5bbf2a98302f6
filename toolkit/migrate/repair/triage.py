"""A history and a folder that have come apart: what belongs together, by version, then name, then text. Pure.

Only what one reading allows gets a proposal. Where two rows or two files could be meant, or the evidence contradicts
itself, the disagreement says so and leaves the decision to people.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.migrate.folder.files import Folder, Migration, refusal_of
from toolkit.migrate.folder.statements import Statement
from toolkit.migrate.repair.doubles import doubles_of, pieces_of
from toolkit.migrate.repair.model import Action, Disagreement, Named, Prefer, Proposal, Triage
from toolkit.migrate.repair.reading import created, says_the_same, statements_of
from toolkit.migrate.repair.squashed import squashed_files
from toolkit.migrate.run.history import AppliedRow, History, differs_in_wrapper_alone, plain_text, same_text
from toolkit.migrate.run.plan import as_applied
from toolkit.sql.parse import label, nodes, strings

# A row's name and version are somebody else's text: neither may lead out of the folder.
_FIT_FOR_A_FILE = re.compile(r"(?!.*\.down\.sql$)[0-9]+_[^/\\\0]*")


def names_to_look_up(folder: Folder, history: History) -> tuple[Named, ...]:
    """Every object whose existence says something about a row or a file."""
    texts = [migration.up.statements for migration in (*folder.migrations, *folder.doubles)]
    texts += [statements_of(row) for row in history.rows]
    return tuple(sorted({name for text in texts for name in created(text)[0]}))


def file_name(row: AppliedRow) -> str:
    """What the file of a row is called."""
    return f"{row.version}_{row.name or 'unnamed'}.sql"


def triage(
    folder: Folder,
    history: History,
    exists: Mapping[Named, bool],
    prefer: Prefer = "files",
    accepted: Collection[str] = (),
) -> Triage:
    """Match rows with files. `exists` answers `names_to_look_up`; `prefer` says which of two versions stays when a
    row and a file are the same migration: the file's (the row moves) or the row's (the file is renamed). `accepted`
    are versions whose file a person vouches for, though its checksum is not that of the file that ran."""
    return _Triage(as_applied(folder, history), history, exists, prefer, accepted).run()


@dataclass
class _Triage:
    folder: Folder
    history: History
    exists: Mapping[Named, bool]
    prefer: Prefer
    accepted: Collection[str]
    disagreements: list[Disagreement] = field(default_factory=list)
    in_step: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    nameless: list[str] = field(default_factory=list)

    def run(self) -> Triage:
        found, settled = doubles_of(self.folder, self.history, self.exists)
        self.disagreements += found
        matched: set[str] = set()  # versions of files that some disagreement speaks of
        if self.prefer == "files":  # the other way is to write the files again
            for finding, rows, version in squashed_files(self.folder, self.history, self.exists):
                self.disagreements.append(finding)
                settled |= rows
                matched.add(version)
        orphans = [r for r in self.history.rows if self.folder.get(r.version) is None and r.version not in settled]
        free = [m for m in self.folder.migrations if self.history.row(m.version) is None]
        for migration in self.folder.migrations:
            row = self.history.row(migration.version)
            if row is not None and migration.version not in matched:
                self._same_version(row, migration)
        for row in orphans:
            self._orphan(row, orphans, free, matched)
        for migration in free:
            if migration.version not in matched:
                self._without_row(migration)
        if self.nameless:
            self.unknown.append(
                f"Versions that create nothing by a name that can be looked up: {', '.join(self.nameless)}. Whether "
                "their effects are there is unknown; `toolkit migrate verify` and `toolkit migrate drift` may know."
            )
        return Triage(tuple(self.disagreements), tuple(self.in_step), tuple(self.pending), tuple(self.unknown))

    # -- a row and a file of one version ------------------------------------------------------

    def _same_version(self, row: AppliedRow, migration: Migration) -> None:
        version, name = migration.version, migration.up.path.name
        if row.statements is None:
            self.in_step.append(version)
            self.unknown.append(f"{name}: the history holds no statements, so whether the text is what ran is unknown.")
            return
        if not same_text(row.statements, migration.up):
            others = [m.up.path.name for m in self.folder.migrations if m is not migration and _same(row, m)]
            evidence = [f"row {version} ({row.name or 'unnamed'}) and {name}: the version is equal, the text is not"]
            evidence += [f"the recorded text is that of {other}" for other in others]
            self._found(
                f"edited-{version}",
                f"{name} is not the text that was recorded",
                evidence,
                None,
                "Find out which of the two is right: restore the file as it ran (`supabase migration fetch` writes "
                "it), and put the change into a new migration.",
            )
            return
        event = self.history.events.get(version)
        changed = event is not None and event.event == "applied" and event.sha256 != migration.up.sha256
        if event is not None and changed and not differs_in_wrapper_alone(row.statements, migration.up):
            change = f"ledger: version {version} gets checksum {migration.up.sha256[:12]}"
            self._found(
                f"checksum-{version}",
                f"{name} is not the file that ran, though the recorded statements are its own",
                [
                    f"checksum {event.sha256[:12]} in the ledger, {migration.up.sha256[:12]} now",
                    "either only white space changed, or `supabase migration repair` recorded the edited file",
                ],
                Proposal("record_checksum", version, version, (change,)) if version in self.accepted else None,
                f"Restore the file as it ran. Where you know that it does the same: --accept {version}.",
            )
            return
        if not self._lost(row, migration):
            self.in_step.append(version)

    def _lost(self, row: AppliedRow, migration: Migration) -> bool:
        """Applied, says the history; the catalog may know better."""
        names, all_of_it = created(migration.up.statements)
        if not names:
            self.nameless.append(migration.version)
        absent = [name for name in names if not self.exists.get(name, True)]
        if not absent:
            return False
        if later := self._undone_later(migration.version, absent):
            self.unknown.append(
                f"{migration.up.path.name}: {_list(absent)} is not there; {later} may have dropped or renamed it."
            )
            return False
        evidence = [f"not in the catalog: {_list(absent)}", "no later applied migration drops or renames it"]
        if len(absent) < len(names) or not all_of_it:
            self._found(
                f"partly-gone-{row.version}",
                f"{migration.up.path.name} is recorded as applied, but part of it is gone",
                evidence,
                None,
                "Find out who dropped it; put it back with a new migration.",
            )
        else:
            self._found(
                f"gone-{row.version}",
                f"{migration.up.path.name} is recorded as applied, but nothing of it exists",
                [*evidence, "it creates these objects and does nothing else"],
                self._revert(row),
            )
        return True

    def _undone_later(self, version: str, names: Sequence[Named]) -> str:
        for row in self.history.rows:
            if row.version <= version:
                continue
            migration = self.folder.get(row.version)
            statements = migration.up.statements if migration else statements_of(row)
            if any(_may_undo(statement, name) for statement in statements for name in names):
                return migration.up.path.name if migration else f"row {row.version}"
        return ""

    # -- a row without file -------------------------------------------------------------------

    def _orphan(
        self, row: AppliedRow, orphans: Sequence[AppliedRow], free: Sequence[Migration], matched: set[str]
    ) -> None:
        named = [m for m in free if row.name and m.name == row.name]
        by_text = [m for m in free if _same(row, m)]
        # A comment that changed makes no other migration of it.
        bar_comments = not by_text
        by_text = by_text or [m for m in free if says_the_same(row, m)]
        twins = [other.version for other in orphans if other is not row and _equal_rows(row, other)]
        namesakes = [other.version for other in orphans if other is not row and row.name and other.name == row.name]
        both = [m for m in named if m in by_text]
        matched |= {m.version for m in (*named, *by_text)}
        label = f"row {row.version} ({row.name or 'unnamed'})"
        equal = "the statements are equal" + (", the comments are not" if bar_comments else "")
        if len(both) == 1 and not twins:
            evidence = [f"{label} and {both[0].up.path.name}: the name is equal", equal]
            if len(named) > 1:
                evidence.append(f"{len(named)} files have that name; only this one has its text")
            if len(by_text) > 1:
                evidence.append(f"{len(by_text)} files have that text; only this one has its name")
            if namesakes:
                evidence.append(f"rows {', '.join(namesakes)} have that name too, and other text")
            self._pair(row, both[0], evidence, rewrites=bar_comments)
        elif twins and by_text:
            self._ambiguous(row, f"rows {', '.join(twins)} hold the same text", by_text)
        elif len(both) > 1 or (not named and len(by_text) > 1):
            self._ambiguous(row, "more than one file has its text", both or by_text)
        elif named and by_text:
            self._ambiguous(row, "one file has its name, another its text", [*named, *by_text])
        elif named:
            known = "its statements are not recorded" if row.statements is None else "the text differs"
            self._ambiguous(row, f"the name is equal, {known}", named)
        elif by_text:
            evidence = [f"{label} and {by_text[0].up.path.name}: the names differ", equal]
            evidence.append("no other row and no other file has that text")
            self._pair(row, by_text[0], evidence, rewrites=bar_comments)
        else:
            self._lone(row, label)

    def _pair(self, row: AppliedRow, migration: Migration, evidence: list[str], *, rewrites: bool) -> None:
        what = f"{migration.up.path.name} was applied under version {row.version}"
        if self.prefer == "files":
            changes = [f"history row {row.version}: version {row.version} → {migration.version}"]
            if row.name != migration.name:
                changes.append(f"history row {row.version}: name {row.name or 'none'} → {migration.name}")
            action: Action = "move_row"
        elif not _FIT_FOR_A_FILE.fullmatch(f"{row.version}_"):
            self._ambiguous(row, "the row's version is none for a file: not digits alone", [migration])
            return
        else:
            target = f"{row.version}_{migration.name}.sql"
            changes = [f"file {part}{migration.up.path.name} → {part}{target}" for part in pieces_of(migration)]
            action = "rename_file"
        if rewrites:
            changes.append(f"history row {row.version}: statements → those of the file, with its comments")
        proposal = Proposal(action, row.version, migration.version, tuple(changes), rewrites)
        self._found(f"moved-{row.version}", what, evidence, proposal)

    def _lone(self, row: AppliedRow, label: str) -> None:
        if row.statements is None:
            self._found(
                f"orphan-{row.version}",
                f"{label} has no file, and its statements are not recorded",
                [],
                None,
                f"Get the file from where it was applied; if nothing of it is left, `supabase migration repair "
                f"--status reverted {row.version}`.",
            )
            return
        same = [m.up.path.name for m in self.folder.migrations if _same(row, m)]
        if same:
            self._found(
                f"twice-{row.version}",
                f"{label} repeats {same[0]}, which is recorded under its own version too",
                ["the statements are equal"],
                None,
                "Find out whether it ran twice; if it was only recorded twice, `supabase migration repair --status "
                f"reverted {row.version}` removes the row.",
            )
            return
        names, all_of_it = created(statements_of(row))
        absent = [name for name in names if not self.exists.get(name, True)]
        evidence = ["no file has its version, its name or its text"]
        if names and len(absent) == len(names) and all_of_it and not self._undone_later(row.version, absent):
            evidence.append(f"nothing of it is in the catalog: {_list(absent)}")
            self._found(
                f"orphan-{row.version}", f"{label} has no file, and no effect is left", evidence, self._revert(row)
            )
            return
        if names and not absent:
            evidence.append(f"what it creates exists: {_list(names)}")
        if not _FIT_FOR_A_FILE.fullmatch(file_name(row)):
            self._found(
                f"orphan-{row.version}",
                f"{label} has no file, and its name is none for a file",
                evidence,
                None,
                "Write the file by hand under a name of digits, an underscore and letters, and look who wrote the row.",
            )
            return
        if not (statements := statements_of(row)) or any(_refused_in_a_file(s) for s in statements):
            self._found(
                f"orphan-{row.version}",
                f"{label} has no file, and as it is recorded the runner would refuse one",
                evidence,
                None,
                "Write the file by hand: without transaction control, and with `-- toolkit: transaction=false` as its "
                "first line where a statement refuses a transaction.",
            )
            return
        change = f"file {file_name(row)}: written from the {len(row.statements)} recorded statements"
        self._found(
            f"orphan-{row.version}",
            f"{label} has no file",
            evidence,
            Proposal("write_file", row.version, None, (change,)),
        )

    # -- a file without row -------------------------------------------------------------------

    def _without_row(self, migration: Migration) -> None:
        names, all_of_it = created(migration.up.statements)
        there = [name for name in names if self.exists.get(name, False)]
        interrupted = bool(self.history.journal.get((migration.version, "up")))
        if not there or interrupted:
            self.pending.append(migration.version)
            return
        what = f"{migration.up.path.name} is not recorded, but what it creates exists"
        evidence = [f"in the catalog: {_list(there)}"]
        if all_of_it and len(there) == len(names):
            self._found(
                f"unrecorded-{migration.version}",
                what,
                [*evidence, "it creates these objects and does nothing else; that they are the same is not known"],
                Proposal(
                    "mark_applied",
                    None,
                    migration.version,
                    (
                        f"history row {migration.version} ({migration.name}): added, with "
                        f"{len(migration.up.recorded)} statements",
                    ),
                ),
            )
        else:
            self._found(
                f"partly-there-{migration.version}",
                what,
                evidence,
                None,
                "Find out what made them: see whether the rest of the file took effect too, or drop them and apply it.",
            )

    # -- small pieces -------------------------------------------------------------------------

    def _revert(self, row: AppliedRow) -> Proposal:
        change = f"history row {row.version} ({row.name or 'unnamed'}): removed; its contents are kept in the ledger"
        return Proposal("mark_reverted", row.version, None, (change,))

    def _ambiguous(self, row: AppliedRow, why: str, candidates: Sequence[Migration]) -> None:
        files = list(dict.fromkeys(m.up.path.name for m in candidates))
        self._found(
            f"ambiguous-{row.version}",
            f"row {row.version} ({row.name or 'unnamed'}) has no file of its version; it could be {' or '.join(files)}",
            [why],
            None,
            "Compare the recorded statements with these files, and rename the one that it is.",
        )

    def _found(self, id_: str, what: str, evidence: Sequence[str], proposal: Proposal | None, remedy: str = "") -> None:
        self.disagreements.append(Disagreement(id_, what, tuple(evidence), proposal, remedy))


def _same(row: AppliedRow, migration: Migration) -> bool:
    return row.statements is not None and same_text(row.statements, migration.up)


def _refused_in_a_file(statement: Statement) -> bool:
    return refusal_of(statement, transactional=True) is not None


def _equal_rows(one: AppliedRow, other: AppliedRow) -> bool:
    if one.statements is None or other.statements is None:
        return False
    return plain_text(";".join(one.statements)) == plain_text(";".join(other.statements))


def _may_undo(statement: Statement, name: Named) -> bool:
    """Whether it drops, renames or moves that object, its schema, or something of that name; what a DO block or an
    unreadable statement that names it does is not known."""
    schema, _, bare = name.name.rpartition(".")
    node = statement.node
    if isinstance(node, nodes.DropStmt) and label("ObjectType", node.remove_type) == "OBJECT_SCHEMA":
        return (schema or "public") in strings(node.objects)
    undoes = nodes.DropStmt | nodes.RenameStmt | nodes.AlterObjectSchemaStmt | nodes.DoStmt | None
    return isinstance(node, undoes) and bare.strip('"').lower() in statement.body.lower()


def _list(names: Sequence[Named]) -> str:
    return ", ".join(map(str, names))
