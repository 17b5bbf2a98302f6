"""Makes a plan of files, history and request, or refusals with remedies. Pure."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from typing import Literal

from toolkit.errors import ExitCode, RefusalError
from toolkit.migrate.folder.files import Folder, Migration, Script
from toolkit.migrate.folder.headers import Destroyed
from toolkit.migrate.run.history import (
    AppliedRow,
    Direction,
    History,
    JournalEntry,
    differs_in_wrapper_alone,
    same_text,
    statement_hash,
)

State = Literal["applied", "pending", "edited", "gap", "interrupted", "missing_locally", "refused"]
NOTHING = "0"  # `down --to 0`: nothing stays applied
# Reasons that lie in the request alone: no state of the files or the database would make sense of it.
_USAGE = frozenset({"usage", "unknown-to", "last-out-of-range"})

# Reasons that lie in a file that is to run: whoever only looks goes on without it.
OF_ONE_FILE = frozenset({"refused-file", "same-version"})


@dataclass(frozen=True)
class Up:
    """Apply what is pending, up to and including version `to`; `include_all` also what a gap left out."""

    to: str | None = None
    include_all: bool = False


@dataclass(frozen=True)
class Down:
    """Roll back everything after version `to` (`"0"`: everything), or the `last` n applied (default 1)."""

    to: str | None = None
    last: int | None = None


@dataclass(frozen=True)
class Refusal:
    """Why a request is not carried out, and the way out. `code` is stable."""

    code: str
    what: str
    remedy: str


class MigrationRefused(RefusalError):
    """The request was understood and refused; `refusals` has every reason, not only the first.

    The exit code is 2 when one of them lies in the request itself, 1 otherwise.
    """

    def __init__(self, refusals: tuple[Refusal, ...]) -> None:
        super().__init__(
            "\n".join(refusal.what for refusal in refusals),
            "\n  → ".join(dict.fromkeys(refusal.remedy for refusal in refusals)),
        )
        self.refusals = refusals
        self.exit_code = ExitCode.USAGE if any(r.code in _USAGE for r in refusals) else ExitCode.FAIL


@dataclass(frozen=True)
class Step:
    """One file to run. `done` is how many of its statements an interrupted run already finished."""

    direction: Direction
    migration: Migration
    script: Script
    done: int = 0

    @property
    def destroys(self) -> tuple[Destroyed, ...]:
        """What running it takes away, as its header declares."""
        return self.script.destroys


@dataclass(frozen=True)
class Plan:
    """What will run, in order. No steps: there is nothing to do."""

    direction: Direction
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class VersionStatus:
    """Where one version stands; `detail` says it in a sentence where the state alone does not."""

    version: str
    name: str
    state: State
    detail: str = ""
    has_rollback: bool = False
    has_verify: bool = False


@dataclass(frozen=True)
class _View:
    folder: Folder
    history: History
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def newest_applied(self) -> str:
        return max((row.version for row in self.history.rows), default="")

    def refuse(self, code: str, what: str, remedy: str) -> None:
        self.refusals.append(Refusal(code, what, remedy))


def as_applied(folder: Folder, history: History) -> Folder:
    """The folder with that file of several of one version first which the history says was applied: by its name, then
    by its text. The others stay its `doubles`, which no run may pass by."""
    chosen: dict[str, Migration] = {migration.version: migration for migration in folder.migrations}
    for double in folder.doubles:
        row, first = history.row(double.version), chosen[double.version]
        if row is not None and _likeness(row, double) > _likeness(row, first):
            chosen[double.version] = double
    rest = (m for m in (*folder.migrations, *folder.doubles) if chosen[m.version] is not m)
    return replace(folder, migrations=tuple(chosen.values()), doubles=tuple(rest))


def _likeness(row: AppliedRow, migration: Migration) -> tuple[bool, bool]:
    return row.name == migration.name, row.statements is not None and same_text(row.statements, migration.up)


def statuses(folder: Folder, history: History) -> tuple[VersionStatus, ...]:
    """Every version that the folder or the database knows, in order."""
    folder = as_applied(folder, history)
    newest = max((row.version for row in history.rows), default="")
    found = []
    for migration in folder.migrations:
        row = history.row(migration.version)
        state: State = "pending"
        detail = ""
        if row is not None:
            edit = _edit(migration, row, history)
            state, detail = ("edited", edit) if edit else ("applied", _how_applied(row, history))
        elif history.journal.get((migration.version, "up")):
            done = sum(entry.state == "done" for entry in history.journal[migration.version, "up"])
            state, detail = "interrupted", f"{done} of {len(migration.up.statements)} statements ran"
        elif migration.version < newest:
            state, detail = "gap", f"older than {newest}, which is applied"
        if row is None and migration.up.problem is not None:
            state, detail = "refused", migration.up.problem.what
        found.append(
            VersionStatus(
                migration.version,
                migration.name,
                state,
                detail,
                migration.rollback is not None,
                migration.verify is not None,
            )
        )
    found += [
        VersionStatus(double.version, double.name, "refused", _double(folder, double)) for double in folder.doubles
    ]
    for row in history.rows:
        if folder.get(row.version) is None:
            found.append(VersionStatus(row.version, row.name or "", "missing_locally", "applied, but without a file"))
    return tuple(sorted(found, key=lambda status: status.version))


def make_plan(folder: Folder, history: History, request: Up | Down) -> Plan:
    """Decide what a request means for this folder and this history.

    Raises MigrationRefused with every reason found.
    """
    view = _View(as_applied(folder, history), history)
    plan = _plan_up(view, request) if isinstance(request, Up) else _plan_down(view, request)
    if view.refusals:
        raise MigrationRefused(tuple(view.refusals))
    return replace(plan, notes=folder.notices + plan.notes)


def _plan_up(view: _View, request: Up) -> Plan:
    folder, history = view.folder, view.history
    _check_to(view, request.to)
    for row in history.rows:
        migration = folder.get(row.version)
        if migration is None:
            view.refuse(
                "missing-locally",
                f"Version {row.version} ({row.name or 'unnamed'}) is applied, but the folder has no file for it.",
                "Get the file from where it was applied (another branch?), or see what `toolkit migrate repair` makes "
                "of it: it may be one of your files under another version.",
            )
        elif edit := _edit(migration, row, history):
            view.refuse(
                "edited",
                f"{migration.up.path.name} was edited after it was applied: {edit}.",
                "Restore the file as it ran and put the change into a new migration; where nobody else has run it, "
                "`toolkit migrate down` it and apply it again; where it holds what several files were before, see "
                "`toolkit migrate repair`.",
            )
    pending = [
        migration
        for migration in folder.migrations
        if history.row(migration.version) is None and (request.to is None or migration.version <= request.to)
    ]
    if not request.include_all:
        for migration in pending:
            if migration.version < view.newest_applied:
                view.refuse(
                    "gap",
                    f"{migration.up.path.name} is not applied, but the newer {view.newest_applied} is.",
                    "Give it a version later than the applied ones, or apply it out of order with --include-all.",
                )
    for double in folder.doubles:
        if request.to is None or double.version <= request.to:
            view.refuse(
                "same-version",
                _double(folder, double),
                "Give one of them a version of its own; `toolkit migrate repair` proposes which.",
            )
    steps = tuple(_step(view, "up", migration, migration.up) for migration in pending)
    notes = [note for step in steps for note in _notes(step)]
    notes += [f"{m.label} has no rollback file: it cannot be taken back." for m in pending if m.rollback is None]
    for migration in pending:
        if migration.rollback is not None and (problem := migration.rollback.problem) is not None:
            notes.append(
                f"rollbacks/{migration.up.path.name} cannot be run, so it cannot be taken back: {problem.what}"
            )
    return Plan("up", steps, tuple(notes))


def _plan_down(view: _View, request: Down) -> Plan:
    folder, history = view.folder, view.history
    applied = [row.version for row in history.rows]
    if request.to is not None and request.last is not None:
        view.refuse("usage", "--to and --last exclude each other.", "Give one of them.")
    last = 1 if request.to is None and request.last is None else request.last
    if request.to is not None:
        if request.to != NOTHING:
            _check_to(view, request.to)
            if folder.get(request.to) is not None and request.to not in applied:
                view.refuse(
                    "to-not-applied",
                    f"Version {request.to} is not applied, so nothing can be rolled back to it.",
                    f"Applied are: {', '.join(applied) or 'none'}. `--to 0` rolls back everything.",
                )
        doomed = [version for version in applied if request.to == NOTHING or version > request.to]
    else:
        assert last is not None
        if request.last is None and not applied:
            view.refuse(
                "nothing-applied",
                "Nothing is applied; there is nothing to roll back.",
                "See `toolkit migrate status`, or check the database's address.",
            )
        elif last < 1 or last > len(applied):
            view.refuse(
                "last-out-of-range",
                f"--last {last} asks for more than there is: {len(applied)} applied."
                if last > 0
                else f"--last {last} asks for nothing.",
                "Give a number between 1 and the number of applied versions, or --to V."
                if applied
                else "Nothing is applied; there is nothing to roll back.",
            )
        doomed = applied[-last:] if last > 0 else []
    steps, notes = [], []
    for version in sorted(doomed, reverse=True):
        row, migration = history.row(version), folder.get(version)
        if migration is None:
            view.refuse(
                "missing-locally",
                f"Version {version} is applied, but the folder has no file for it.",
                "Get the migration and its rollback file from where it was applied.",
            )
        elif migration.rollback is None:
            view.refuse(
                "missing-rollback",
                f"{migration.label} has no rollback file.",
                f"Write {folder.path / 'rollbacks' / migration.up.path.name}, with a `-- destroys:` line for each "
                "table it drops.",
            )
        else:
            step = _step(view, "down", migration, migration.rollback)
            steps.append(step)
            notes += _notes(step)
            if row is not None and (edit := _edit(migration, row, history)):
                notes.append(f"{migration.up.path.name} was edited after it was applied: {edit}.")
    return Plan("down", tuple(steps), tuple(notes))


def _check_to(view: _View, to: str | None) -> None:
    if to is None or view.folder.get(to) is not None:
        return
    versions = [migration.version for migration in view.folder.migrations]
    close = difflib.get_close_matches(to, versions, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]}?" if close else f"The versions are: {', '.join(versions)}."
    view.refuse("unknown-to", f"There is no version {to} in {view.folder.path}.", hint)


def _edit(migration: Migration, row: AppliedRow, history: History) -> str:
    """In what an applied file differs from what ran, or ''. Unknown (no checksum, no statements) counts as ''."""
    event = history.events.get(row.version)
    if event is not None and event.event == "applied":
        if event.sha256 == migration.up.sha256:
            return ""
        if row.statements is not None and differs_in_wrapper_alone(row.statements, migration.up):
            return ""
        visible = row.statements is None or not same_text(row.statements, migration.up)
        return (
            f"its checksum is {migration.up.sha256[:12]}, the ledger has {event.sha256[:12]}"
            f"{'' if visible else ' (the recorded statements match: only white space differs, or a repair wrote them)'}"
        )
    if row.statements is not None and not same_text(row.statements, migration.up):
        return "its text is not what the history recorded"
    return ""


def _how_applied(row: AppliedRow, history: History) -> str:
    event = history.events.get(row.version)
    if event is not None and event.event == "applied":
        return f"{event.at:%Y-%m-%d %H:%M:%S}Z in {event.duration_ms} ms by {event.runner}"
    return "by another tool; no checksum" if row.statements else "by another tool; its statements are unknown"


def _double(folder: Folder, double: Migration) -> str:
    first = folder.get(double.version)
    assert first is not None, "it is a double of one that the folder has"
    return f"{first.up.path.name} and {double.up.path.name} have the same version {double.version}."


def _step(view: _View, direction: Direction, migration: Migration, script: Script) -> Step:
    if script.problem is not None:
        view.refuse("refused-file", script.problem.what, script.problem.remedy)
    entries = view.history.journal.get((migration.version, direction), ())
    done = tuple(entry for entry in entries if entry.state == "done")
    if not _is_prefix(entries, script):
        view.refuse(
            "edited-while-interrupted",
            f"{script.path.name} was edited after {len(done)} of its statements had run.",
            "Restore the statements that already ran; later ones may be changed.",
        )
    return Step(direction, migration, script, done=len(done))


def _is_prefix(entries: tuple[JournalEntry, ...], script: Script) -> bool:
    statements = {statement.index: statement for statement in script.statements}
    if script.transactional:
        return not any(entry.state == "done" for entry in entries)
    return all(
        entry.index in statements and statement_hash(statements[entry.index]) == entry.sha256
        for entry in entries
        if entry.state == "done"
    )


def _notes(step: Step) -> list[str]:
    notes = []
    label = step.script.path.name
    if not step.script.transactional:
        notes.append(f"{label} runs outside a transaction, statement by statement.")
    if step.done:
        notes.append(f"{label} goes on after statement {step.done} of {len(step.script.statements)}.")
    return notes
