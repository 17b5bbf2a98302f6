"""The failure of a file, with a remedy by its SQLSTATE."""

from __future__ import annotations

import re
from dataclasses import dataclass

import asyncpg

from toolkit.migrate.folder.files import Script
from toolkit.migrate.folder.statements import Statement
from toolkit.sql.barred import barred

_EXISTS = "It exists already, made outside the migrations: see `toolkit migrate status`, remove it or adopt it."
_OUTSIDE = (
    "Correct the name. Where it was made outside the folder (in the dashboard, say), put a file before this one that "
    "makes it: `supabase db pull` writes one."
)
_NO_EXTENSION = re.compile(r'extension "(?P<name>[^"]+)" is not available')
_REMEDIES: dict[str, str] = {
    "55P03": "Run again when the transactions named above have ended, or allow more with --lock-timeout.",
    "40P01": "Run again; if it persists, have the file take its locks in the order the application takes them.",
    "42501": "Connect as the owner of the objects (on Supabase: postgres, except for what the platform owns).",
    "25001": "Move the statement to a file of its own whose first line is `-- toolkit: transaction=false`.",
    "55P04": "A new enum value cannot be used in the transaction that adds it: use it in the next migration.",
    "42P07": _EXISTS,
    "42710": _EXISTS,
    "42701": _EXISTS,
    "42723": _EXISTS,
    "42P01": _OUTSIDE,
    "42703": _OUTSIDE,
    "42883": _OUTSIDE,
    "42704": _OUTSIDE,
    "3F000": _OUTSIDE,
    "42P17": "What an index, a generated column or a partition computes may not depend on the moment: leave now() and "
    "CURRENT_DATE out, and compare with them in the query.",
    "23503": "The row that it refers to is not there: an existing row breaks the new key, or the file counts on data "
    "of one database. Insert that row first, or write the statement so that it does nothing where the row is missing.",
    "2BP01": "Something else depends on it: drop or change that first; CASCADE would drop it unseen.",
    "57014": "The statement was cancelled: by somebody, or by a statement timeout. Run again.",
    "57P01": "The server ended the connection. When it is back, run again.",
    "53100": "Make room on the server's disk and run again.",
}
_CLASS_REMEDIES: dict[str, str] = {
    "08": "Look whether the server is up, then run again.",
    "22": "Rows hold values the statement cannot handle: correct them in a migration before this one.",
    "23": "Existing rows break the new rule: correct them in a migration before this one.",
    "42": "Correct the statement.",
    "53": "The server lacks resources; see its log, then run again.",
    "57": "The server was interrupted; run again when it is up.",
}


@dataclass(frozen=True)
class Failure:
    """Where and why a file failed.

    `statement` counts from 1 (0: outside any statement), `line` is that of the file; `sqlstate` is '' when the
    server gave none.
    """

    file: str
    statement: int
    line: int
    sqlstate: str
    message: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" + (f", statement {self.statement}" if self.statement else "")
        return f"{where}: {self.message}" + (f" [{self.sqlstate}]" if self.sqlstate else "")


def failure_of(
    script: Script, statement: Statement | None, error: BaseException, context: tuple[str, ...] = ()
) -> Failure:
    """The Failure for an error; `context` is what else is known, such as who held the lock."""
    sqlstate = (getattr(error, "sqlstate", None) or "") if isinstance(error, asyncpg.PostgresError) else ""
    message = str(error).strip() or type(error).__name__
    for extra in ("detail", "hint"):
        if isinstance(error, asyncpg.PostgresError) and getattr(error, extra, None):
            # asyncpg appends DETAIL and HINT to the text on lines of their own; one line reads better.
            message = message.split("\n")[0] + f" ({getattr(error, extra)})"
    if isinstance(error, asyncpg.InternalClientError):
        message = "the server ended the connection"
    if isinstance(error, TimeoutError):
        message = "the statement did not end within its deadline"
    if context:
        message += "; open transactions: " + " | ".join(context)
    remedy = (
        _barred(statement, sqlstate)
        or _lacking(message)
        or _torn(statement, error, sqlstate)
        or _REMEDIES.get(sqlstate)
        or _CLASS_REMEDIES.get(sqlstate[:2])
        or "See the message, then run again."
    )
    return Failure(
        file=script.path.name,
        statement=statement.index if statement else 0,
        line=_line(statement, error) if statement else 1,
        sqlstate=sqlstate,
        message=message,
        remedy=remedy,
    )


def _barred(statement: Statement | None, sqlstate: str) -> str:
    """What to do where the platform owns what the statement would change: nobody who runs migrations may."""
    if sqlstate != "42501" or statement is None or statement.tree is None:
        return ""
    return next((one.remedy for one in barred(statement.tree) if one.kind == "owner"), "")


def _lacking(message: str) -> str:
    found = _NO_EXTENSION.search(message)
    return (
        f"This server does not have the extension {found['name']}. Apply the file where it is, to a hosted project for "
        "example (--database-url), or install it on this server."
        if found
        else ""
    )


def _torn(statement: Statement | None, error: BaseException, sqlstate: str) -> str:
    """A mistake behind the first line of a statement is often the semicolon that the line before it lacks."""
    if sqlstate != "42601" or statement is None or _line(statement, error) == statement.line:
        return ""
    return f"Correct it there. The statement begins on line {statement.line}: a semicolon may be missing before this."


def _line(statement: Statement, error: BaseException) -> int:
    position = getattr(error, "position", None)
    if not position:
        return statement.line
    return statement.start_line + statement.text.count("\n", 0, int(position) - 1)
