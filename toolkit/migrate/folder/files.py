"""A folder of migrations, read and checked before anything touches a database.

    <folder>/<version>_<name>.sql             what to apply; the Supabase CLI's naming and order
    <folder>/rollbacks/<version>_<name>.sql   how to undo it; its header declares what that destroys
    <folder>/verify/<version>_<name>.sql      how to see that it holds

Rollbacks lie in a folder of their own because the Supabase CLI runs `x.down.sql` beside the others as one more
migration to apply.

Header directives (comment lines before the first statement):

    -- toolkit: transaction=false             run each statement by itself (CREATE INDEX CONCURRENTLY, VACUUM)
    -- destroys: table process_events         in rollbacks, one line for each table whose rows will be gone
    -- destroys: columns orders (note, tag)   and for the columns whose values will be gone
    -- destroys: rows customers               and for tables that stay, but whose rows it deletes or changes
    -- changes: columns orders (note)         in migrations, the same for rows that were there before: values that it
                                              rewrites or drops for good, on purpose (`prove` reads this)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.errors import RefusalError, UsageError
from toolkit.migrate.folder.statements import Comment, SplitError, Statement, split

FILE_NAME = re.compile(r"^([0-9]+)_(.*)\.sql$")
_DIRECTIVE = re.compile(r"^--\s*(?:toolkit|pg-delta)\s*:\s*(.*?)\s*$", re.IGNORECASE)
_DESTROYS = re.compile(r"^--\s*destroys\s*:\s*(.*?)\s*$", re.IGNORECASE)
_CHANGES = re.compile(r"^--\s*changes\s*:\s*(.*?)\s*$", re.IGNORECASE)
_IDENTIFIER = r'(?:[A-Za-z_][\w$]*|"[^"]+")'
_TABLE_NAME = rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})?"
_DESTROYED_TABLE = re.compile(rf"^table\s+({_TABLE_NAME})$", re.IGNORECASE)
_DESTROYED_ROWS = re.compile(rf"^rows(?:\s+of)?\s+({_TABLE_NAME})$", re.IGNORECASE)
_DESTROYED_COLUMNS = re.compile(rf"^columns?\s+({_TABLE_NAME})\s*\(([^)]+)\)$", re.IGNORECASE)
_DESTROYED_COLUMN = re.compile(rf"^column\s+((?:{_IDENTIFIER}\.)?{_IDENTIFIER})\.({_IDENTIFIER})$", re.IGNORECASE)


@dataclass(frozen=True)
class Destroyed:
    """What a rollback takes away: a whole table, some of its `columns`, or (`rows_only`) rows of a table that stays.

    `table` is `schema.name`, unquoted, schema `public` where the header names none.
    """

    table: str
    columns: tuple[str, ...] = ()
    rows_only: bool = False

    @property
    def whole_table(self) -> bool:
        """Whether nothing of the table will be left."""
        return not self.columns and not self.rows_only

    def __str__(self) -> str:
        """As a header declares it."""
        table = ".".join(map(_quoted, self.table.split(".", 1)))
        if self.columns:
            return f"columns {table} ({', '.join(map(_quoted, self.columns))})"
        return f"{'rows' if self.rows_only else 'table'} {table}"


def merged(declared: tuple[Destroyed, ...]) -> tuple[Destroyed, ...]:
    """One entry a table, the widest: a whole table swallows the rest, its rows swallow columns."""
    merged: dict[str, Destroyed] = {}
    for entry in declared:
        known = merged.get(entry.table)
        if known is None or entry.whole_table or (entry.rows_only and known.columns):
            merged[entry.table] = entry
        elif known.columns:
            merged[entry.table] = Destroyed(entry.table, tuple(dict.fromkeys(known.columns + entry.columns)))
    return tuple(merged.values())


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
class Script:
    """One SQL file: its bytes' SHA-256, and its statements in order.

    `pieces` are its statements, and the comments that none of them follows. `changes` is what a migration declares to
    rewrite or drop of what existed before, `destroys` the same of a rollback.
    """

    path: Path
    sha256: str
    size: int
    text: str
    pieces: tuple[Statement, ...]
    transactional: bool
    destroys: tuple[Destroyed, ...] = ()
    changes: tuple[Destroyed, ...] = ()

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What there is to run."""
        return tuple(piece for piece in self.pieces if not piece.is_comment)

    @property
    def recorded(self) -> tuple[str, ...]:
        """The texts that the Supabase CLI would store in `schema_migrations.statements`."""
        return tuple(piece.text for piece in self.pieces)

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
    anew since.
    """

    path: Path
    migrations: tuple[Migration, ...]
    notices: tuple[str, ...]

    def get(self, version: str) -> Migration | None:
        """The migration of a version, or None."""
        return next((m for m in self.migrations if m.version == version), None)

    def only(self, versions: Collection[str]) -> Folder:
        """The same folder as if it held these versions alone."""
        return replace(self, migrations=tuple(m for m in self.migrations if m.version in versions))


def read_folder(path: Path) -> Folder:
    """Read and check a folder.

    Raises UsageError when the folder does not exist or holds no migration, and RefusalError, with `file:line`, for a
    file that cannot be run faithfully: duplicate versions, unterminated quotes, psql meta-commands, authored
    transaction control, a statement that refuses transactions without the directive that allows it, a misspelt
    directive.
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
    _refuse_duplicates(names)
    _refuse_orphans(path, set(names))
    migrations = []
    for file_name in sorted(names, key=lambda name: (names[name][0], name)):
        version, name = names[file_name]
        rollback, verify = path / "rollbacks" / file_name, path / "verify" / file_name
        migrations.append(
            Migration(
                version=version,
                name=name,
                up=read_script(path / file_name),
                rollback=read_script(rollback, rollback=True) if rollback.is_file() else None,
                verify=read_file(verify) if verify.is_file() else None,
            )
        )
    return Folder(path, tuple(migrations), notices)


