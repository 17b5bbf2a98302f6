"""Transactions of the application, given in `traffic.sql`, and whether a file takes two tables in the opposite order.

Each transaction is run once, by itself, and taken back; what it locks is read after each statement. So nothing here is
a matter of timing: two sessions that take two tables in opposite orders can always meet.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from toolkit.errors import UsageError
from toolkit.migrate.folder.files import TRAFFIC_FILE
from toolkit.migrate.folder.statements import SplitError, Statement, split
from toolkit.migrate.prove.locks.modes import MODES, conflict, in_words
from toolkit.migrate.prove.locks.statement_locks import StatementLocks
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_locks as sql
from toolkit.sql.parse import label, nodes

_DEADLINE_S = 30


@dataclass(frozen=True)
class Taken:
    """A lock on a table, taken by the statement at `where`, the `step`-th of its transaction."""

    table: str
    mode: str
    step: int
    where: str


@dataclass(frozen=True)
class Transactions:
    """Those of the application: for each that runs in a state the locks that it takes, in their order; `failed` says of
    the others why they do not."""

    taken: tuple[tuple[Taken, ...], ...]
    failed: tuple[str, ...]


def read_transactions(folder: Path) -> tuple[tuple[Statement, ...], ...]:
    """The transactions of a folder's `traffic.sql`, without their BEGIN and COMMIT; none where there is no such file.

    Raises UsageError for one that cannot be read, or does not end.
    """
    file = folder / TRAFFIC_FILE
    if not file.is_file():
        return ()
    remedy = "Write each transaction as `begin; …; commit;`, with literal values."
    try:
        statements = split(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}.", remedy) from error
    except SplitError as error:
        raise UsageError(f"{TRAFFIC_FILE}:{error.line}: {error.what}.", error.remedy) from error
    found: list[tuple[Statement, ...]] = []
    current: list[Statement] | None = None
    for statement in statements:
        kind = ""
        if isinstance(statement.node, nodes.TransactionStmt):
            kind = label("TransactionStmtKind", statement.node.kind)
        if statement.is_comment:
            continue
        if statement.tree is None:
            raise UsageError(f"{TRAFFIC_FILE}:{statement.line}: Postgres' grammar does not accept it.", remedy)
        if kind in {"TRANS_STMT_BEGIN", "TRANS_STMT_START"} and current is None:
            current = []
        elif kind in {"TRANS_STMT_COMMIT", "TRANS_STMT_ROLLBACK"} and current is not None:
            found.append(tuple(current))
            current = None
        elif kind or current is None:
            raise UsageError(f"{TRAFFIC_FILE}:{statement.line}: it belongs to no transaction.", remedy)
        else:
            current.append(statement)
    if current is not None:
        raise UsageError(f"{TRAFFIC_FILE}: the last transaction does not end.", remedy)
    return tuple(found)


async def observe(conn: Connection, transactions: Sequence[Sequence[Statement]]) -> Transactions:
    """Run each transaction once and take it back."""
    taken, failed = [], []
    for statements in transactions:
        transaction = conn.transaction()
        await transaction.start()
        locks: list[Taken] = []
        try:
            for step, statement in enumerate(statements):
                where = f"{TRAFFIC_FILE}:{statement.line}"
                try:
                    async with asyncio.timeout(_DEADLINE_S):
                        await conn.execute(statement.text, timeout=_DEADLINE_S)
                except asyncpg.PostgresError as error:
                    failed.append(f"{where}: {str(error).splitlines()[0]} [{error.sqlstate}]")
                    break
                known = {(one.table, one.mode) for one in locks}
                rows = await conn.fetch(sql.LOCKS_OF, conn.get_server_pid(), timeout=_DEADLINE_S)
                for table, mode in sorted({(row["on_table"], row["mode"]) for row in rows} - known):
                    locks.append(Taken(table, mode, step, where))
            else:
                taken.append(tuple(locks))
        finally:
            await transaction.rollback()
    return Transactions(tuple(taken), tuple(failed))


def of_file(statements: Sequence[StatementLocks]) -> tuple[Taken, ...]:
    """What a file's transaction takes; statements that refuse one hold nothing when the next begins."""
    return tuple(
        Taken(lock.table, lock.mode, statement.index, statement.where)
        for statement in statements
        if not statement.outside
        for lock in statement.locks
        if lock.existed
    )


def opposite(file: Sequence[Taken], transactions: Sequence[Sequence[Taken]]) -> list[str]:
    """Where the file can wait for a transaction that waits for it: a line for each two tables, with the places."""
    found: dict[tuple[str, str], str] = {}
    for ours, theirs in itertools.product(_pairs(file), transactions):
        for first, then in _pairs(theirs):
            meet = first.table == ours[1].table and then.table == ours[0].table
            if meet and conflict(ours[0].mode, then.mode) and conflict(ours[1].mode, first.mode):
                found.setdefault(
                    (ours[0].table, ours[1].table),
                    f"{ours[1].where} asks for {_lock(ours[1])} while it holds {_lock(ours[0])} since {ours[0].where}; "
                    f"the application at {then.where} asks for {_lock(then)} while it holds {_lock(first)} since "
                    f"{first.where}",
                )
    return list(found.values())


def _pairs(taken: Sequence[Taken]) -> Iterator[tuple[Taken, Taken]]:
    """Each two locks on different tables of which a later statement takes the second, the strongest first."""
    by_strength = sorted(taken, key=lambda one: -MODES.index(one.mode) if one.mode in MODES else 0)
    return (
        (one, other)
        for one, other in itertools.permutations(by_strength, 2)
        if one.step < other.step and one.table != other.table
    )


def _lock(one: Taken) -> str:
    return f"{one.table} ({in_words(one.mode)})"
