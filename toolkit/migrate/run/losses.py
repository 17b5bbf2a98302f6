"""Finds, inside its transaction, what a rollback destroyed: tables, columns, and rows of tables that stay.

Rows are counted by the server's statistics of the session, so that large tables cost nothing, and rows destroyed by a
trigger, a cascade or a function count too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from toolkit.errors import EnvironmentError_
from toolkit.migrate.folder.headers import Destroyed
from toolkit.migrate.folder.statements import Statement
from toolkit.postgres.connection import Connection
from toolkit.sql import history as sql
from toolkit.sql.parse import AstNode, label, nodes


@dataclass(frozen=True)
class TableFacts:
    """A table under its name: which one it is, its columns with their types, and of a partition the root's name."""

    oid: int
    columns: Mapping[str, str]
    root: str = ""


@dataclass(frozen=True)
class RowFacts:
    """Rows of a table or of one of its partitions: `table` is the name of the root, `file` where they are stored,
    `writes` how many the session has updated and deleted."""

    table: str
    file: int
    writes: int


@dataclass(frozen=True)
class Holdings:
    """Everything that a rollback could take away, at one moment of its transaction."""

    tables: Mapping[str, TableFacts]
    rows: Mapping[int, RowFacts]


async def take_stock(conn: Connection) -> Holdings:
    """Read the holdings. Raises EnvironmentError_ on a server that does not count writes."""
    if not await conn.fetchval(sql.COUNTS_WRITES, timeout=10):
        raise EnvironmentError_(
            "The server does not count writes (track_counts is off), so nobody could see what a rollback does to rows.",
            "Set track_counts = on; autovacuum needs it too.",
        )
    return Holdings(
        {
            row["table_name"]: TableFacts(
                row["oid"], dict(zip(row["columns"], row["types"], strict=True)), row["root"] or ""
            )
            for row in await conn.fetch(sql.USER_COLUMNS, timeout=60)
        },
        {
            row["oid"]: RowFacts(row["table_name"], row["file"], row["writes"])
            for row in await conn.fetch(sql.ROW_WRITES, timeout=60)
        },
    )


def losses(before: Holdings, after: Holdings, statements: Iterable[Statement] = ()) -> tuple[Destroyed, ...]:
    """What is gone: tables (also one that was made anew under its name), columns, and rows of tables that stay.

    Partitions go with their root, whoever made them. A table that `statements` write anew, so that columns get types
    that hold every value they had, keeps its rows.
    """
    found: list[Destroyed] = []
    for name, table in sorted(before.tables.items()):
        now, root = after.tables.get(name), table.root
        if now is None or now.oid != table.oid:
            found.append(Destroyed(name))
        else:
            # A column of a partition cannot go but with its root's.
            gone_columns = () if root in before.tables else sorted(table.columns.keys() - now.columns.keys())
            found += [Destroyed(name, (column,)) for column in gone_columns]
    lost = {loss.table for loss in found if not loss.columns}
    found = [loss for loss in found if loss.columns or before.tables[loss.table].root not in lost]
    seen_through = may_only_retype(statements)
    changed = set()
    for oid, rows in before.rows.items():
        now_rows = after.rows.get(oid)
        if now_rows is None or (now_rows.file, now_rows.writes) == (rows.file, rows.writes):
            continue
        retyped = seen_through and now_rows.writes == rows.writes
        if not (retyped and _holds_every_value(before.tables.get(rows.table), after.tables.get(rows.table))):
            changed.add(rows.table)
    return (*found, *(Destroyed(name, rows_only=True) for name in sorted(changed - lost)))


def undeclared(lost: tuple[Destroyed, ...], declared: tuple[Destroyed, ...], before: Holdings) -> tuple[Destroyed, ...]:
    """Those losses that no declaration covers; a table declared as a whole covers its columns, rows and partitions, and
    rows that are declared may go with the partition that holds them."""
    whole = {entry.table for entry in declared if entry.whole_table}
    parts = {(entry.table, column) for entry in declared for column in entry.columns}
    rows = {entry.table for entry in declared if entry.rows_only}
    roots = {name: table.root for name, table in before.tables.items() if table.root}
    return tuple(
        loss
        for loss in lost
        if loss.table not in whole
        and not (loss.rows_only and loss.table in rows)
        and not (loss.whole_table and roots.get(loss.table) in whole | rows)
        and not (loss.columns and all((loss.table, column) in parts for column in loss.columns))
    )


def may_only_retype(statements: Iterable[Statement]) -> bool:
    """Whether it can be read off the statements that no table is written anew but for a plain change of a column's
    type: none empties tables, gives values by USING, or runs what is not in the file."""
    some = False
    for statement in statements:
        if statement.tree is None or isinstance(statement.tree.node, _OPAQUE):
            return False
        some = True
        for command in statement.tree.find(nodes.AlterTableCmd):
            match command.def_:
                case nodes.ColumnDef(raw_default=AstNode()) if (
                    label("AlterTableType", command.subtype) == "AT_AlterColumnType"
                ):
                    return False
    return some


_OPAQUE = (nodes.DoStmt, nodes.SelectStmt, nodes.CallStmt, nodes.TruncateStmt, nodes.ExecuteStmt)
# From a type to those that hold every value of it; the last resort of a value that does not fit is an error.
_WHOLE = ("smallint", "integer", "bigint")
_TEXTS = ("text", "character varying", "citext")
_ALSO: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_WHOLE, (*_WHOLE, "numeric")),
    **dict.fromkeys(_TEXTS, _TEXTS),
    "uuid": _TEXTS,
    "real": ("double precision",),
    "numeric": ("numeric",),
    "jsonb": ("json",),
    "date": ("timestamp without time zone", "timestamp with time zone"),
    "timestamp without time zone": ("timestamp with time zone",),
}


def _holds_every_value(before: TableFacts | None, after: TableFacts | None) -> bool:
    if before is None or after is None:
        return False
    pairs = [
        (type_, after.columns[name])
        for name, type_ in before.columns.items()
        if name in after.columns and after.columns[name] != type_
    ]
    return bool(pairs) and all(_holds(old, new) for old, new in pairs)


def _holds(old: str, new: str) -> bool:
    bare_old, bare_new = re.sub(r"\(.*?\)", "", old), re.sub(r"\(.*?\)", "", new)
    if bare_new not in _ALSO.get(bare_old, ()):
        return False
    limited = re.search(r"\((\d+)(?:,(\d+))?\)", new)
    if bare_new == "numeric" and limited:  # rounds what has more digits
        was = re.search(r"\((\d+)(?:,(\d+))?\)", old)
        scale = 0 if bare_old in _WHOLE else int(was[2] or 0) if was else None
        return scale is not None and scale <= int(limited[2] or 0)
    return limited is None or bare_new in _TEXTS
