"""A folder as the linter sees it: every file that can be read, in the order it applies, and what each statement states.

The runner refuses a folder at its first mistake; here a mistake becomes a finding, and the other files are looked at
all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import RefusalError, UsageError
from toolkit.migrate.folder.files import FILE_NAME, TRAFFIC_FILE, Script, read_script, refusal_of
from toolkit.migrate.folder.statements import SplitError, Statement, split, to_run
from toolkit.migrate.lint.reading.facts import Fact, Unread
from toolkit.migrate.lint.reading.findings import At, LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.statements import facts_of

REFUSED = Rule(
    "refused-file",
    Severity.ERROR,
    "The runner refuses this file",
    "`toolkit migrate up` stops before it touches a database, and with the Supabase CLI such a file is half applied, "
    "or applied and not recorded.",
    "Change it as the runner asks.",
)
_PLACE = re.compile(r"^[^\n:]+:(\d+): ")
_NOT_TRANSACTIONAL = re.compile(r"^--\s*(?:toolkit|pg-delta)\s*:\s*transaction\s*=\s*false\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """One file. `file` is its name in the folder (`rollbacks/…` for a rollback); `script` is None when it is
    refused. `pieces` are its statements and the comments that none of them follows."""

    file: str
    text: str
    rollback: bool
    transactional: bool
    pieces: tuple[Statement, ...]
    facts: tuple[Fact, ...]
    script: Script | None

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What there is to run."""
        return to_run(self.pieces)

    @property
    def name(self) -> str:
        """The file name, which a migration and its rollback share."""
        return self.file.rpartition("/")[2]


@dataclass(frozen=True)
class Folder:
    """All files: `ups` in the order they apply, `rollbacks` by file name, what the runner refuses, and what it passes
    over (`notices`)."""

    path: Path
    ups: tuple[Source, ...]
    rollbacks: dict[str, Source]
    refused: tuple[LintFinding, ...]
    notices: tuple[str, ...]

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every file."""
        return (*self.ups, *self.rollbacks.values())


def read(path: Path) -> Folder:
    """Read a folder. Raises UsageError when it does not exist, cannot be read or holds no migration."""
    if not path.is_dir():
        raise UsageError(f"There is no migrations folder at {path}.", "Name the folder with --migrations DIR.")
    try:
        files = sorted(entry for entry in path.iterdir() if entry.suffix.lower() == ".sql" and not entry.is_dir())
        undo = path / "rollbacks"
        rollbacks = sorted(undo.glob("*.sql")) if undo.is_dir() else []
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from error
    entries = [file for file in files if FILE_NAME.match(file.name)]
    notices = tuple(
        f"{file.name} is passed over: its name is not <version>_<name>.sql, the version in digits."
        for file in files
        if file not in entries and file.name != TRAFFIC_FILE
    )
    if not entries:
        raise UsageError(
            "\n".join((f"{path} holds no migration.", *notices)),
            "Name the folder that holds them with --migrations DIR; files are called <version>_<name>.sql.",
        )
    found = [*_misnamed(entries, rollbacks)]
    ups = []
    for entry in sorted(entries, key=lambda e: (_version(e), e.name)):
        if not entry.name.endswith(".down.sql"):
            source, refusals = _source(entry, entry.name, rollback=False)
            ups.append(source)
            found += refusals
    undone = {}
    for entry in rollbacks:
        source, refusals = _source(entry, f"rollbacks/{entry.name}", rollback=True)
        undone[entry.name] = source
        found += refusals
    return Folder(path, tuple(ups), undone, tuple(found), notices)


def _version(path: Path) -> str:
    return path.name.partition("_")[0]


def _misnamed(entries: list[Path], rollbacks: list[Path]) -> list[LintFinding]:
    found = []
    seen: dict[str, str] = {}
    for entry in entries:
        at = At(entry.name, 1)
        if entry.name.endswith(".down.sql"):
            remedy = f"Move it to rollbacks/{entry.name.removesuffix('.down.sql')}.sql."
            found.append(REFUSED.found(at, "by its name it would be applied as a migration", remedy))
        elif (version := _version(entry)) in seen:
            what = f"{seen[version]} has the same version {version}"
            found.append(REFUSED.found(at, what, "Give one of them a version of its own; a version is applied once."))
        seen.setdefault(_version(entry), entry.name)
    names = {entry.name for entry in entries}
    for entry in rollbacks:
        if entry.name not in names:
            what = f"it belongs to no migration: there is no {entry.name}"
            found.append(
                REFUSED.found(At(f"rollbacks/{entry.name}", 1), what, "Rename it to its migration's file name.")
            )
    return found


def _source(path: Path, file: str, *, rollback: bool) -> tuple[Source, list[LintFinding]]:
    found: list[LintFinding] = []
    script, text = None, ""
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
        script = read_script(path, rollback=rollback)
    except RefusalError as refused:
        found.append(_refusal(file, refused))
    except OSError as error:
        found.append(REFUSED.found(At(file, 1), f"it cannot be read: {error.strerror or error}", "Put the file there."))
    pieces = script.pieces if script is not None else _pieces(text)
    header = pieces[0].comments if pieces else ()
    transactional = not any(_NOT_TRANSACTIONAL.match(comment.text) for comment in header)
    source = Source(file, text, rollback, transactional, pieces, tuple(_facts(pieces, file)), script)
    found += _further(file, source.statements, transactional, {one.at.line for one in found})
    return source, found


def _pieces(text: str) -> tuple[Statement, ...]:
    """Those of a file that the runner refuses too, none where it cannot even be cut; that is told with its line."""
    try:
        return split(text)
    except SplitError:
        return ()


def _facts(pieces: tuple[Statement, ...], file: str) -> Iterator[Fact]:
    for statement in pieces:
        if statement.tree is not None:
            yield from facts_of(statement.tree, file)
        elif statement.trouble is not None:
            yield Unread(At(file, statement.trouble.line), statement.trouble.what, body=False)


def _refusal(file: str, refused: RefusalError) -> LintFinding:
    place = _PLACE.match(refused.what)
    line = int(place.group(1)) if place else 1
    what = refused.what[place.end() :] if place else refused.what
    return REFUSED.found(At(file, line), what.rstrip("."), refused.remedy)


def _further(file: str, statements: tuple[Statement, ...], transactional: bool, told: set[int]) -> list[LintFinding]:
    """The runner names the first statement it refuses; these are the others of the same file. That it controls
    transactions is told once."""
    found = []
    controls = any(one.line in told and one.is_transaction_control for one in statements)
    for statement in statements:
        if statement.line in told or (controls and statement.is_transaction_control):
            continue
        controls |= statement.is_transaction_control
        if (refused := refusal_of(statement, transactional=transactional)) is not None:
            found.append(REFUSED.found(At(file, statement.line), refused.what, refused.remedy))
    return found
