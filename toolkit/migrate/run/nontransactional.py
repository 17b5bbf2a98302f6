"""For statements that refuse a transaction: whether an interrupted one took effect, and whether it left an INVALID
index."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.errors import RefusalError
from toolkit.migrate.folder.statements import Statement
from toolkit.migrate.run.history import JournalEntry, statement_hash
from toolkit.postgres.connection import Connection
from toolkit.sql import history as sql
from toolkit.sql.parse import nodes, strings
from toolkit.sql.quoting import spelt


@dataclass(frozen=True)
class Wreck:
    """An INVALID index where CREATE INDEX CONCURRENTLY wants its own; `name` as SQL writes it.

    `builder` is the pid of the session that is at it this very moment, None when nobody is.
    """

    name: str
    table: str
    builder: int | None

    def refusal(self) -> RefusalError:
        """Why a run stops before it, and the exact way on."""
        if self.builder is not None:
            return RefusalError(
                f"Index {self.name} on {self.table} is being built by another session (pid {self.builder}).",
                "Wait until that ends, then run this command again: it goes on at this statement.",
            )
        return RefusalError(
            f"Index {self.name} on {self.table} is INVALID: a build of it was interrupted or failed. "
            "Queries never use it, writes keep paying for it.",
            f"Run `drop index concurrently {self.name};` and then this command again: it goes on at this statement.",
        )


async def ran_after_all(conn: Connection, statement: Statement) -> bool:
    """Whether a statement whose run was cut short had taken effect; False means that it is safe to run it again.

    Raises RefusalError for an index without a name: nobody can tell which of the table's it would be, and running it
    again could build it twice.
    """
    match statement.node:
        case nodes.IndexStmt(concurrent=True, idxname="") as build:
            raise RefusalError(
                f"Statement {statement.index} (line {statement.line}) was interrupted, and it gives its index no name: "
                "whether that was built cannot be told.",
                f"Give the index a name in the file, drop what the interrupted build left on {_table(build)} (`toolkit "
                "migrate status` lists INVALID indexes), then run this command again.",
            )
        case nodes.IndexStmt(concurrent=True) as build:
            state = await conn.fetchrow(sql.INDEX_STATE, _table(build), build.idxname, timeout=30)
            return state is not None and bool(state["valid"])
        case nodes.DropStmt(concurrent=True, objects=[nodes.List(items=name)]):
            return await conn.fetchval(sql.IS_ABSENT, spelt(*strings(name)), timeout=30) is True
    return False


async def index_wreck(conn: Connection, statement: Statement) -> Wreck | None:
    """The INVALID index in the way of a statement, if there is one.

    With IF NOT EXISTS Postgres keeps such an index and reports success; queries never use it.
    """
    build = statement.node
    if not isinstance(build, nodes.IndexStmt) or not build.concurrent or not build.idxname:
        return None
    state = await conn.fetchrow(sql.INDEX_STATE, _table(build), build.idxname, timeout=30)
    if state is None or state["valid"]:
        return None
    return Wreck(state["name"], _table(build), state["builder"])


async def make_way(conn: Connection, statement: Statement, entry: JournalEntry | None, deadline_s: float) -> str:
    """Drop the wreck that our own interrupted run left where `statement` builds; returns what was done, or ''.

    It is ours when the journal says that this very statement was started: it is started only where no index of that
    name is invalid. Raises RefusalError, with the command to run, for every other INVALID index.
    """
    wreck = await index_wreck(conn, statement)
    if wreck is None:
        return ""
    if entry is None or entry.sha256 != statement_hash(statement) or wreck.builder is not None:
        raise wreck.refusal()
    await conn.execute(sql.UNBOUNDED, timeout=10)
    # The deadline of a statement: it waits for old transactions as the build does, and blocks nobody meanwhile.
    await conn.execute(sql.DROP_INDEX_CONCURRENTLY.format(name=wreck.name), timeout=deadline_s)
    return (
        f"Index {wreck.name} was INVALID, left by a build that this runner started and that was interrupted or "
        "failed: it was dropped and built again."
    )


def _table(build: nodes.IndexStmt) -> str:
    table = build.relation
    return spelt(table.schemaname, table.relname) if table is not None else ""
