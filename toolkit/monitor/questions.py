"""Read-only questions to the database, and the Absent fact when one cannot be answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg

from toolkit.checks.absent import Absent
from toolkit.environment import HOW_TO_GET
from toolkit.errors import ToolkitError
from toolkit.postgres.connection import Connection, connected
from toolkit.sql.diagnosis import queries
from toolkit.targets.target import Target

T = TypeVar("T")
DEADLINE_S = 25.0
_MIGRATE = "toolkit migrate status says what is applied; toolkit migrate up applies the rest."


def not_set(name: str) -> Absent:
    """The absent fact for a missing setting."""
    return Absent(f"{name} is not set", f"Set it in the environment or in toolkit.toml: {HOW_TO_GET[name]}.")


def why(error: Exception) -> Absent:
    """The absent fact for an error."""
    match error:
        case ToolkitError():
            return Absent(error.what, error.remedy)
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError() | asyncpg.UndefinedFunctionError():
            return Absent(f"the schema is not the migrated one: {error}", _MIGRATE)
        case asyncpg.InsufficientPrivilegeError():
            return Absent(f"not permitted: {error}", "Connect as the owner of the tables (postgres on Supabase).")
        case asyncpg.QueryCanceledError() | TimeoutError():
            return Absent("no answer within its deadline", "Look for locks and long transactions, then try again.")
        case _:
            return Absent(f"{type(error).__name__}: {error}", "Check that the database runs and can be reached.")


class Questions:
    """Runs queries on one connection, each in a read-only transaction of its own."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn

    async def rows(self, query: str, *args: object) -> Sequence[asyncpg.Record]:
        """All rows."""
        async with asyncio.timeout(DEADLINE_S), self.conn.transaction(readonly=True):
            await self.conn.execute(queries()["bound"])
            return await self.conn.fetch(query, *args)

    async def row(self, query: str, *args: object) -> asyncpg.Record:
        """The one row. Raises LookupError when there is none."""
        found = await self.rows(query, *args)
        if not found:
            raise LookupError("the database returned no row")
        return found[0]

    async def fact(self, ask: Callable[[Questions], Awaitable[T]]) -> T | Absent:
        """The result of `ask`, or the reason why there is none."""
        try:
            return await ask(self)
        except (ToolkitError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, LookupError) as error:
            return why(error)


@asynccontextmanager
async def questions(target: Target, purpose: str) -> AsyncIterator[Questions | Absent]:
    """Questions on a connection for the length of the block, or the reason why there is none."""
    if target.database_url is None:
        yield not_set("DATABASE_URL")
        return
    try:
        opened = connected(target.database_url, purpose, through_a_pooler=True)
        conn = await opened.__aenter__()
    except ToolkitError as error:
        yield why(error)
        return
    try:
        yield Questions(conn)
    finally:
        await opened.__aexit__(None, None, None)
