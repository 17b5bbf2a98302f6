"""The databases of the proofs: the state before each version, with and without rows, cloned for every try."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import asyncpg

from toolkit.errors import ToolkitError
from toolkit.migrate.catalog import CatalogMemory
from toolkit.migrate.folder.files import Folder
from toolkit.migrate.folder.statements import Statement
from toolkit.migrate.rows.seeding import Seeded, seed
from toolkit.migrate.rows.shapes import read_shapes
from toolkit.migrate.run.api import migrate_up
from toolkit.migrate.run.one_statement import run_statement
from toolkit.migrate.run.run_model import Options, RunResult
from toolkit.migrate.scratch.databases import Scratch
from toolkit.migrate.scratch.lacks import Lack, lack_of, stand_ins_used
from toolkit.postgres.connection import connected
from toolkit.sql.history import RESET_ROLE

_SEED_DEADLINE_S = 300


class CannotBuild(ToolkitError):
    """A state that a proof needs cannot be reached, because a migration before it does not apply."""


@dataclass(frozen=True)
class Failed:
    """A version that does not apply to the state before it."""

    version: str
    result: RunResult
    lack: Lack | None = None  # of the server, which then says nothing against the file

    def __str__(self) -> str:
        failure = next((step.failure for step in self.result.steps if step.failure), None)
        return f"version {self.version} does not apply: {failure}"


class States:
    """The states start → after the first version → after the second …, each a template that is built once and then
    cloned.

    `start` names the template that stands for the database as it is before everything. `seed_data` are statements of
    the user's, run on the state before each version; where they do not fit yet (an undefined table), the synthetic
    rows stand alone and `notes` says so. `earlier`: how many versions of the folder `start` has already.
    """

    def __init__(
        self,
        scratch: Scratch,
        start: str,
        folder: Folder,
        versions: Sequence[str],
        *,
        rows_each: int,
        seed_data: Sequence[Statement] = (),
        options: Options | None = None,
        earlier: int = 0,
    ) -> None:
        self.earlier = earlier
        self.scratch = scratch
        self.folder = folder
        self.versions = tuple(versions)
        self.catalogs = CatalogMemory()
        self.options = replace(options or Options(), catalogs=self.catalogs)
        self._rows_each = rows_each
        self._seed_data = tuple(seed_data)
        self.notes: list[str] = []
        self._reached = [start]
        self._failed: Failed | None = None
        self._seeded: dict[str, str] = {}
        self._seedings: dict[str, Seeded] = {}
        self._lock = asyncio.Lock()

    async def before(self, version: str) -> str:
        """The template of the state before `version`: every earlier version applied. Raises CannotBuild."""
        return await self._state(self.versions.index(version))

    async def after(self, version: str) -> str:
        """The template of the state after `version`, without seeded rows. Raises CannotBuild."""
        return await self._state(self.versions.index(version) + 1)

    async def seeded(self, version: str) -> str:
        """The template of the state before `version` with rows in every table that takes some. Raises CannotBuild."""
        template = await self.before(version)
        async with self._lock:
            if version not in self._seeded:
                name = await self.scratch.create(template)
                async with connected(self.scratch.dsn(name), "toolkit migrate prove: seeding") as conn:
                    note = await self._run_seed_data(conn)
                    found = await seed(conn, await read_shapes(conn), self._rows_each)
                self._seedings[version] = Seeded(found.rows, found.refused, (*note, *found.notes))
                self.notes += [f"{version}: {told}" for told in self._seedings[version].notes]
                self._seeded[version] = name
        return self._seeded[version]

    def seeding(self, version: str) -> Seeded:
        """What was seeded; after `seeded` only."""
        return self._seedings[version]

    async def forget(self, version: str) -> None:
        """Drop what only proofs of `version` need: the state before it (the start stays), with and without rows."""
        async with self._lock:
            if (seeded := self._seeded.pop(version, None)) is not None:
                await self.scratch.drop(seeded)
            position = self.versions.index(version)
            if 0 < position < len(self._reached) - 1:  # the next state is made from the last one
                await self.scratch.drop(self._reached[position])

    @asynccontextmanager
    async def clone(self, template: str) -> AsyncIterator[str]:
        """DSN of a fresh copy of a template, dropped afterwards."""
        name = await self.scratch.create(template)
        try:
            yield self.scratch.dsn(name)
        finally:
            await asyncio.shield(self.scratch.drop(name))

    async def failed(self) -> Failed | None:
        """The first version that does not apply, or None: builds every state there is."""
        with suppress(CannotBuild):
            await self._state(len(self.versions))
        return self._failed

    async def lack_at(self, version: str) -> Lack | None:
        """What the server lacks of what this version needs; None where it applies or fails by itself."""
        with suppress(CannotBuild):
            await self.after(version)
        failed = self._failed
        return failed.lack if failed is not None and failed.version == version else None

    async def note_stand_ins(self) -> None:
        """Note every stand-in for an extension that the folder's files lean on: what is said of them rests on it."""
        async with connected(self.scratch.dsn(self._reached[0])) as conn:
            self.notes += await stand_ins_used(conn, self.folder)

    def note_catalogs(self) -> None:
        """Note how often nothing of a catalog had been touched since it was read."""
        if self.catalogs.recognised:
            looks = self.catalogs.recognised + self.catalogs.read
            self.notes.append(
                f"A catalog that no statement touched is not read again: {self.catalogs.recognised} of {looks} looks "
                "found every row of it where it lay before."
            )

    async def _lack(self, name: str, result: RunResult) -> Lack | None:
        failure = next((step.failure for step in result.steps if step.failure), None)
        if failure is None:
            return None
        async with connected(self.scratch.dsn(name)) as conn:
            return await lack_of(conn, failure)

    async def _state(self, position: int) -> str:
        async with self._lock:
            while len(self._reached) <= position:
                if self._failed is not None:
                    lack = self._failed.lack
                    way_out = lack.remedy if lack else "Correct that file; what comes after it was not looked at."
                    raise CannotBuild(str(self._failed), way_out)
                version = self.versions[len(self._reached) - 1]
                name = await self.scratch.create(self._reached[-1])
                result = await migrate_up(
                    self.scratch.dsn(name), self.folder, to=version, include_all=True, options=self.options
                )
                if not result.ok:
                    self._failed = Failed(version, result, await self._lack(name, result))
                    await self.scratch.drop(name)
                    continue
                self._reached.append(name)
        return self._reached[position]

    async def _run_seed_data(self, conn: asyncpg.Connection[asyncpg.Record]) -> tuple[str, ...]:
        if not self._seed_data:
            return ()
        transaction = conn.transaction()
        await transaction.start()
        at = self._seed_data[0]
        try:
            for at in self._seed_data:
                await run_statement(conn, at, _SEED_DEADLINE_S)
            await conn.execute(RESET_ROLE, timeout=10)
        except asyncpg.PostgresError as error:
            await transaction.rollback()
            return (f"the seed data does not fit this state (line {at.line}: {error}); synthetic rows alone",)
        await transaction.commit()
        return ()
