"""The feed's connections, by what is asked over them, so that one kind of question does not wait for another."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import asyncpg

from reference_server.realtime.changes.visibility import SESSION_FUNCTION
from reference_server.replication.catalog import Pool
from reference_server.replication.stream import QUESTION_SETTINGS

JOIN_CONNECTIONS: Final = 2
FILTER_CONNECTIONS: Final = 2
# A backend that does not heed its statement's deadline is given up after so long.
UNHEEDED_S: Final = 2.0


@dataclass
class FeedPools:
    """`rows` for what deliveries ask, `joins` for what joins ask of the catalog, `filters` for filters of clients."""

    rows: Pool
    joins: Pool
    filters: Pool

    @classmethod
    async def open(cls, dsn: str, connections: int, *, query_deadline_s: float, filter_deadline_s: float) -> FeedPools:
        """Connect; `connections` is the most that `rows` uses. Raises what asyncpg raises."""
        opened: list[Pool] = []
        try:
            for kind in (
                _Kind("visibility", connections, query_deadline_s / 2, query_deadline_s, asks_policies=True),
                _Kind("joins", JOIN_CONNECTIONS, query_deadline_s / 2, query_deadline_s),
                _Kind("filters", FILTER_CONNECTIONS, filter_deadline_s, filter_deadline_s + UNHEEDED_S),
            ):
                opened.append(await _pool(dsn, kind))
        except BaseException:
            for pool in opened:
                pool.terminate()
            raise
        return cls(*opened)

    async def expire(self) -> None:
        """Use no connection again that is open now."""
        for pool in (self.rows, self.joins, self.filters):
            await pool.expire_connections()

    async def close(self, deadline_s: float = 5) -> None:
        """Close every connection, by force when it takes too long."""
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.gather(*(pool.close() for pool in (self.rows, self.joins, self.filters)))
        except TimeoutError:
            self.terminate()

    def terminate(self) -> None:
        """Drop every connection."""
        for pool in (self.rows, self.joins, self.filters):
            pool.terminate()


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    connections: int
    statement_s: float  # Postgres ends a statement
    command_s: float  # we give up
    asks_policies: bool = False


async def _pool(dsn: str, kind: _Kind) -> Pool:
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=kind.connections,
        init=_prepare_connection if kind.asks_policies else None,
        command_timeout=kind.command_s,
        timeout=10,
        max_inactive_connection_lifetime=0,
        server_settings={
            "application_name": f"reference_server realtime {kind.name}",
            "statement_timeout": str(int(kind.statement_s * 1000)),
            **QUESTION_SETTINGS,
        },
    )


async def _prepare_connection(connection: asyncpg.Connection) -> None:
    await connection.execute(SESSION_FUNCTION, timeout=10)
