"""Connections and transactions: JSON as Python values, a deadline on everything, safe repetition."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import asyncpg

from reference_server.connection_kind import ConnectionKind
from reference_server.store.session_settings import PooledConnection, set_up_session
from reference_server.store.values import read_instant, read_json, write_instant, write_json

T = TypeVar("T")
Connection: TypeAlias = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
ACQUIRE_DEADLINE_S = 15.0
ATTEMPTS = 4

# The transaction was rolled back by the server, or the statement was planned for a schema that a
# migration has changed since: nothing was written, the same work may be done again.
_REPEATABLE = (
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
CONNECTION_LOST = (
    OSError,  # TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server has ended the session; the connection's end is not read yet
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
)

# The database refuses for a reason of its own and not of the statement's: it has no room, no memory or no connection
# left, its operator or a time limit intervened, it accepts no writes. The transaction was rolled back.
DATABASE_REFUSES = (
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
)


class CommitUnknown(Exception):
    """The connection was lost while COMMIT was under way: the transaction may or may not have happened.

    Whoever catches it reads what the database holds before doing anything again.
    """


async def open_pool(
    dsn: str,
    kind: ConnectionKind = ConnectionKind.DIRECT,
    *,
    min_size: int = 1,
    max_size: int = 10,
    deadline_s: float = 30,
    application_name: str = "reference_server",
) -> asyncpg.Pool:
    """A pool whose connections read and write jsonb as Python values.

    `deadline_s` bounds connecting and every statement. Through a transaction pooler no statement stays prepared and
    nothing is left in a session. Raises OSError or an asyncpg error when the database cannot be reached.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=min_size,
        max_size=max_size,
        timeout=min(deadline_s, 15),
        command_timeout=deadline_s,
        server_settings={"application_name": application_name},
        init=lambda connection: prepare_connection(connection, deadline_s),
        # Nothing here leaves state in a session, so that no round trip is spent on clearing it.
        reset=_nothing,
        **connection_options(kind),
    )


def connection_options(kind: ConnectionKind) -> dict[str, Any]:
    """What asyncpg has to be told about a connection of this kind."""
    if kind is ConnectionKind.TRANSACTION_POOLER:
        return {"connection_class": PooledConnection, "statement_cache_size": 0}
    return {"connection_class": asyncpg.Connection}


async def prepare_connection(connection: asyncpg.Connection, deadline_s: float) -> None:
    """Teaches a new connection to read whatever jsonb and instants there are as Python values, and sets it up for the
    server's statements."""
    if type(connection) is PooledConnection:  # asyncpg's isinstance() takes any of its connections for any other
        await connection.set_up_transactions(deadline_s)
    else:
        await set_up_session(connection, deadline_s)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=write_json, decoder=read_json)
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=write_instant, decoder=read_instant, format="tuple"
    )


async def transact(pool: asyncpg.Pool, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Runs `work` in one transaction and returns what it returned; an exception rolls back.

    `work` runs again when it cannot have happened (deadlock, changed schema, connection lost before
    COMMIT), so it must do nothing outside the transaction. Raises CommitUnknown when the outcome
    cannot be known, and what the last attempt raised when none goes through.
    """
    return await _repeat(lambda: _once(pool, work))


async def write(pool: asyncpg.Pool, statement: Callable[[Connection], Awaitable[T]]) -> T:
    """Runs one writing statement that is a transaction by itself: no round trips for BEGIN and COMMIT.

    As `transact`, but a connection lost at any moment after it was acquired raises CommitUnknown.
    """

    async def once() -> T:
        async with pool.acquire(timeout=ACQUIRE_DEADLINE_S) as connection:
            try:
                return await statement(connection)
            except CONNECTION_LOST as error:
                raise CommitUnknown(f"the reply to a write was lost: {type(error).__name__}") from error

    return await _repeat(once)


async def read(ask: Callable[[], Awaitable[T]]) -> T:
    """Runs a reading statement, again when its connection turns out to be broken."""
    return await _repeat(ask)


async def _repeat(attempt: Callable[[], Awaitable[T]]) -> T:
    for number in range(1, ATTEMPTS):
        try:
            return await attempt()
        except TimeoutError:
            raise  # the deadline is the caller's, it is not multiplied
        except (*_REPEATABLE, *CONNECTION_LOST):
            await asyncio.sleep(0.05 * number)
    return await attempt()


async def _once(pool: asyncpg.Pool, work: Callable[[Connection], Awaitable[T]]) -> T:
    async with pool.acquire(timeout=ACQUIRE_DEADLINE_S) as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            result = await work(connection)
        except BaseException:
            # The server rolls back by itself when the connection is what failed.
            with contextlib.suppress(*CONNECTION_LOST, asyncpg.PostgresError):
                await transaction.rollback()
            raise
        try:
            await transaction.commit()
        except CONNECTION_LOST as error:
            raise CommitUnknown(f"the reply to COMMIT was lost: {type(error).__name__}") from error
        return result


async def _nothing(_connection: Connection) -> None: ...
