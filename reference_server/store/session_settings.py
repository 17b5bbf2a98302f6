"""What the server's sessions need, whatever the database or the role has as its defaults.

On a direct connection, and through a session pooler, it is set once for the session. Through a transaction pooler each
transaction sets it for itself, because the next one runs in another session.
"""

from __future__ import annotations

from typing import Any

import asyncpg

# The deadline that counts is the caller's, which also says why; the server's own is there for a caller that is gone.
MARGIN_S = 5.0
_IDLE_IN_TRANSACTION = "60s"

_ANSWERS = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "row_security": "on",
}
# Postgres 17 and later.
_TRANSACTION_TIMEOUT = """
select pg_catalog.set_config('transaction_timeout', '0', {local}) from pg_catalog.pg_settings
where name = 'transaction_timeout' and setting <> '0'
"""
# A default of the database or of the role is made for other programs. One of the whole server stands: it is how an
# operator, or Supabase when the disk is nearly full, stops all writing.
_READ_ONLY_BY_DEFAULT = """
select exists (select from pg_catalog.pg_settings where name = 'default_transaction_read_only' and setting = 'on'
               and source in ('database', 'user', 'database user'))
"""


def _settings(deadline_s: float) -> dict[str, str]:
    return {
        "statement_timeout": f"{(deadline_s + MARGIN_S) * 1000:.0f}ms",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION,
        **_ANSWERS,
    }


async def set_up_session(connection: asyncpg.Connection, deadline_s: float) -> None:
    """Sets up the session of a new connection; `deadline_s` is how long the caller waits for one statement."""
    settings = {"default_transaction_isolation": "read committed", "idle_session_timeout": "0", **_settings(deadline_s)}
    statements = [f"set {name} = '{value}'" for name, value in settings.items()]
    await connection.execute("; ".join([*statements, _TRANSACTION_TIMEOUT.format(local="false")]))
    if await connection.fetchval(_READ_ONLY_BY_DEFAULT):
        await connection.execute("set default_transaction_read_only = off")


class PooledConnection(asyncpg.Connection):
    """A connection through a transaction pooler: every transaction of it sets what it needs, and a statement outside a
    transaction becomes one."""

    _begin = ""

    async def set_up_transactions(self, deadline_s: float) -> None:
        """Has to be called once before the connection is used; `deadline_s` as for `set_up_session`."""
        first = ["set transaction isolation level read committed"]
        if await super().fetchval(_READ_ONLY_BY_DEFAULT):
            first.append("set transaction read write")
        local = [f"set local {name} = '{value}'" for name, value in _settings(deadline_s).items()]
        self._begin = "; ".join([*first, *local, _TRANSACTION_TIMEOUT.format(local="true")])

    def transaction(self, **options: Any) -> _Transaction:
        return _Transaction(self, self._begin, **options)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        if self.is_in_transaction():
            return await super().fetch(query, *args, **options)
        async with self.transaction():
            return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        if self.is_in_transaction():
            return await super().fetchrow(query, *args, **options)
        async with self.transaction():
            return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        if self.is_in_transaction():
            return await super().fetchval(query, *args, **options)
        async with self.transaction():
            return await super().fetchval(query, *args, **options)


class _Transaction(asyncpg.transaction.Transaction):
    def __init__(
        self,
        connection: PooledConnection,
        begin: str,
        *,
        isolation: Any = None,
        readonly: bool = False,
        deferrable: bool = False,
    ) -> None:
        super().__init__(connection, isolation, readonly, deferrable)
        self._outermost = not connection.is_in_transaction()
        self._begin = begin
        self._pooled = connection

    async def start(self) -> None:
        await super().start()
        if not self._outermost:
            return
        try:
            await self._pooled.execute(self._begin)
        except BaseException:
            await self.rollback()
            raise
