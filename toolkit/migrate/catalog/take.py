"""Reads a catalog: its facts, where its sequences stand, and what exists that no fact stands for."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from toolkit.errors import EnvironmentError_
from toolkit.migrate.catalog.facts import Snapshot, Unmodelled, canonical
from toolkit.migrate.catalog.memory import CatalogMemory
from toolkit.postgres.connection import Connection
from toolkit.sql import catalog as sql

# What a snapshot does not see, said aloud so that "equal" is not read as more than it is.
NOT_MODELLED: tuple[str, ...] = (
    "rows of tables (compare them with toolkit.migrate.catalog.row_digests); positions of sequences are kept "
    "apart from the facts",
    "roles, their memberships and their settings outside this database: they belong to the cluster",
    "server settings, tablespaces, replication origins and slots, privileges on server parameters",
    "large objects, connection strings of subscriptions",
    "members of extensions: the extension's name, version and schema stand for them, and privileges that were changed",
    "values of settings and options that are named like secrets: sixteen bits of their digest stand for them",
    "planner statistics, whether materialized views are filled, physical layout, OIDs, holes left by dropped columns",
    "schema supabase_migrations: the history itself",
)
_OLDEST = 15
_QUERY_DEADLINE_S = 60
_ATTEMPTS = 3
_SEQUENCES_A_QUERY = 200
# What functions that render the catalog say of an object that somebody drops meanwhile.
_VANISHED = (
    asyncpg.InternalServerError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedObjectError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
)


async def take_snapshot(
    conn: Connection, *, complete: bool = False, left_out: Sequence[str] = (), memory: CatalogMemory | None = None
) -> Snapshot:
    """Read the whole catalog at one moment, inside the caller's transaction if there is one.

    `complete` also reads positions and unmodelled objects. Schemas `left_out` are treated as if they did not exist.
    With a `memory` of this server's catalogs, one that was read before is recognised instead of read again.
    Changes nothing: settings it needs are local to a savepoint or transaction that is rolled back. Raises
    EnvironmentError_ for a server older than Postgres 15, whose catalog lacks what we read, for a role that may not
    read it, and when the catalog changes faster than it can be read.
    """
    major = conn.get_server_version().major
    if major < _OLDEST:
        raise EnvironmentError_(
            f"The server is Postgres {major}; catalog snapshots need {_OLDEST} or later.",
            "Upgrade the database.",
        )
    attempts = 1 if conn.is_in_transaction() else _ATTEMPTS
    for attempt in range(1, attempts + 1):
        try:
            return await _take(conn, major, complete, tuple(left_out), None if complete else memory)
        except asyncpg.InsufficientPrivilegeError as error:
            raise EnvironmentError_(
                f"The role may not read what a catalog query needs: {error}.",
                "Connect as the owner of the database (on Supabase: postgres).",
            ) from error
        except _VANISHED as error:
            if attempt == attempts:
                raise EnvironmentError_(
                    f"The catalog changed while it was read ({error}).",
                    "Take the snapshot again when no other session changes the schema.",
                ) from error
    raise AssertionError("the last attempt returns or raises")


async def _take(
    conn: Connection, major: int, complete: bool, left_out: tuple[str, ...], memory: CatalogMemory | None
) -> Snapshot:
    facts: dict[str, str] = {}
    covered: set[tuple[str, int]] = set()
    async with reading(conn):
        fingerprint = await memory.fingerprint(conn) if memory is not None else ""
        if memory is not None and (known := memory.find(fingerprint, left_out)) is not None:
            return known
        for query in sql.queries(left_out):
            for key, fact, *oid in await conn.fetch(query.text, timeout=_QUERY_DEADLINE_S):
                assert key is not None, f"catalog query {query.name} returned an unnamed fact: {fact}"
                assert key not in facts, f"catalog query {query.name}: two facts are called {key}"
                facts[key] = canonical(json.loads(fact))
                if query.catalog is not None:
                    covered.add((query.catalog, oid[0]))
        if not complete:
            found = Snapshot(facts, major=major)
            if memory is not None:
                memory.keep(fingerprint, left_out, found)
            return found
        census = sql.census(left_out)
        return Snapshot(facts, await _positions(conn, census), await _unmodelled(conn, census, covered), major)


async def _positions(conn: Connection, census: dict[str, str]) -> dict[str, str]:
    listed = await conn.fetch(census["sequences"], timeout=_QUERY_DEADLINE_S)
    found = {f"sequence {row['name']}": canonical("not readable") for row in listed if not row["readable"]}
    readable = [row["name"] for row in listed if row["readable"]]
    for start in range(0, len(readable), _SEQUENCES_A_QUERY):
        query = sql.positions(readable[start : start + _SEQUENCES_A_QUERY])
        for name, last, called in await conn.fetch(query, timeout=_QUERY_DEADLINE_S):
            found[f"sequence {name}"] = canonical({"last": last, "called": called})
    return found


async def _unmodelled(
    conn: Connection, census: dict[str, str], covered: set[tuple[str, int]]
) -> tuple[Unmodelled, ...]:
    """Every object of the catalog minus those that facts stand for, by kind."""
    there = {(row["catalog"], row["oid"]) for row in await conn.fetch(census["objects"], timeout=_QUERY_DEADLINE_S)}
    missing = sorted(there - covered)
    named = await conn.fetch(
        census["identify"], [name for name, _ in missing], [oid for _, oid in missing], timeout=_QUERY_DEADLINE_S
    )
    names: defaultdict[str, list[str]] = defaultdict(list)
    for kind, identity in [*named, *await conn.fetch(census["extension_members"], timeout=_QUERY_DEADLINE_S)]:
        names[kind].append(identity)
    found = [Unmodelled(kind, len(listed), tuple(sorted(listed))) for kind, listed in names.items()]
    for name, has_oid in await conn.fetch(census["catalogs"], timeout=_QUERY_DEADLINE_S):
        if name not in sql.CATALOGS:  # of a Postgres that is newer than this list
            count = sql.USER_ROWS_OF_CATALOG if has_oid else sql.ROWS_OF_CATALOG
            if rows := await conn.fetchval(count.format(name=name), timeout=_QUERY_DEADLINE_S):
                found.append(Unmodelled(f"row of {name}", rows, ()))
    return tuple(sorted(found, key=lambda unmodelled: unmodelled.kind))


@asynccontextmanager
async def reading(conn: Connection) -> AsyncIterator[None]:
    """One moment of the database, rendered the same way whatever the session's settings are; leaves no trace.

    Inside the caller's transaction a savepoint, otherwise a read-only transaction.
    """
    nested = conn.is_in_transaction()
    transaction = conn.transaction() if nested else conn.transaction(isolation="repeatable_read", readonly=True)
    await transaction.start()
    try:
        await conn.execute(sql.PIN_RENDERING, timeout=10)
        yield
    finally:
        if not conn.is_closed():
            await transaction.rollback()
