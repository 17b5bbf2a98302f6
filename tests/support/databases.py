"""Databases for tests: each kind is built once as a template, then cloned in milliseconds."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import quote

import asyncpg

from toolkit.migrate import migrate_status, migrate_up
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.scratch.platform import prepare_platform
from toolkit.postgres.cluster import MIGRATOR, PostgresCluster
from toolkit.resources import migrations_dir

Kind = Literal["empty", "bare", "legacy", "migrated"]

_COPY = "strategy file_copy"  # without fsync half the work of a copy through the WAL
_TABLES = "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'public'"
# Whoever changes the schema of a shared database makes this another number.
_SCHEMA = """
select hashtextextended(string_agg(line, ' ' order by line), 0) from (
  select c.relname || c.relrowsecurity || a.attname || a.atttypid || a.attnotnull
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'public'::regnamespace and a.attnum > 0
  union all select relname from pg_class where relnamespace = 'public'::regnamespace
  union all select proname || prosrc from pg_proc where pronamespace = 'public'::regnamespace
  union all select tgname || tgenabled::text from pg_trigger
  union all select conname from pg_constraint
  union all select polname || polrelid from pg_policy
) of (line)
"""
_END_OTHERS = """
select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
  and backend_type <> 'autovacuum worker'  -- ends by itself, and only a superuser may end it
"""


def as_superuser(dsn: str) -> str:
    """The address for what no role may that runs migrations: other people's objects, the whole server."""
    looks = quote('-c search_path="$user",public,extensions')  # as the others do
    return dsn.replace(f"//{MIGRATOR}@", "//supabase_admin@") + f"&options={looks}"


class Databases:
    """Template databases of one cluster."""

    def __init__(self, cluster: PostgresCluster) -> None:
        self.cluster = cluster
        self._built: set[Kind] = set()
        self._numbers = itertools.count(1)
        self._lock = asyncio.Lock()
        self._shared: tuple[list[str], int] | None = None  # the tables and the schema of the database that is emptied

    @asynccontextmanager
    async def clone(self, kind: Kind) -> AsyncIterator[str]:
        """DSN of a fresh copy of `kind`, dropped afterwards."""
        name = f"{kind}_{next(self._numbers)}"
        async with self._lock:
            await self._build(kind)
            await self._admin(f'create database "{name}" template "t_{kind}" owner {MIGRATOR} {_COPY}')
        try:
            yield self.cluster.dsn(name)
        finally:
            await self._drop(name)

    @asynccontextmanager
    async def emptied(self) -> AsyncIterator[str]:
        """DSN of a migrated database without rows, the same each time: for tests that leave its schema alone.

        Emptying takes a fraction of the time of a copy. Raises AssertionError afterwards when the schema has changed.
        """
        async with self._lock:
            await self._build("migrated")
            if self._shared is None:
                await self._admin(f'create database "shared" template "t_migrated" owner {MIGRATOR} {_COPY}')
                async with self._connection("shared") as conn:
                    self._shared = await _without_rows(conn), await conn.fetchval(_SCHEMA)
        tables, schema = self._shared
        async with self._connection("shared") as conn:
            await conn.execute(_END_OTHERS)
            await conn.execute("set session_replication_role = replica")  # no triggers: rows go in any order
            await conn.execute(";".join(f"delete from {table}" for table in tables))
        yield self.cluster.dsn("shared")
        async with self._connection("shared") as conn:
            if await conn.fetchval(_SCHEMA) != schema:
                await conn.execute(_END_OTHERS)
                self._shared = None
        if self._shared is None:
            await self._drop("shared")
            raise AssertionError("the test has changed the schema of the database that tests share: use `migrated_db`")

    @asynccontextmanager
    async def _connection(self, name: str) -> AsyncIterator[asyncpg.Connection]:
        conn = await asyncpg.connect(self.cluster.dsn(name), timeout=10)
        try:
            yield conn
        finally:
            await conn.close(timeout=5)

    async def _build(self, kind: Kind) -> None:
        if kind in self._built:
            return
        await self._admin(f'create database "t_{kind}" owner {MIGRATOR}')
        if kind != "empty":
            conn = await asyncpg.connect(self.cluster.admin_dsn(f"t_{kind}"), timeout=10)
            try:
                await prepare_platform(conn)
            finally:
                await conn.close(timeout=5)
        if kind not in {"empty", "bare"}:
            folder = read_folder(migrations_dir())
            first = (await migrate_status(self.cluster.dsn(f"t_{kind}"), folder)).versions[0].version
            result = await migrate_up(self.cluster.dsn(f"t_{kind}"), folder, to=first if kind == "legacy" else None)
            assert result.ok, result
        self._built.add(kind)

    async def _drop(self, name: str) -> None:
        # A replication slot pins its database; a stream that was just closed frees it a moment later.
        for _ in range(100):
            try:
                await self._admin(f'drop database if exists "{name}" with (force)')
                return
            except asyncpg.ObjectInUseError:
                await asyncio.sleep(0.05)
        raise AssertionError(f"database {name} is still in use: a replication stream was not closed")

    async def _admin(self, statement: str) -> None:
        conn = await asyncpg.connect(self.cluster.admin_dsn(), timeout=10)
        try:
            await conn.execute(statement, timeout=30)
        finally:
            await conn.close(timeout=5)


async def _without_rows(conn: asyncpg.Connection) -> list[str]:
    """The tables without rows: what migrations have filled stays filled."""
    names = [row["name"] for row in await conn.fetch(_TABLES)]
    return [name for name in names if not await conn.fetchval(f"select exists (select from {name})")]
