"""Looking at a plain Postgres and preparing it: what is missing, shown, then made in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from toolkit.errors import EnvironmentError_, RefusalError
from toolkit.migrate.bootstrap.parts import Part, parts
from toolkit.migrate.folder.project_mode import ProjectMode
from toolkit.migrate.scratch.platform import is_prepared
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import bootstrap as sql

_DEADLINE_S = 30


@dataclass(frozen=True)
class Server:
    """What only the server's administrator can change."""

    wal_level: str
    may_replicate: bool
    free_slots: int


@dataclass(frozen=True)
class Found:
    """`missing` and `there` are the parts, in the order in which they are made."""

    missing: tuple[Part, ...]
    there: tuple[Part, ...]
    server: Server


async def look(dsn: str, mode: ProjectMode = "old") -> Found:
    """What is there and what is not; nothing is changed. Raises RefusalError for a Supabase project."""
    async with connected(dsn, "toolkit bootstrap") as conn:
        return await _look(conn, mode)


async def prepare(dsn: str, mode: ProjectMode = "old") -> Found:
    """Make what is missing, all of it or nothing, and look again.

    Raises RefusalError for a Supabase project, EnvironmentError_ when the role may not.
    """
    async with connected(dsn, "toolkit bootstrap") as conn:
        async with conn.transaction():
            await conn.execute(sql.LOCK, timeout=_DEADLINE_S)
            for part in (await _look(conn, mode)).missing:
                try:
                    await conn.execute(part.statement, timeout=_DEADLINE_S)
                except asyncpg.InsufficientPrivilegeError as error:
                    first_line = part.statement.splitlines()[0]
                    raise EnvironmentError_(
                        f"Nothing was changed: the role that connects may not run `{first_line}`: {error}.",
                        "Connect as a superuser. From Postgres 16 on, a role with CREATEROLE and BYPASSRLS that owns "
                        "the database may do it too; give it REPLICATION for Realtime.",
                    ) from error
        return await _look(conn, mode)


async def _look(conn: Connection, mode: ProjectMode) -> Found:
    if not await is_prepared(conn) and await conn.fetchval(sql.IS_SUPABASE, timeout=_DEADLINE_S):
        raise RefusalError(
            "This is a Supabase project: it contains what the generation system needs, and its roles and its schema "
            "auth are not ours to change.",
            "Go on with `toolkit migrate plan`.",
        )
    there = {part.id for part in parts(mode) if await conn.fetchval(part.question, timeout=_DEADLINE_S)}
    server = await conn.fetchrow(sql.SERVER, timeout=_DEADLINE_S)
    assert server is not None
    return Found(
        tuple(part for part in parts(mode) if part.id not in there),
        tuple(part for part in parts(mode) if part.id in there),
        Server(server["wal_level"], server["may_replicate"], server["free_slots"]),
    )
