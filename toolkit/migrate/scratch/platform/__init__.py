"""What a Supabase project owns itself, beside what its users make: in SQL, and put into a bare database.

One file a schema, applied in the order of `_FILES`; each can be run again over what it made. Where a hosted project
differs, the head of the file says in what.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from toolkit.migrate.folder.project_mode import ProjectMode
from toolkit.postgres.connection import Connection
from toolkit.sql import scratch as sql
from toolkit.sql.quoting import quote_literal

PLATFORM_VERSION = 3
"""Goes up whenever a file of this folder makes another database than before."""

_HERE = Path(__file__).parent
_FILES = (
    "roles",
    "own_server",
    "schemas",
    "extensions",
    "claims",
    "auth",
    "storage",
    "realtime",
    "graphql",
    "publication",
    "default_privileges",
    "messages_partitions",
    "owners",
)
_DEADLINE_S = 120
_MARK = "Stands for a Supabase project: platform"


async def prepare_platform(conn: Connection, *, mode: ProjectMode = "old") -> bool:
    """Make of a bare database what a new hosted project contains; whether anything was to do.

    A database that this version has prepared, in whichever mode, is left alone, but for today's partitions. Raises
    asyncpg.PostgresError when the role may not do it: making roles takes a superuser, unless all of them exist.
    """
    # Prepared once; afterwards it is the migrations' to change, and preparing anew would undo that.
    mark = f"{_MARK} {PLATFORM_VERSION}"
    if await conn.fetchval(sql.PLATFORM_MARK, timeout=_DEADLINE_S) == mark:
        await make_partitions(conn)
        return False
    async with conn.transaction():
        migrator = await conn.fetchval(sql.MIGRATOR, timeout=_DEADLINE_S)
        for text in (*platform_sql(mode, migrator), sql.MARK_PLATFORM.format(mark=quote_literal(mark))):
            await conn.execute(text, timeout=_DEADLINE_S)
    return True


async def make_partitions(conn: Connection) -> None:
    """The partitions of `realtime.messages` for the days around today, in a database that was prepared another day."""
    await conn.execute(part_sql("messages_partitions"), timeout=_DEADLINE_S)


async def is_prepared(conn: Connection) -> bool:
    """Whether the database stands for a Supabase project, made by us of whichever version."""
    return str(await conn.fetchval(sql.PLATFORM_MARK, timeout=_DEADLINE_S) or "").startswith(_MARK)


@cache
def part_sql(name: str, migrator: str = "current_user") -> str:
    """One of the files. `migrator` is the role that runs migrations, as SQL."""
    return (_HERE / f"{name}.sql").read_text().replace(":migrator", migrator)


async def mode_of_database(conn: Connection) -> ProjectMode | None:
    """By what a new table of `public` grants that the role which runs migrations makes; None where nothing says so."""
    found: ProjectMode | None = await conn.fetchval(sql.PROJECT_MODE, timeout=_DEADLINE_S)
    return found


async def prepare_roles(conn: Connection) -> None:
    """The roles alone, and on a server of ours what `postgres` is a member of."""
    for name in ("roles", "own_server"):
        await conn.execute(part_sql(name), timeout=_DEADLINE_S)


async def prepare_owners(conn: Connection) -> None:
    """What keeps `postgres` from what the platform owns, in a database that was made of another one's dump."""
    migrator = await conn.fetchval(sql.MIGRATOR, timeout=_DEADLINE_S)
    await conn.execute(part_sql("owners", migrator), timeout=_DEADLINE_S)


@cache
def platform_sql(mode: ProjectMode = "old", migrator: str = "current_user") -> tuple[str, ...]:
    """The files in their order; to run in one session."""
    return tuple(part_sql(name, migrator) for name in (*_FILES, f"exposed_{mode}"))
