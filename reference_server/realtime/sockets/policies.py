"""Whether a token may read from or write to a private channel: the database's row policies decide.

As on Supabase, the policies are those of `realtime.messages`; they see `realtime.topic()`, the
`extension` (broadcast or presence) and the claims. Probe rows are inserted, looked at with the
token's role, and rolled back, so nothing is ever stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import asyncpg
import orjson

from reference_server.database_trouble import DATABASE_TROUBLE
from reference_server.replication.api_roles import ApiRoles
from reference_server.replication.question_pool import QuestionPool

# With ids of ours, by which they are found again: a topic may have hundreds of thousands of messages.
PROBE_ROWS = """
insert into realtime.messages (id, topic, extension, event, payload, private)
select id, $1, extension, 'probe', '{}', true
from unnest($2::uuid[], array['broadcast', 'presence']) probe (id, extension)
"""
_BECOME = """
select set_config('role', $1, true), set_config('realtime.topic', $2, true),
       set_config('request.jwt.claims', $3, true), set_config('request.jwt.claim.sub', $4, true),
       set_config('request.jwt.claim.role', $1, true)
"""
VISIBLE = "select extension from realtime.messages where id = any ($1::uuid[])"
WRITE = "insert into realtime.messages (topic, extension, event, payload, private) values ($1, $2, 'probe', '{}', true)"


# The role lacks a privilege, or a policy refuses: in each case the token may not.
_DENIED: Final = (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)


class PoliciesUnavailable(Exception):
    """The database did not answer, or has no `realtime.messages`: nothing can be allowed."""


@dataclass(frozen=True, slots=True)
class ChannelRights:
    """What a token may do on one private channel, for each of the two extensions."""

    broadcast: bool
    presence: bool

    @property
    def any(self) -> bool:
        return self.broadcast or self.presence


class ChannelPolicies:
    """Asks over a small pool of its own. `timeout_s` bounds every question."""

    def __init__(
        self, dsn: str, *, timeout_s: float = 5.0, connections: int = 4, api_roles: ApiRoles | None = None
    ) -> None:
        self._api_roles = api_roles or ApiRoles()
        self._timeout_s = timeout_s
        self._pool = QuestionPool(dsn, "realtime policies", connections=connections, timeout_s=timeout_s)

    async def may_read(self, topic: str, claims: Mapping[str, Any]) -> ChannelRights:
        """What this token may receive on `topic`; raises RoleRefused and PoliciesUnavailable."""
        try:
            async with self._probe() as connection:
                await self._api_roles.check(claims.get("role"), connection.fetchval)
                ids = [uuid4(), uuid4()]
                await connection.execute(PROBE_ROWS, topic, ids)
                await _become(connection, topic, claims)
                found = {row["extension"] for row in await connection.fetch(VISIBLE, ids)}
        except _DENIED:
            return ChannelRights(False, False)
        except DATABASE_TROUBLE as error:
            raise PoliciesUnavailable(str(error) or type(error).__name__) from error
        return ChannelRights("broadcast" in found, "presence" in found)

    async def may_write(self, topic: str, claims: Mapping[str, Any]) -> ChannelRights:
        """What this token may send to `topic`; raises RoleRefused and PoliciesUnavailable."""
        return ChannelRights(
            await self.may_insert(topic, claims, "broadcast"), await self.may_insert(topic, claims, "presence")
        )

    async def may_insert(self, topic: str, claims: Mapping[str, Any], extension: str) -> bool:
        """Whether this token may send `broadcast` or `presence` to `topic`; raises what `may_write` raises."""
        try:
            async with self._probe() as connection:
                await self._api_roles.check(claims.get("role"), connection.fetchval)
                await _become(connection, topic, claims)
                await connection.execute(WRITE, topic, extension)
        except _DENIED:
            return False
        except DATABASE_TROUBLE as error:
            raise PoliciesUnavailable(str(error) or type(error).__name__) from error
        return True

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def _probe(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """A connection in a transaction that is always rolled back."""
        async with asyncio.timeout(self._timeout_s):
            pool = await self._pool.open()
            async with pool.acquire() as connection:
                transaction = connection.transaction()
                await transaction.start()
                try:
                    yield connection
                finally:
                    await transaction.rollback()


async def _become(connection: asyncpg.pool.PoolConnectionProxy, topic: str, claims: Mapping[str, Any]) -> None:
    everything = orjson.dumps(dict(claims)).decode()
    await connection.execute(_BECOME, claims["role"], topic, everything, str(claims.get("sub") or ""))
