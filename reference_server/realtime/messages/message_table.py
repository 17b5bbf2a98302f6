"""Questions to `realtime.messages`: is it there and published, what is to be replayed, what did the stream miss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import asyncpg

from reference_server.database_trouble import DATABASE_TROUBLE
from reference_server.realtime.protocol.ports import MessagesUnavailable, StoredMessage
from reference_server.replication.question_pool import QuestionPool
from reference_server.replication.stream import QUESTION_SETTINGS

PUBLICATION: Final = "supabase_realtime_messages_publication"
# More than this is not caught up with after a lost stream.
MOST_MISSED: Final = 10_000

_FACTS = """
select current_user::text as role, c.relkind::text as kind,
       exists (select from pg_catalog.pg_attribute a
               where a.attrelid = c.oid and a.attname = 'binary_payload' and not a.attisdropped) as has_binary,
       exists (select from pg_catalog.pg_publication p where p.pubname = $1) as has_publication,
       exists (select from pg_catalog.pg_publication p
               left join pg_catalog.pg_publication_rel r on r.prpubid = p.oid
               where p.pubname = $1 and (p.puballtables or r.prrelid = c.oid)) as published
from (select pg_catalog.to_regclass('realtime.messages')) of (oid)
left join pg_catalog.pg_class c on c.oid = of.oid
"""
_COLUMNS = """
id::text as id, topic, event, private, payload::text as payload, {binary} as binary_payload,
inserted_at::text as inserted_at
"""
# Rows of one transaction have the same time: their place in the table says which came first.
_REPLAY = """
select {columns} from realtime.messages
where topic = $1 and private and extension = 'broadcast' and event is not null
  and inserted_at >= $2::text::timestamptz at time zone 'UTC'
  and inserted_at < pg_catalog.now() at time zone 'UTC' + interval '1 minute'
order by inserted_at desc, tableoid desc, ctid desc limit $3
"""
_MISSED = """
select {columns} from realtime.messages
where inserted_at > $1::text::timestamp and id <> all ($2::text[]::uuid[])
  and topic is not null and event is not null and private is not null
  and ({binary} is not null or payload is not null)
order by inserted_at, tableoid, ctid limit $3
"""
_NOW = "select pg_catalog.clock_timestamp() at time zone 'UTC'"


class MessageTable:
    """`realtime.messages` of one database, over a small pool of its own. `timeout_s` bounds every question.

    `owner_dsn` leads to a role that owns the table, where `dsn` does not.
    """

    def __init__(self, dsn: str, *, owner_dsn: str | None = None, timeout_s: float = 5.0) -> None:
        self.owner_dsn = owner_dsn or dsn
        self._timeout_s = timeout_s
        self._binary = "binary_payload"
        self._pool = QuestionPool(dsn, "realtime messages", connections=2, timeout_s=timeout_s)

    async def publish(self) -> None:
        """See to it that inserted messages are published. Raises MessagesUnavailable with what has to be done."""
        async with self._asking() as connection:
            facts = await connection.fetchrow(_FACTS, PUBLICATION)
        if facts["kind"] is None:
            raise MessagesUnavailable(
                "the database has no table realtime.messages, so nothing that realtime.send sends can be streamed or "
                "replayed; `toolkit bootstrap` makes it"
            )
        self._binary = "binary_payload" if facts["has_binary"] else "null::bytea"
        if facts["published"]:
            return
        statement = (
            f"alter publication {PUBLICATION} add table realtime.messages"
            if facts["has_publication"]
            else f"create publication {PUBLICATION} for table realtime.messages"
        )
        try:
            async with self.as_owner() as connection:
                await connection.execute(statement)
        except asyncpg.DuplicateObjectError:  # another process was faster
            return
        except asyncpg.InsufficientPrivilegeError as error:
            raise MessagesUnavailable(
                f"realtime.messages is not published, and the role may not change that ({error}); run "
                f"`{statement}` as its owner, or set REALTIME_OWNER_DATABASE_URL to the owner's connection"
            ) from None

    async def latest(self, topic: str, since_ms: int, limit: int) -> list[StoredMessage]:
        """The newest `limit` private messages to `topic` since then (ms since 1970), oldest first.

        Raises MessagesUnavailable, and ValueError for a time that no timestamp can hold.
        """
        if not -210_866_803_200_000 <= since_ms <= 253_402_300_799_999:
            raise ValueError("since is not a time")
        async with self._asking() as connection:
            since = await connection.fetchval("select pg_catalog.to_timestamp($1::float8)::text", since_ms / 1000)
            rows = await connection.fetch(self._sql(_REPLAY), topic, since, limit)
        return [_message(row) for row in reversed(rows)]

    async def missed(self, since: str, sent: Sequence[str]) -> list[StoredMessage]:
        """Messages inserted after `since` but for those with the ids `sent`, oldest first; at most MOST_MISSED + 1."""
        async with self._asking() as connection:
            rows = await connection.fetch(self._sql(_MISSED), since, list(sent), MOST_MISSED + 1)
        return [_message(row) for row in rows]

    async def now(self) -> datetime:
        """The database's time, as `inserted_at` has it: UTC, without saying so."""
        async with self._asking() as connection:
            found: datetime = await connection.fetchval(_NOW)
        return found

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def as_owner(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the owner. Raises MessagesUnavailable when the database does not answer."""
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await asyncpg.connect(
                    self.owner_dsn,
                    timeout=self._timeout_s,
                    command_timeout=self._timeout_s,
                    server_settings={"application_name": "realtime messages", **QUESTION_SETTINGS},
                )
        except (*DATABASE_TROUBLE, ValueError) as error:
            raise MessagesUnavailable(_brief(error)) from error
        try:
            yield connection
        finally:
            try:
                await connection.close(timeout=self._timeout_s)
            except DATABASE_TROUBLE:
                connection.terminate()

    def _sql(self, text: str) -> str:
        columns = _COLUMNS.format(binary=self._binary)
        return text.format(columns=columns, binary=self._binary)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Any]:
        try:
            async with asyncio.timeout(self._timeout_s):
                pool = await self._pool.open()
                async with pool.acquire() as connection:
                    yield connection
        except DATABASE_TROUBLE as error:
            raise MessagesUnavailable(_brief(error)) from error


def _message(row: Any) -> StoredMessage:
    binary = row["binary_payload"]
    return StoredMessage(
        id=row["id"],
        topic=row["topic"],
        event=row["event"],
        private=row["private"],
        payload=binary if binary is not None else (row["payload"] or "null").encode(),
        is_json=binary is None,
        inserted_at=row["inserted_at"],
    )


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
