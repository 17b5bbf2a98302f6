"""Where work on scratch databases starts, and on which server they are made: as the user says, for every command."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.migrate.folder.files import Folder
from toolkit.migrate.folder.project_mode import ProjectMode, mode_of_folder
from toolkit.migrate.scratch.databases import Scratch, embedded_scratch, scratch_on
from toolkit.migrate.scratch.needs import created_by, extensions_of
from toolkit.migrate.scratch.start import Start, empty_project, from_database, from_schema, read_sql
from toolkit.postgres.connection import connected, redact
from toolkit.postgres.servers import version_for, wheel_bin_dir
from toolkit.sql import scratch as sql


@dataclass(frozen=True)
class Wanted:
    """Which extensions a server should have, the major version that it should be like, if any, and the kind of an empty
    project on it."""

    extensions: frozenset[str] = frozenset()
    like: int | None = None
    mode: ProjectMode = "old"

    @property
    def version(self) -> int:
        """The embedded version that suits best."""
        return version_for(self.extensions, self.like)


@dataclass(frozen=True)
class Origin:
    """An empty project on the embedded Postgres, unless something else is named.

    `schema` is a dump and `database` an address, of which one at most is given. `postgres` is an embedded version or a
    folder with initdb, `scratch_url` the address of a server of the user's. `mode` is what an empty project is made in;
    where it is None, what the folder tells.
    """

    schema: Path | None = None
    database: str | None = None
    postgres: str | None = None
    scratch_url: str | None = None
    mode: ProjectMode | None = None

    @property
    def from_empty(self) -> bool:
        """Whether it starts from an empty project."""
        return self.schema is None and self.database is None

    async def wanted(self, folder: Folder) -> Wanted:
        """What the server needs for a folder's files and this start. Raises what `start` does."""
        extensions, like = set(extensions_of(folder)), None
        if self.schema is not None:
            extensions |= created_by(await asyncio.to_thread(read_sql, self.schema))
        if self.database is not None:
            async with connected(self.database, "toolkit migrate prove") as conn:
                extensions |= {row["name"] for row in await conn.fetch(sql.EXTENSIONS, timeout=30)}
                like = conn.get_server_version().major
        return Wanted(frozenset(extensions), like, self.mode or mode_of_folder(folder.path) or "old")

    def server(self, wanted: Wanted) -> AbstractAsyncContextManager[Scratch]:
        """The server for scratch databases; the embedded one that suits best where none is named.

        Raises UsageError when `postgres` names none.
        """
        if self.scratch_url is not None:
            return scratch_on(self.scratch_url)
        return embedded_scratch(self._bin_dir(wanted))

    def embedded_bin_dir(self, wanted: Wanted) -> Path | None:
        """The programs of the server of our own on which an empty project is made; None where it is another start or
        somebody's server. Raises UsageError as `server` does."""
        return self._bin_dir(wanted) if self.from_empty and self.scratch_url is None else None

    def server_named(self, wanted: Wanted) -> str:
        """Which server the scratch databases are made on, for people."""
        if self.scratch_url is not None:
            return redact(self.scratch_url)
        if self.postgres is not None and not self.postgres.isdecimal():
            return self.postgres
        return f"the embedded {self.postgres or wanted.version}"

    def _bin_dir(self, wanted: Wanted) -> Path:
        if self.postgres is None:
            return wheel_bin_dir(wanted.version)
        if self.postgres.isdecimal():
            return wheel_bin_dir(int(self.postgres))
        bin_dir = Path(self.postgres)
        if not (bin_dir / "initdb").exists():
            raise UsageError(
                f"{bin_dir} holds no initdb.",
                "Give the bin folder of a Postgres installation, or the number of an embedded version.",
            )
        return bin_dir

    async def start(self, scratch: Scratch, mode: ProjectMode) -> Start:
        """The scratch database that stands for the start. Raises UsageError, RefusalError and EnvironmentError_ where
        it cannot be made of what is named."""
        if self.schema is not None:
            return await from_schema(scratch, await asyncio.to_thread(read_sql, self.schema), self.schema.name, mode)
        if self.database is not None:
            return await from_database(scratch, self.database)
        return await empty_project(scratch, mode)
