"""What each role sees, writes and calls."""

from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from toolkit.postgres.connection import Connection, connected
from toolkit.probes.probe import QUERY_DEADLINE_S, Undecided, make_process
from toolkit.sql import probes as sql


@dataclass(frozen=True)
class _Reader:
    name: str
    role: str
    claims: str | None  # None: never set in the session
    sees: bool


def _readers(user: str) -> tuple[_Reader, ...]:
    def claims(subject: str | None) -> str:
        return json.dumps({"role": "authenticated"} | ({"sub": subject} if subject else {}))

    return (
        _Reader("anon without claims", "anon", None, sees=False),
        _Reader("anon with empty claims", "anon", "", sees=False),
        _Reader("anon with a token", "anon", '{"role": "anon"}', sees=False),
        _Reader("authenticated without claims", "authenticated", None, sees=False),
        _Reader("authenticated with empty claims", "authenticated", "", sees=False),
        _Reader("authenticated without sub", "authenticated", claims(None), sees=False),
        _Reader("the owner (a text sub, as Clerk's user_2abc)", "authenticated", claims(user), sees=True),
        _Reader("a member of the organisation", "authenticated", claims(f"{user}_member"), sees=True),
        _Reader("the owner of another process", "authenticated", claims(f"{user}_other"), sees=False),
        _Reader("a member of another organisation", "authenticated", claims(f"{user}_other_member"), sees=False),
        _Reader("somebody with a uuid sub", "authenticated", claims(str(UUID(int=7))), sees=False),
        _Reader("service_role", "service_role", '{"role": "service_role"}', sees=True),
    )


async def _staged_process(conn: Connection, user: str) -> UUID:
    """A process with an event, two tasks of which one waits for the other, and an organisation with a member."""
    organization = await conn.fetchval(sql.CREATE_ORGANIZATION, user, timeout=QUERY_DEADLINE_S)
    await conn.execute(sql.ADD_MEMBER, organization, f"{user}_member", timeout=QUERY_DEADLINE_S)
    process = await make_process(conn, user, organization)
    # Not claimable: a worker of the live system would take it.
    async with conn.transaction():
        first = await conn.fetchval(sql.ENQUEUE, process, user, timeout=QUERY_DEADLINE_S)
        await conn.fetchval(sql.ENQUEUE_AFTER, process, user, first, timeout=QUERY_DEADLINE_S)
        await conn.execute(sql.PARK, process, timeout=QUERY_DEADLINE_S)
    return process


async def read_as_each_role(dsn: str, user: str) -> list[str]:
    found: list[str] = []
    async with connected(dsn, "toolkit migrate verify") as conn:
        process = await _staged_process(conn, user)
        # A policy that forgets whose row it asks for shows nothing to somebody without rows, and all to this one.
        await _staged_process(conn, f"{user}_other")
        everything = {table: await conn.fetchval(query, process) for table, query in sql.VISIBLE.items()}
        for table, rows in everything.items():
            if not rows:
                raise Undecided(f"{table} has no row to look at")
    for reader in _readers(user):
        # A session each: a setting that was set once reads as '' and no longer as unset.
        async with connected(dsn, "toolkit migrate verify") as conn:
            for table, query in sql.VISIBLE.items():
                seen = await _as(conn, reader, query, process)
                expected = everything[table] if reader.sees else 0
                if isinstance(seen, str) and not (reader.role == "anon" and seen.endswith("[42501]")):
                    found.append(f"{reader.name} reading {table}: {seen}")
                elif not isinstance(seen, str) and seen != expected:
                    found.append(
                        f"{reader.name} sees {seen} of {everything[table]} rows of {table}, expected {expected}"
                    )
    return found


async def write_as_each_client(dsn: str, user: str) -> list[str]:
    found: list[str] = []
    async with connected(dsn, "toolkit migrate verify") as conn:
        process = await _staged_process(conn, user)
        await _staged_process(conn, f"{user}_other")
        for reader in _readers(user):
            if reader.role == "service_role":
                continue
            for what, statement in sql.WRITES.items():
                outcome = await _as(conn, reader, statement, process, write=True)
                if not isinstance(outcome, str) and outcome:
                    found.append(f"{reader.name} could {what}")
    return found


async def _as(conn: Connection, reader: _Reader, query: str, process: UUID, *, write: bool = False) -> int | str:
    """Rows seen or written as somebody, or the error's text with its SQLSTATE; taken back in any case."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        if reader.claims is not None:
            await conn.execute(sql.CLAIMS, reader.claims, timeout=QUERY_DEADLINE_S)
        await conn.execute(sql.ASSUME, reader.role, timeout=QUERY_DEADLINE_S)
        if write:
            status = await conn.execute(query, process, timeout=QUERY_DEADLINE_S)
            return int(status.split()[-1])
        return int(await conn.fetchval(query, process, timeout=QUERY_DEADLINE_S))
    except asyncpg.PostgresError as error:
        return f"{error} [{error.sqlstate}]"
    finally:
        await transaction.rollback()


async def server_role_works(dsn: str, user: str) -> list[str]:
    """The server writes as service_role: its update of a state row must leave events, and its calls must work."""
    found: list[str] = []
    async with connected(dsn, "toolkit migrate verify") as conn:
        process = await make_process(conn, user)
        async with conn.transaction():
            await conn.execute(sql.ASSUME, "service_role", timeout=QUERY_DEADLINE_S)
            await conn.execute(sql.UPDATE_PROGRESS, process, timeout=QUERY_DEADLINE_S)
            await conn.execute(sql.APPEND, process, "test_event", '{"test": "data"}', timeout=QUERY_DEADLINE_S)
    async with connected(dsn, "toolkit migrate verify") as other:
        rows = await other.fetch(sql.SEQUENCES, process, timeout=QUERY_DEADLINE_S)
        kinds = [row["event_type"] for row in rows]
        if kinds != ["process_created", "progress_updated", "test_event"]:
            found.append(f"expected process_created, progress_updated, test_event; found {', '.join(kinds) or 'none'}")
    return found