def _migration_names(path: Path) -> tuple[dict[str, tuple[str, str]], tuple[str, ...]]:
    names: dict[str, tuple[str, str]] = {}
    notices: list[str] = []
    for entry in sorted(path.iterdir()):
        match = FILE_NAME.match(entry.name)
        if entry.is_dir() or entry.suffix.lower() != ".sql":
            continue
        if match is None:
            notices.append(f"{entry.name} is passed over: its name is not <version>_<name>.sql, the version in digits.")
        elif entry.name.endswith(".down.sql"):
            raise RefusalError(
                f"{entry.name} would be applied as a migration: by its name it is one, to the Supabase CLI too.",
                f"Move it to rollbacks/{entry.name.removesuffix('.down.sql')}.sql.",
            )
        elif not entry.is_file():
            raise RefusalError(
                f"{entry.name} is no file: a link that leads nowhere, or a device.", "Put the file itself there."
            )
        else:
            names[entry.name] = (match.group(1), match.group(2))
    return names, tuple(notices)


def _refuse_duplicates(names: dict[str, tuple[str, str]]) -> None:
    seen: dict[str, str] = {}
    for file_name, (version, _) in sorted(names.items()):
        if version in seen:
            raise RefusalError(
                f"{seen[version]} and {file_name} have the same version {version}.",
                "Give one of them a version of its own; a version is applied once.",
            )
        seen[version] = file_name


def _refuse_orphans(path: Path, names: set[str]) -> None:
    for folder in ("rollbacks", "verify"):
        for entry in sorted((path / folder).glob("*.sql")):
            if entry.name not in names:
                raise RefusalError(
                    f"{folder}/{entry.name} belongs to no migration: there is no {entry.name} beside it.",
                    f"Rename it to its migration's exact file name, or remove it from {folder}/.",
                )


def read_file(path: Path) -> SqlFile:
    """The bytes of a file, unchecked. Raises OSError."""
    return SqlFile(path, path.read_bytes())


def read_script(path: Path, *, rollback: bool = False) -> Script:
    """Read, cut and check one file, as `script_of` does. Raises OSError besides."""
    return script_of(read_file(path), rollback=rollback)


def script_of(file: SqlFile, *, rollback: bool = False) -> Script:
    """Cut and check what was read; `rollback` says that `-- destroys:` lines belong in it.

    Raises RefusalError with `file:line` and a remedy.
    """
    path, data = file.path, file.content
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RefusalError(f"{path.name}:{line}: the file is not UTF-8.", "Save it as UTF-8.") from error
    try:
        pieces = split(text)
    except SplitError as error:
        raise RefusalError(f"{path.name}:{error.line}: {error.what}.", error.remedy) from error
    statements = tuple(piece for piece in pieces if not piece.is_comment)
    transactional, destroys = _header(path, pieces, rollback=rollback)
    if destroys and not transactional:
        raise RefusalError(
            f"{path.name}: a rollback that destroys rows cannot run outside a transaction.",
            "Its export and its drop must be one transaction: move the statements that refuse one to another version.",
        )
    for statement in statements:
        _check(path, statement, transactional=transactional)
    if not statements:
        raise RefusalError(f"{path.name} has no statement.", "Write one, or remove the file.")
    return Script(
        path=path,
        sha256=file.sha256,
        size=len(data),
        text=text,
        pieces=pieces,
        transactional=transactional,
        destroys=destroys,
        changes=() if rollback else _changes(pieces),
    )


