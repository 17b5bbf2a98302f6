"""The checks that a verify file holds (text → checks; pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import RefusalError
from toolkit.migrate.folder.files import SqlFile, script_of
from toolkit.migrate.folder.statements import Statement, comments

_CHECK = re.compile(r"^--[ \t]*check:[ \t]*(\S+)[ \t]*(.*?)[ \t]*$", re.IGNORECASE)
_REMEDY = re.compile(r"^--[ \t]*remedy:[ \t]*(.*?)[ \t]*$", re.IGNORECASE)
UNDECIDED = "Look at what kept it from an answer, then verify again: of this nothing is known."
_ANY_CHECK = re.compile(r"^--[ \t]*check:", re.IGNORECASE)


@dataclass(frozen=True)
class SqlCheck:
    """A check of a verify file: its statements run in order, and the rows of a final SELECT are violations."""

    id: str
    title: str
    remedy: str
    line: int
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class VerifyFile:
    """A verify file: `preamble` runs before every check."""

    path: Path
    preamble: tuple[Statement, ...]
    checks: tuple[SqlCheck, ...]


def parse_verify_file(file: SqlFile) -> VerifyFile:
    """Find `-- check: ID title` / `-- remedy: text` / statements.

    Raises RefusalError, with `file:line`, for a check that could not fail (no statement), a check comment inside a
    statement (it would vanish), an id used twice, a file without checks, and all that script_of refuses.
    """
    path, script = file.path, script_of(file)
    if not script.transactional:
        raise RefusalError(
            f"{path.name}: a verify file runs in one transaction that is rolled back.",
            "Remove the transaction directive.",
        )
    preamble: list[Statement] = []
    heads: list[tuple[str, str, str, int]] = []
    bodies: list[list[Statement]] = []
    for statement in script.statements:
        for comment in statement.comments:
            if head := _CHECK.match(comment.text):
                _refuse_empty(path, heads, bodies)
                heads.append((head.group(1), head.group(2), "", comment.line))
                bodies.append([])
            elif (remedy := _REMEDY.match(comment.text)) and heads and not bodies[-1]:
                identifier, title, before, number = heads[-1]
                heads[-1] = (identifier, title, f"{before} {remedy.group(1)}".strip(), number)
        (bodies[-1] if bodies else preamble).append(statement)
    checks = tuple(SqlCheck(*head, tuple(body)) for head, body in zip(heads, bodies, strict=True))
    _refuse_hidden(path, script.text, checks)
    return VerifyFile(path, tuple(preamble), checks)


def _refuse_empty(path: Path, heads: list[tuple[str, str, str, int]], bodies: list[list[Statement]]) -> None:
    if bodies and not bodies[-1]:
        raise RefusalError(
            f"{path.name}:{heads[-1][3]}: check {heads[-1][0]} has no statement, so it could never fail.",
            "Write the SELECT whose rows are violations.",
        )


def _refuse_hidden(path: Path, text: str, checks: tuple[SqlCheck, ...]) -> None:
    written = [comment.line for comment in comments(text) if _ANY_CHECK.match(comment.text)]
    hidden = sorted(set(written) - {check.line for check in checks})
    if hidden:
        raise RefusalError(
            f"{path.name}:{hidden[0]}: this check would not run: its comment is unreadable, inside a statement, or "
            "after the last one.",
            "Write `-- check: ID title` on a line of its own between statements, and end the statement before it "
            "with a semicolon.",
        )
    if not checks:
        raise RefusalError(f"{path.name} holds no check.", "Start each check with `-- check: ID title`.")
    seen: set[str] = set()
    for check in checks:
        if check.id in seen:
            raise RefusalError(f"{path.name}:{check.line}: check {check.id} exists twice.", "Give it another id.")
        seen.add(check.id)
