"""The database's catalog as facts keyed by names, so that two states can be compared and their difference read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import asyncpg

from toolkit.errors import EnvironmentError_
from toolkit.migrate.ledger import Connection
from toolkit.sql import catalog as sql

# What a snapshot does not see, said aloud so that "equal" is not read as more than it is.
NOT_MODELLED: tuple[str, ...] = (
    "rows of tables and the positions of sequences (compare them with toolkit.migrate.digests)",
    "roles, their memberships and their settings outside this database: they belong to the cluster",
    "server settings, tablespaces, subscriptions, large objects, replication slots",
    "operators, operator classes, casts, collations, conversions, text search, languages, foreign servers, "
    "transforms: existence only",
    "members of extensions: the extension's name, version and schema stand for them",
    "planner statistics, physical layout, OIDs, holes left by dropped columns",
    "schema supabase_migrations: the history itself",
)
_OLDEST = 15
_QUERY_DEADLINE_S = 60


@dataclass(frozen=True)
class Difference:
    """One fact that two snapshots disagree about; `before`/`after` are its values (None: absent)."""

    kind: Literal["added", "removed", "changed"]
    key: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.kind != "changed":
            return f"{self.kind}: {self.key}"
        assert self.before is not None
        assert self.after is not None
        return f"changed: {self.key}: {_what_changed(self.before, self.after)}"


@dataclass(frozen=True)
class Snapshot:
    """Key (`column public.t.c`) → canonical JSON of what is known of it."""

    facts: Mapping[str, str]

    def digest(self) -> str:
        """SHA-256 over all facts: equal digests, equal catalogs (as far as they are modelled)."""
        hashed = hashlib.sha256()
        for key in sorted(self.facts):
            hashed.update(f"{key}\0{self.facts[key]}\0".encode())
        return hashed.hexdigest()


def diff(before: Snapshot, after: Snapshot) -> tuple[Difference, ...]:
    """What differs, sorted by key."""
    found = []
    for key in sorted(before.facts.keys() | after.facts.keys()):
        old, new = before.facts.get(key), after.facts.get(key)
        if old != new:
            kind: Literal["added", "removed", "changed"] = (
                "added" if old is None else "removed" if new is None else "changed"
            )
            found.append(Difference(kind, key, old, new))
    return tuple(found)


async def take_snapshot(conn: Connection) -> Snapshot:
    """Read the whole catalog at one moment, inside the caller's transaction if there is one.

    Changes nothing: settings it needs are local to a savepoint or transaction that is rolled back. Raises
    EnvironmentError_ for a server older than Postgres 15, whose catalog lacks what we read.
    """
    version = conn.get_server_version()
    if version.major < _OLDEST:
        raise EnvironmentError_(
            f"The server is Postgres {version.major}; catalog snapshots need {_OLDEST} or later.",
            "Upgrade the database.",
        )
    facts: dict[str, str] = {}
    async with reading(conn):
        for name, query in sql.queries().items():
            try:
                rows = await conn.fetch(query, timeout=_QUERY_DEADLINE_S)
            except asyncpg.InsufficientPrivilegeError as error:
                raise EnvironmentError_(
                    f"The role may not read what the catalog query '{name}' needs: {error}.",
                    "Connect as the owner of the database (on Supabase: postgres).",
                ) from error
            for key, fact in rows:
                assert key is not None, f"catalog query {name} returned an unnamed fact: {fact}"
                assert key not in facts, f"catalog query {name}: two facts are called {key}"
                facts[key] = _canonical(json.loads(fact))
    return Snapshot(facts)


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


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _what_changed(before: str, after: str) -> str:
    old, new = json.loads(before), json.loads(after)
    if not isinstance(old, dict) or not isinstance(new, dict):
        return f"{_short(old)} → {_short(new)}"
    changed = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    return "; ".join(f"{name} {_short(old.get(name))} → {_short(new.get(name))}" for name in changed)


def _short(value: Any, limit: int = 160) -> str:
    text = value if isinstance(value, str) else _canonical(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
