"""What the comments before a file's first statement declare. Pure.

-- toolkit: transaction=false             run each statement by itself (CREATE INDEX CONCURRENTLY, VACUUM)
-- destroys: table process_events         in rollbacks, one line for each table whose rows will be gone
-- destroys: columns orders (note, tag)   and for the columns whose values will be gone
-- destroys: rows customers               and for tables that stay, but whose rows it deletes or changes
-- changes: columns orders (note)         in migrations, the same for rows that were there before: values that it
                                          rewrites or drops for good, on purpose (`prove` reads this)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import RefusalError
from toolkit.migrate.folder.statements import Comment, Statement

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


def read_changes(pieces: tuple[Statement, ...]) -> tuple[Destroyed, ...]:
    """What a migration declares to change. A line that cannot be read is somebody's comment; what it should have
    declared, the proof will miss."""
    declared = (_CHANGES.match(comment.text) for comment in _header_lines(pieces))
    return tuple(entry for found in declared if found for entry in _entries(found.group(1)) or ())


def _header_lines(pieces: tuple[Statement, ...]) -> tuple[Comment, ...]:
    return pieces[0].comments if pieces else ()


def read_header(path: Path, pieces: tuple[Statement, ...], *, rollback: bool) -> tuple[bool, tuple[Destroyed, ...]]:
    """Whether the file is one transaction, and what it destroys. Raises RefusalError with `file:line`."""
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
