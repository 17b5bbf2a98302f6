"""The daily partitions of `realtime.messages`: made some days ahead, and dropped with what is older than is kept."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import asyncpg
import structlog

from reference_server.database_trouble import DATABASE_TROUBLE
from reference_server.realtime.messages.message_table import MessageTable
from reference_server.realtime.protocol.ports import MessagesUnavailable
from reference_server.replication.facts import quote_ident

log = structlog.get_logger(__name__)

# As on Supabase: from yesterday, for clocks that are behind, to three days ahead, for a server that is away.
DAYS: Final = range(-1, 4)
EVERY_S: Final = 3600.0
RETRY_S: Final = 60.0
# Making and dropping a partition waits for those who use the table, and others wait behind it.
LOCK_WAIT: Final = "1s"
ROWS_A_DELETE: Final = 5_000
_NAME = re.compile(r"messages_(\d{4})_(\d\d)_(\d\d)")

_TABLE = """
select c.relkind::text as kind, r.rolname::text as owner,
       array(select k.relname::text from pg_catalog.pg_inherits i
             join pg_catalog.pg_class k on k.oid = i.inhrelid where i.inhparent = c.oid) as partitions
from pg_catalog.pg_class c join pg_catalog.pg_roles r on r.oid = c.relowner
where c.oid = pg_catalog.to_regclass('realtime.messages')
"""
_DELETE = """
delete from realtime.messages where ctid in (
  select ctid from realtime.messages where inserted_at < $1 limit {limit}
) and inserted_at < $1
"""
# One process at a time: the others would wait for its locks.
_TURN = "select pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('realtime messages partitions'))"


@dataclass(frozen=True, slots=True)
class Plan:
    """Days to make partitions for, and partitions to drop by name."""

    make: tuple[date, ...]
    drop: tuple[str, ...]


def plan(partitions: Iterable[str], now: datetime, retention: timedelta) -> Plan:
    """What has to be done at `now` (UTC). Tables that are not named after a day are left alone."""
    existing = {day: name for name in partitions if (day := day_of(name)) is not None}
    wanted = [now.date() + timedelta(days=days) for days in DAYS]
    oldest = now - retention
    return Plan(
        tuple(day for day in wanted if day not in existing),
        tuple(
            name
            for day, name in sorted(existing.items())
            if datetime.combine(day, datetime.min.time()) + timedelta(days=1) <= oldest
        ),
    )


def day_of(name: str) -> date | None:
    """The day of a partition `messages_YYYY_MM_DD`, None for any other table."""
    found = _NAME.fullmatch(name)
    try:
        return None if found is None else date(*map(int, found.groups()))
    except ValueError:
        return None


class Partitions:
    """Keeps the table's partitions, as its owner where that is possible. Otherwise old rows are deleted."""

    def __init__(self, table: MessageTable, *, retention_h: float) -> None:
        self._table = table
        self._retention = timedelta(hours=retention_h)
        self._said = ""

    async def keep(self) -> None:
        """Look every hour; after a failure sooner. Never ends by itself."""
        while True:
            try:
                await self.once(datetime.now(UTC).replace(tzinfo=None))
                wait = EVERY_S
            except (MessagesUnavailable, *DATABASE_TROUBLE) as error:
                self._say("the partitions of realtime.messages could not be kept", str(error) or type(error).__name__)
                wait = RETRY_S
            await asyncio.sleep(wait)

    async def once(self, now: datetime) -> None:
        """Make and drop what is due at `now` (UTC). Raises MessagesUnavailable, or what asyncpg raises."""
        async with self._table.as_owner() as connection:
            found = await connection.fetchrow(_TABLE)
            if found is None:
                return
            await connection.execute(f"set lock_timeout = '{LOCK_WAIT}'")
            if found["kind"] == "p":
                due = plan(found["partitions"], now, self._retention)
                try:
                    await self._carry_out(connection, due, found["owner"])
                except asyncpg.InsufficientPrivilegeError as error:
                    self._say(
                        "the role may not make partitions of realtime.messages, so messages go into its default "
                        "partition, or are lost where it has none",
                        str(error),
                    )
            await self._delete_old(connection, now - self._retention)

    async def _carry_out(self, connection: asyncpg.Connection, due: Plan, owner: str) -> None:
        for day in due.make:
            name = quote_ident(f"messages_{day:%Y_%m_%d}")
            statement = (
                f"create table if not exists realtime.{name} partition of realtime.messages "
                f"for values from ('{day}') to ('{day + timedelta(days=1)}')"
            )
            try:
                async with connection.transaction():
                    if not await connection.fetchval(_TURN):
                        return
                    await connection.execute(statement)
                    await connection.execute(f"alter table realtime.{name} owner to {quote_ident(owner)}")
            except asyncpg.CheckViolationError:  # the default partition holds messages of that day, and keeps them
                continue
        for old in due.drop:
            async with connection.transaction():
                if not await connection.fetchval(_TURN):
                    return
                await connection.execute(f"drop table if exists realtime.{quote_ident(old)}")
        if due.make or due.drop:
            log.info("realtime_messages_partitions", made=len(due.make), dropped=list(due.drop))

    async def _delete_old(self, connection: asyncpg.Connection, before: datetime) -> None:
        """Rows of a default partition, of a table without partitions, or of partitions that may not be dropped."""
        statement = _DELETE.format(limit=ROWS_A_DELETE)
        while int(str(await connection.execute(statement, before)).removeprefix("DELETE ")) == ROWS_A_DELETE:
            pass

    def _say(self, what: str, why: str) -> None:
        if why != self._said:
            log.warning(
                what,
                reason=why,
                remedy="set REALTIME_OWNER_DATABASE_URL to a connection of the role that owns realtime.messages",
            )
            self._said = why
