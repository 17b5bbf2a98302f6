"""Checks that what a transaction made still exists after its commit: a commit without error is not yet a success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.migrate.folder.statements import Statement
from toolkit.postgres.connection import Connection
from toolkit.report.record import shortened
from toolkit.sql import history as sql
from toolkit.sql.parse import nodes

_DDL = frozenset({"CREATE", "ALTER", "DROP", "COMMENT", "GRANT", "REVOKE"})
_MOST_NAMED = 8


@dataclass(frozen=True)
class Made:
    """One object, or column (`sub` is its number), that a transaction made or altered; `name` is fit for people."""

    catalog: str
    id: int
    sub: int
    name: str


async def made_here(conn: Connection) -> tuple[Made, ...]:
    """The objects and columns that the open transaction made or altered and has not dropped.

    Call it as the last thing before the commit. It takes no snapshot of the catalog, since the file's locks are held
    meanwhile: one pass over a few small system tables.
    """
    rows = await conn.fetch(sql.MADE, timeout=60)
    return tuple(Made(row["catalog"], row["id"], row["sub"], row["name"]) for row in rows)


async def gone(conn: Connection, made: Sequence[Made]) -> str:
    """The names of what no longer exists, or ''; another object of the same name does not count as the same."""
    if not made:
        return ""
    columns = zip(*((one.catalog, one.id, one.sub, one.name) for one in made), strict=True)
    names = [row["name"] for row in await conn.fetch(sql.GONE, *map(list, columns), timeout=60)]
    return ", ".join(shortened(names, _MOST_NAMED))


def changed_nothing(statements: Sequence[Statement]) -> str:
    """The remark for a file that left the catalog as it was, or '' when it has no statement meant to change it."""
    meant = sum(1 for statement in statements if statement.verb in _DDL and not _is_temporary(statement))
    if not meant:
        return ""
    return (
        f"changed nothing in the catalog, though {meant} of its statements {'is' if meant == 1 else 'are'} meant to: "
        "did every object exist already (IF NOT EXISTS, OR REPLACE, IF EXISTS)?"
    )


def _is_temporary(statement: Statement) -> bool:
    """Whether it makes a table, view or sequence that goes with the session."""
    match statement.node:
        case (
            nodes.CreateStmt(relation=nodes.RangeVar() as made)
            | nodes.ViewStmt(view=nodes.RangeVar() as made)
            | nodes.CreateSeqStmt(sequence=nodes.RangeVar() as made)
            | nodes.CreateTableAsStmt(into=nodes.IntoClause(rel=nodes.RangeVar() as made))
        ):
            return made.relpersistence == "t"
    return False
