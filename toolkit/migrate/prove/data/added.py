"""Rows that a migration adds to tables that were there: which of them its own statements insert, and what comes along.

Meant are rows that a statement of the file inserts, through a function that it calls too; what triggers on INSERT add
to them; and what event triggers write about statements that change the schema. Rows made of the same table's own rows
are not: it then holds them twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from toolkit.migrate.folder.statements import Statement
from toolkit.postgres.connection import Connection
from toolkit.sql import parse
from toolkit.sql import prove_data as sql
from toolkit.sql.bodies import body_of
from toolkit.sql.parse import AstNode, Piece, Source, Unreadable, nodes, strings

_DEADLINE_S = 30


@dataclass(frozen=True)
class Target:
    """A table into which a statement inserts, as it is written: "" for a schema that is not; `itself` where the rows
    are read from the same table, `log` where an event trigger writes them each time."""

    schema: str
    name: str
    itself: bool = False
    log: bool = False

    def is_table(self, table: str) -> bool:
        """Whether it can be this table (`schema.name`)."""
        schema, _, name = table.partition(".")
        return self.name == name and self.schema in {"", schema}


async def meant(conn: Connection, statements: Iterable[Statement]) -> frozenset[Target]:
    """The tables into which rows go when these statements run, as far as texts tell. Functions and triggers are those
    of the database; one that builds its statements at run time is not seen through."""
    pieces = [piece for statement in statements if statement.tree is not None for piece in _run(statement.tree)]
    found = {*_targets(pieces)}
    called = {strings(call.funcname)[-1] for piece in pieces for call in piece.find(nodes.FuncCall)}
    for row in await conn.fetch(sql.FUNCTIONS_NAMED, sorted(called), timeout=_DEADLINE_S):
        found |= {*_targets(_body(row["definition"]))}
    for row in await conn.fetch(sql.EVENT_TRIGGER_FUNCTIONS, timeout=_DEADLINE_S):
        found |= {replace(target, log=True) for target in _targets(_body(row["definition"]))}
    triggers = [
        (row["table"], {*_targets(_body(row["definition"]))})
        for row in await conn.fetch(sql.INSERT_TRIGGERS, timeout=_DEADLINE_S)
    ]
    roots = [(row["name"], row["root"]) for row in await conn.fetch(sql.PARTITIONS, timeout=_DEADLINE_S)]
    while True:
        reached = {one for table, targets in triggers if any(t.is_table(table) for t in found) for one in targets}
        reached |= {_target(root, t) for name, root in roots for t in found if t.is_table(name)}
        if reached <= found:
            return frozenset(found)
        found |= reached


def is_meant(table: str, targets: Iterable[Target]) -> bool:
    """Whether rows were to come into this table."""
    into = [target for target in targets if target.is_table(table)]
    return bool(into) and not any(target.itself for target in into)


def is_log(table: str, targets: Iterable[Target]) -> bool:
    """Whether an event trigger writes into this table."""
    return any(target.log for target in targets if target.is_table(table))


def _target(table: str, like: Target) -> Target:
    schema, _, name = table.partition(".")
    return Target(schema, name, like.itself, like.log)


def _run(statement: Piece) -> Iterator[Piece]:
    """What a statement runs at once: itself, or the body of a DO block. A function that it creates does not run."""
    if isinstance(statement.node, nodes.DoStmt):
        yield from body_of(statement).pieces
    elif not isinstance(statement.node, nodes.CreateFunctionStmt):
        yield statement


def _body(definition: str) -> tuple[Piece, ...]:
    data = definition.encode()
    try:
        ((node, start, end),) = parse.statements(data)
    except (Unreadable, ValueError):
        return ()
    return body_of(Piece(node, Source(data), start, end)).pieces


def _targets(pieces: Iterable[Piece]) -> Iterator[Target]:
    for piece in pieces:
        for insert in piece.find(nodes.InsertStmt):
            if insert.relation is not None:
                name = insert.relation.relname
                itself = name in {*_sources(piece, insert.select_stmt)}
                yield Target(insert.relation.schemaname, name, itself)
        for copy in piece.find(nodes.CopyStmt):
            if copy.is_from and copy.relation is not None:
                yield Target(copy.relation.schemaname, copy.relation.relname)
        for merge in piece.find(nodes.MergeStmt):
            if merge.relation is not None:
                yield Target(merge.relation.schemaname, merge.relation.relname)


def _sources(piece: Piece, select: AstNode | None) -> Iterator[str]:
    """Tables that stand behind FROM itself: not those of a condition, such as `where not exists (…)`."""
    if not isinstance(select, nodes.SelectStmt):
        return
    for item in select.from_clause:
        if isinstance(item, nodes.RangeVar | nodes.JoinExpr):
            yield from (one.relname for one in piece.under(item).find(nodes.RangeVar))
    for part in (select.larg, select.rarg):
        yield from _sources(piece, part)