def _changes(pieces: tuple[Statement, ...]) -> tuple[Destroyed, ...]:
    """A line that cannot be read is somebody's comment; what it should have declared, the proof will miss."""
    declared = (_CHANGES.match(comment.text) for comment in _header_lines(pieces))
    return tuple(entry for found in declared if found for entry in _entries(found.group(1)) or ())


def _header_lines(pieces: tuple[Statement, ...]) -> tuple[Comment, ...]:
    return pieces[0].comments if pieces else ()


def _header(path: Path, pieces: tuple[Statement, ...], *, rollback: bool) -> tuple[bool, tuple[Destroyed, ...]]:
    transactional = True
    destroys: list[Destroyed] = []
    for comment in _header_lines(pieces):
        number = comment.line
        if directive := _DIRECTIVE.match(comment.text):
            if directive.group(1).lower().startswith("lint-ignore"):
                continue  # the linter's business
            if directive.group(1).replace(" ", "").lower() not in {"transaction=false", "transaction=true"}:
                raise RefusalError(
                    f"{path.name}:{number}: unknown directive {directive.group(1)!r}.",
                    "Known: transaction=false (run each statement by itself) and transaction=true.",
                )
            transactional = directive.group(1).replace(" ", "").lower() == "transaction=true"
        elif declared := _DESTROYS.match(comment.text):
            if not rollback:
                raise RefusalError(
                    f"{path.name}:{number}: only a rollback declares what it destroys.",
                    f"Move the line to the header of rollbacks/{path.name}.",
                )
            destroys.extend(_destroyed(path, number, declared.group(1)))
    return transactional, tuple(destroys)


def _destroyed(path: Path, line: int, declaration: str) -> tuple[Destroyed, ...]:
    entries = _entries(declaration)
    if entries is None:
        raise RefusalError(
            f"{path.name}:{line}: cannot read what {declaration!r} destroys.",
            "Write `-- destroys: table NAME`, `-- destroys: columns TABLE (A, B)`, `-- destroys: rows TABLE` or "
            "`-- destroys: nothing`.",
        )
    return entries


def _entries(declaration: str) -> tuple[Destroyed, ...] | None:
    if declaration.lower() in {"nothing", "none"}:
        return ()
    if table := _DESTROYED_TABLE.match(declaration):
        return (Destroyed(_qualified(table.group(1))),)
    if rows := _DESTROYED_ROWS.match(declaration):
        return (Destroyed(_qualified(rows.group(1)), rows_only=True),)
    if columns := _DESTROYED_COLUMNS.match(declaration):
        names = tuple(_unquoted(name.strip()) for name in columns.group(2).split(","))
        return (Destroyed(_qualified(columns.group(1)), names),)
    if column := _DESTROYED_COLUMN.match(declaration):
        return (Destroyed(_qualified(column.group(1)), (_unquoted(column.group(2)),)),)
    return None


def _qualified(name: str) -> str:
    parts = [_unquoted(part) for part in re.findall(_IDENTIFIER, name)]
    return ".".join(parts if len(parts) == 2 else ["public", *parts])


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_$]*", name) else f'"{name}"'


def _unquoted(name: str) -> str:
    return name[1:-1] if name.startswith('"') else name.lower()


def _check(path: Path, statement: Statement, *, transactional: bool) -> None:
    where = f"{path.name}:{statement.line}"
    if statement.is_transaction_control:
        raise RefusalError(
            f"{where}: the file controls transactions itself ({' '.join(statement.body.upper().split()[:2])}).",
            "Remove it: the runner wraps the file and its history row in one transaction. An authored COMMIT "
            "would record half a file as applied. Statements that refuse a transaction belong in a file of their "
            "own that starts with `-- toolkit: transaction=false`.",
        )
    if statement.is_copy_from_stdin:
        raise RefusalError(
            f"{where}: COPY … FROM STDIN needs psql to send the data.", "Write the rows as INSERT statements."
        )
    if transactional and (construct := statement.refuses_transaction):
        raise RefusalError(
            f"{where}: {construct} cannot run inside a transaction.",
            "Move it to a file of its own whose first line is `-- toolkit: transaction=false`; its statements then "
            "run one by one, each journaled, so that an interrupted run can go on.",
        )
