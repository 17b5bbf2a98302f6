"""Databases to prove things on: made, copied and dropped on a server where nothing of value lives."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from toolkit.errors import EnvironmentError_
from toolkit.postgres.cluster import MIGRATOR
from toolkit.postgres.connection import connected, redact
from toolkit.postgres.lifetime import throwaway_cluster
from toolkit.sql import scratch as sql

_DEADLINE_S = 120
_MOST_TRIES = 100


class Scratch:
    """A server's scratch databases. Their names begin with `toolkit_prove_`; no other database is touched.

    `admin_dsn` leads to a role that may make databases. On a server of ours that is the superuser, and migrations run
    as `migrator`, as on a hosted project; "" where they run as the same role. `throwaway`: nothing else is on the
    server, and nothing of it needs to outlast a crash.
    """

    def __init__(self, admin_dsn: str, migrator: str = "", *, throwaway: bool = False) -> None:
        self.admin_dsn = admin_dsn
        self.migrator = migrator
        # Copying files takes two checkpoints: cheap where nothing waits for a disk, and unkind to others elsewhere.
        self._strategy = "file_copy" if throwaway else "wal_log"
        self._prefix = f"toolkit_prove_{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._made: set[str] = set()

    def dsn(self, name: str) -> str:
        """The address of a database on the scratch server, for what a migration may do."""
        parts = urlsplit(self.admin(name))
        netloc = f"{self.migrator}@{parts.netloc.rpartition('@')[2]}" if self.migrator else parts.netloc
        return urlunsplit(parts._replace(netloc=netloc))

    def admin(self, name: str) -> str:
        """The same, for what only the server's owner may do: roles, the platform's own objects."""
        return urlunsplit(urlsplit(self.admin_dsn)._replace(path=f"/{name}"))

    def admin_of(self, dsn: str) -> str:
        """`admin` of the database to which an address of `dsn` leads."""
        return self.admin(urlsplit(dsn).path.lstrip("/"))

    async def migrate_as_superuser(self) -> None:
        """For an original whose migrations a superuser runs: what that one may must not fail here."""
        if self.migrator:
            await self._admin(sql.MAKE_SUPERUSER.format(role=self.migrator))

    async def create(self, template: str = "template1") -> str:
        """A new database, a copy of `template` (to which nobody may be connected); returns its name.

        Raises EnvironmentError_ when the server refuses.
        """
        name = f"{self._prefix}_{next(self._numbers)}"
        self._made.add(name)
        for attempt in itertools.count(1):
            try:
                owner = self.migrator or "default"
                await self._admin(sql.CREATE.format(name=name, template=template, owner=owner, strategy=self._strategy))
            except asyncpg.ObjectInUseError as error:
                # Whoever was connected to the template a moment ago is still going.
                if attempt == _MOST_TRIES:
                    raise EnvironmentError_(
                        f"Somebody is connected to {template} on {redact(self.admin_dsn)}, so it cannot be copied.",
                        "End that session.",
                    ) from error
                await asyncio.sleep(0.05)
            except asyncpg.PostgresError as error:
                raise EnvironmentError_(
                    f"{redact(self.admin_dsn)} makes no scratch database: {error}",
                    "Give a server whose role may create databases, or leave --scratch-url out: the embedded one is "
                    "used then.",
                ) from error
            else:
                return name
        raise AssertionError("unreachable")

    async def drop(self, name: str) -> None:
        """Drop a database; sessions in it end. A replication slot that was just left frees it a moment later."""
        for attempt in itertools.count(1):
            try:
                await self._admin(sql.DROP.format(name=name))
            except asyncpg.ObjectInUseError:
                if attempt == _MOST_TRIES:
                    raise
                await asyncio.sleep(0.05)
            else:
                self._made.discard(name)
                return

    async def drop_all(self) -> None:
        """Drop every database of ours that is left."""
        for name in sorted(self._made):
            await self.drop(name)

    async def _admin(self, statement: str) -> None:
        async with connected(self.admin_dsn, "toolkit migrate prove") as conn:
            await conn.execute(statement, timeout=_DEADLINE_S)


@asynccontextmanager
async def scratch_on(admin_dsn: str, migrator: str = "", *, throwaway: bool = False) -> AsyncIterator[Scratch]:
    """Scratch databases on a server that is there; all of them are dropped when the block ends."""
    scratch = Scratch(admin_dsn, migrator, throwaway=throwaway)
    try:
        yield scratch
    finally:
        await asyncio.shield(scratch.drop_all())


@asynccontextmanager
async def embedded_scratch(bin_dir: Path, fill: Callable[[Path], None] | None = None) -> AsyncIterator[Scratch]:
    """Scratch databases on a cluster of our own, made for the block and removed with it; `fill`: see
    `throwaway_cluster`."""
    async with throwaway_cluster(bin_dir, fill) as cluster:
        yield Scratch(cluster.admin_dsn(), MIGRATOR, throwaway=True)
