"""A folder of migrations, read and checked before anything touches a database.

    <folder>/<version>_<name>.sql             what to apply; the Supabase CLI's naming and order
    <folder>/rollbacks/<version>_<name>.sql   how to undo it; its header declares what that destroys
    <folder>/verify/<version>_<name>.sql      how to see that it holds

Rollbacks lie in a folder of their own because the Supabase CLI runs `x.down.sql` beside the others as one more
migration to apply.

What a header may declare is in `headers`. A file that cannot be run is read all the same, and says why: only a run of
it is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.errors import RefusalError, UsageError
from toolkit.migrate.folder.copy_rows import copy_into
from toolkit.migrate.folder.headers import Destroyed, read_changes, read_header
from toolkit.migrate.folder.statements import ROWS_END, SplitError, Statement, split, to_run

FILE_NAME = re.compile(r"^([0-9]+)_(.*)\.sql$")
TRAFFIC_FILE = "traffic.sql"
"""Transactions of the application, beside the files: no migration."""


@dataclass(frozen=True)
class SqlFile:
    """A file as it was read: its bytes, whatever becomes of it on disk afterwards."""

    path: Path
    content: bytes

    @property
    def sha256(self) -> str:
        """The checksum of the bytes, in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Problem:
    """Why a file cannot be run faithfully, with `file:line` where there is one, and what to do."""

    what: str
    remedy: str


@dataclass(frozen=True)
class Script:
    """One SQL file: its bytes' SHA-256, and its statements in order.

    `pieces` are its statements, and the comments that none of them follows. `changes` is what a migration declares to
    rewrite or drop of what existed before, `destroys` the same of a rollback. A file with a `problem` must not be run;
    `pieces` are empty where it could not even be cut.
    """

    path: Path
    sha256: str
    size: int
    text: str
    pieces: tuple[Statement, ...]
    transactional: bool
    destroys: tuple[Destroyed, ...] = ()
    changes: tuple[Destroyed, ...] = ()
    problem: Problem | None = None

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What there is to run: nothing in a file of comments. One BEGIN first and one COMMIT last are left out."""
        return to_run(self.pieces)

    @property
    def recorded(self) -> tuple[str, ...]:
        """The texts that the Supabase CLI would store in `schema_migrations.statements`."""
        return tuple(piece.recorded for piece in self.pieces)

    def where(self, statement: Statement) -> str:
        """`file:line` of a statement."""
        return f"{self.path.name}:{statement.line}"


@dataclass(frozen=True)
class Migration:
    """One version: what applies it, what undoes it (if written), and the file that verifies it (if written)."""

    version: str
    name: str
    up: Script
    rollback: Script | None
    verify: SqlFile | None

    @property
    def label(self) -> str:
        """`<version>_<name>`, as in the file's name."""
        return f"{self.version}_{self.name}"


@dataclass(frozen=True)
class Folder:
    """Every migration of a folder in the order they apply (text order of the version), and what was passed over.

    It holds the files' contents: who works with a Folder works with what was read, also where a file has been saved
    anew since. `doubles` are files whose version `migrations` has already.
    """

    path: Path
    migrations: tuple[Migration, ...]
    notices: tuple[str, ...]
    doubles: tuple[Migration, ...] = ()

    def get(self, version: str) -> Migration | None:
        """The migration of a version, or None."""
        return next((m for m in self.migrations if m.version == version), None)

    def only(self, versions: Collection[str]) -> Folder:
        """The same folder as if it held these versions alone."""
        return replace(self, migrations=tuple(m for m in self.migrations if m.version in versions), doubles=())


def read_folder(path: Path) -> Folder:
    """Read a folder; what is wrong with a file is its Script's `problem`, and refused where that is to run.

    Raises UsageError when the folder does not exist or holds no migration.
    """
    if not path.is_dir():
        raise UsageError(f"There is no migrations folder at {path}.", "Name the folder with --migrations DIR.")
    names, notices = _migration_names(path)
    if not names:
        raise UsageError(
            "\n".join((f"{path} holds no migration.", *notices)),
            "Name the folder that holds them with --migrations DIR; files are called <version>_<name>.sql, "
            "20250727000000_enhance_process_realtime.sql for example.",
        )
    migrations: dict[str, Migration] = {}
    doubles = []
    for file_name in sorted(names, key=lambda name: (names[name][0], name)):
        version, name = names[file_name]
        migration = _migration(path, file_name, version, name)
        if migrations.setdefault(version, migration) is not migration:
            doubles.append(migration)
    return Folder(path, tuple(migrations.values()), notices + _orphans(path, set(names)), tuple(doubles))


def _migration(path: Path, file_name: str, version: str, name: str) -> Migration:
    rollback, verify = path / "rollbacks" / file_name, path / "verify" / file_name
    up = load_script(path / file_name)
    if file_name.endswith(".down.sql"):
        problem = Problem(
            f"{file_name} would be applied as a migration: by its name it is one, to the Supabase CLI too.",
            f"Move it to rollbacks/{file_name.removesuffix('.down.sql')}.sql.",
        )
        up = replace(up, problem=problem)
    return Migration(
        version=version,
        name=name,
        up=up,
        rollback=load_script(rollback, rollback=True) if rollback.is_file() else None,
        verify=read_file(verify) if verify.is_file() else None,
    )


