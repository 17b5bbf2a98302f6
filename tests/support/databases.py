"""Databases for tests: each kind is built once as a template, then cloned in milliseconds."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import asyncpg

from toolkit.migrate import migrate_status, migrate_up
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.scratch.platform import BOOTSTRAP
from toolkit.postgres.cluster import PostgresCluster
from toolkit.resources import migrations_dir

Kind = Literal["bare", "legacy", "migrated"]


class Databases:
    """Template databases of one cluster."""

    def __init__(self, cluster: PostgresCluster) -> None:
        self.cluster = cluster
        self._built: set[Kind] = set()
        self._numbers = itertools.count(1)
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def clone(self, kind: Kind) -> AsyncIterator[str]:
        """DSN of a fresh copy of `kind`, dropped afterwards."""
        name = f"{kind}_{next(self._numbers)}"
        async with self._lock:
            await self._build(kind)
            await self._admin(f'create database "{name}" template "t_{kind}"')
        try:
            yield self.cluster.dsn(name)
        finally:
            await self._drop(name)

    async def _build(self, kind: Kind) -> None:
        if kind in self._built:
            return
        await self._admin(f'create database "t_{kind}"')
        conn = await asyncpg.connect(self.cluster.dsn(f"t_{kind}"), timeout=10)
        try:
            await conn.execute(BOOTSTRAP.read_text())
        finally:
            await conn.close(timeout=5)
        if kind != "bare":
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
        conn = await asyncpg.connect(self.cluster.dsn(), timeout=10)
        try:
            await conn.execute(statement, timeout=30)
        finally:
            await conn.close(timeout=5)
