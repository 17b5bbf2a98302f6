"""A copy of a database to try things on: beside it with its rows where that is ours to do, else its schema alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from toolkit.migrate.run.history import History, prepare_history
from toolkit.migrate.scratch.databases import embedded_scratch, scratch_on
from toolkit.migrate.scratch.start import from_database
from toolkit.postgres.connection import connected
from toolkit.postgres.servers import version_for, wheel_bin_dir
from toolkit.sql import dry_run as sql
from toolkit.sql import history as history_sql
from toolkit.sql import scratch as scratch_sql

Extent = Literal["copy", "schema copy"]


@dataclass(frozen=True)
class Copy:
    """`dsn` is the copy's own address. `notes` say in what it is not the original."""

    dsn: str
    extent: Extent
    notes: tuple[str, ...] = ()


@asynccontextmanager
async def copied(dsn: str, history: History, *, with_rows: bool) -> AsyncIterator[Copy]:
    """A copy for the length of the block. The original is only read.

    `with_rows`: a database beside it on its own server, as long as nobody is connected to it (a server that copies a
    database refuses otherwise). In every other case its schema, roles and `history`, without rows, on a throw-away
    server of ours. Raises EnvironmentError_ when that server lacks what the schema needs.
    """
    if with_rows:
        async with connected(dsn) as conn:
            name, others = (
                await conn.fetchval(sql.DATABASE, timeout=10),
                await conn.fetchval(sql.OTHER_SESSIONS, timeout=10),
            )
        if not others:
            async with scratch_on(urlunsplit(urlsplit(dsn)._replace(path="/postgres"))) as scratch:
                yield Copy(scratch.dsn(await scratch.create(name)), "copy")
            return
    async with connected(dsn) as conn:
        major = conn.get_server_version().major
        extensions = [row["name"] for row in await conn.fetch(scratch_sql.EXTENSIONS, timeout=30)]
    ours = version_for(extensions, like=major)
    notes = ["The copy has no rows: what depends on them (checks, unique keys, casts, duration) was not seen."]
    if with_rows:
        notes.append("Somebody is connected to the database, so its rows could not be copied; end that to have them.")
    if ours != major:
        notes.append(f"The copy runs on Postgres {ours}, the target on {major}.")
    async with embedded_scratch(wheel_bin_dir(ours)) as scratch:
        start = await from_database(scratch, dsn)
        copy = scratch.dsn(start.template)
        async with connected(copy) as conn:
            await prepare_history(conn)
            for (version, direction), entries in history.journal.items():
                for entry in entries:
                    await conn.execute(
                        history_sql.JOURNAL_STATEMENT,
                        version,
                        direction,
                        entry.index,
                        entry.sha256,
                        entry.state,
                        timeout=30,
                    )
        yield Copy(copy, "schema copy", (*notes, *start.notes))
