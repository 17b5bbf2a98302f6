"""Follows one publication through a temporary replication slot, as Realtime does."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from toolkit.migrate.prove.delivery.wal import Arrival, WalDecoder
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import prove_delivery as sql

POLL_S = 0.02
# Making a slot waits for every transaction that is open; a reading decodes whatever the migration wrote.
_SLOT_DEADLINE_S = 60
_READ_DEADLINE_S = 300


class WalReader:
    """The transactions of a publication, in order. `broken`: Postgres' message when nothing more can arrive, else
    ""."""

    def __init__(self, conn: Connection, slot: str, publication: str) -> None:
        self.publication = publication
        self.arrivals: list[Arrival] = []
        self.broken = ""
        self._conn, self._slot, self._text = conn, slot, WalDecoder()
        self._turn = asyncio.Lock()

    async def read(self) -> None:
        """Read everything that has committed by now; does nothing after the stream has ended."""
        async with self._turn:
            if self.broken:
                return
            try:
                rows = await self._conn.fetch(
                    sql.READ_CHANGES, self._slot, _quoted(self.publication), timeout=_READ_DEADLINE_S
                )
            except (asyncpg.UndefinedObjectError, asyncpg.ObjectNotInPrerequisiteStateError) as error:
                # The publication did not exist when a change committed, so decoding fails here each time it is tried.
                self.broken = str(error)
                return
            for row in rows:
                transaction = self._text.feed(row["data"])
                if transaction is not None:
                    self.arrivals.append(Arrival(transaction, max(0.0, row["at"] - transaction.committed_at)))

    async def follow(self) -> None:
        """Read again and again, until cancelled."""
        while True:
            await self.read()
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def reading(dsn: str, publication: str) -> AsyncIterator[WalReader]:
    """A reader that follows a publication from now on, for the length of the block.

    The slot is temporary: it goes with its session, whatever happens to us. Raises asyncpg errors when the server
    makes none.
    """
    async with connected(dsn, "toolkit migrate prove: reading changes") as conn:
        slot = f"toolkit_prove_{secrets.token_hex(6)}"
        await conn.execute(sql.READ_AS_TEXT, timeout=10)
        await conn.fetchval(sql.CREATE_SLOT, slot, "pgoutput", timeout=_SLOT_DEADLINE_S)
        reader = WalReader(conn, slot, publication)
        following = asyncio.create_task(reader.follow(), name=f"changes of {publication}")
        try:
            yield reader
            if following.done():
                following.result()
        finally:
            following.cancel()
            await asyncio.wait({following})


def _quoted(name: str) -> str:
    """A name in the list of names that pgoutput reads."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