def _migration_names(path: Path) -> tuple[dict[str, tuple[str, str]], tuple[str, ...]]:
    names: dict[str, tuple[str, str]] = {}
    notices: list[str] = []
    for entry in sorted(path.iterdir()):
        match = FILE_NAME.match(entry.name)
        if entry.is_dir() or entry.suffix.lower() != ".sql":
            continue
        if match is None:
            if entry.name == TRAFFIC_FILE:
                continue
            notices.append(f"{entry.name} is passed over: its name is not <version>_<name>.sql, the version in digits.")
        else:
            names[entry.name] = (match.group(1), match.group(2))
    return names, tuple(notices)


def _orphans(path: Path, names: set[str]) -> tuple[str, ...]:
    return tuple(
        f"{folder}/{entry.name} belongs to no migration and is passed over: there is no {entry.name} beside it. "
        f"Rename it to its migration's exact file name, or remove it from {folder}/."
        for folder in ("rollbacks", "verify")
        for entry in sorted((path / folder).glob("*.sql"))
        if entry.name not in names
    )


def read_file(path: Path) -> SqlFile:
    """The bytes of a file, unchecked. Raises OSError."""
    return SqlFile(path, path.read_bytes())


def read_script(path: Path, *, rollback: bool = False) -> Script:
    """Read, cut and check one file, as `script_of` does. Raises OSError besides."""
    return script_of(read_file(path), rollback=rollback)


def script_of(file: SqlFile, *, rollback: bool = False) -> Script:
    """Cut and check what was read; `rollback` says that `-- destroys:` lines belong in it.

    Raises RefusalError with `file:line` and a remedy for what cannot be run faithfully: unterminated quotes, commands
    of psql, authored transaction control that is no mere wrapper, a statement that refuses transactions without the
    directive that allows it, a misspelt directive.
    """
    script = _script(file, rollback=rollback)
    if script.problem is not None:
        raise RefusalError(script.problem.what, script.problem.remedy)
    return script


def load_script(path: Path, *, rollback: bool = False) -> Script:
    """The same for a file that may be unfit to run, which its `problem` then tells, or unreadable."""
    try:
        return _script(read_file(path), rollback=rollback)
    except OSError as error:
        problem = Problem(
            f"{path.name} cannot be read: {error.strerror or error}.", "Put the file itself there, readable."
        )
        return replace(_script(SqlFile(path, b""), rollback=rollback), problem=problem)


def _script(file: SqlFile, *, rollback: bool) -> Script:
    path = file.path
    pieces: tuple[Statement, ...] = ()
    transactional, problem = True, None
    destroys: tuple[Destroyed, ...] = ()
    try:
        pieces = _cut(file)
        transactional, destroys = read_header(path, pieces, rollback=rollback)
        if destroys and not transactional:
            raise RefusalError(
                f"{path.name}: a rollback that destroys rows cannot run outside a transaction.",
                "Its export and its drop must be one transaction: move the statements that refuse one to another "
                "version.",
            )
        for statement in to_run(pieces) if transactional else pieces:
            _check(path, statement, transactional=transactional)
    except RefusalError as refused:
        problem = Problem(refused.what, refused.remedy)
    return Script(
        path=path,
        sha256=file.sha256,
        size=len(file.content),
        text=file.content.decode("utf-8", errors="replace"),
        pieces=pieces,
        transactional=transactional,
        destroys=destroys,
        changes=() if rollback else read_changes(pieces),
        problem=problem,
    )


def _cut(file: SqlFile) -> tuple[Statement, ...]:
    name, data = file.path.name, file.content
    try:
        return split(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RefusalError(f"{name}:{line}: the file is not UTF-8.", "Save it as UTF-8.") from error
    except SplitError as error:
        raise RefusalError(f"{name}:{error.line}: {error.what}.", error.remedy) from error


def _check(path: Path, statement: Statement, *, transactional: bool) -> None:
    refused = refusal_of(statement, transactional=transactional)
    if refused is not None:
        raise RefusalError(f"{path.name}:{statement.line}: {refused.what}.", refused.remedy)


def refusal_of(statement: Statement, *, transactional: bool) -> Problem | None:
    """Why a statement cannot be run; `what` is without place and full stop."""
    control = statement.is_transaction_control or (statement.is_savepoint and not transactional)
    if control and not statement.is_comment:
        return Problem(
            f"the file controls transactions itself ({' '.join(statement.body.upper().split()[:2])})",
            "Remove it: the runner wraps the file and its history row in one transaction. An authored COMMIT "
            "would record half a file as applied. What needs a transaction after another, as the use of a new enum "
            "value does, goes into the next version; statements that refuse a transaction belong in a file of their "
            "own that starts with `-- toolkit: transaction=false`.",
        )
    if statement.is_copy_from_stdin and statement.rows is None:
        return Problem("the rows behind COPY … FROM STDIN never end", ROWS_END)
    if statement.is_copy_from_stdin:
        try:
            copy_into(statement.node)
        except ValueError as error:
            return Problem(str(error), "Write the rows as INSERT statements, or without options, as pg_dump does.")
    if transactional and (construct := statement.refuses_transaction):
        return Problem(
            f"{construct} cannot run inside a transaction",
            "Move it to a file of its own whose first line is `-- toolkit: transaction=false`; its statements then "
            "run one by one, each journaled, so that an interrupted run can go on.",
        )
    return None
