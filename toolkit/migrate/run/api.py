"""The requests to the runner: one function each, which opens and closes its own connection.

Requests that are understood but not carried out raise MigrationRefused (or another ToolkitError); files that fail
are in the result.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from toolkit.migrate.catalog import Snapshot, take_snapshot
from toolkit.migrate.folder.files import Folder
from toolkit.migrate.run.execute import execute
from toolkit.migrate.run.history import Runner, prepare_history, read_history
from toolkit.migrate.run.locks import runner_lock
from toolkit.migrate.run.plan import Down, Plan, Up, VersionStatus, make_plan, statuses
from toolkit.migrate.run.run_model import OnProgress, Options, Progress, RunnerSession, RunResult
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import history as sql


@dataclass(frozen=True)
class Status:
    """The state of the database compared with the folder. `invalid_indexes`: left by interrupted index builds."""

    versions: tuple[VersionStatus, ...]
    invalid_indexes: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def pending(self) -> tuple[str, ...]:
        """Versions that `up` would apply."""
        return tuple(v.version for v in self.versions if v.state in {"pending", "interrupted"})

    @property
    def troubled(self) -> tuple[str, ...]:
        """Versions because of which `up` would refuse."""
        return tuple(v.version for v in self.versions if v.state in {"edited", "gap", "missing_locally", "refused"})


def _silent(_: Progress) -> None:
    pass


async def migrate_status(dsn: str, folder: Folder) -> Status:
    """Compare folder and history; changes nothing."""
    async with connected(dsn) as conn:
        history = await read_history(conn)
        invalid = tuple(
            f"{row['schema']}.{row['name']} on {row['on_table']}"
            for row in await conn.fetch(sql.INVALID_INDEXES, timeout=30)
        )
    return Status(statuses(folder, history), invalid, folder.notices)


async def migrate_plan(dsn: str, folder: Folder, request: Up | Down) -> Plan:
    """What a request would do; changes nothing. Raises MigrationRefused."""
    async with connected(dsn) as conn:
        return make_plan(folder, await read_history(conn), request)


async def migrate_up(
    dsn: str,
    folder: Folder,
    *,
    to: str | None = None,
    include_all: bool = False,
    options: Options | None = None,
    on_progress: OnProgress | None = None,
) -> RunResult:
    """Apply what is pending, up to version `to`. Raises MigrationRefused; nothing pending is an empty, ok result."""
    return await _run(dsn, folder, Up(to, include_all), options, on_progress)


async def migrate_down(
    dsn: str,
    folder: Folder,
    *,
    to: str | None = None,
    last: int | None = None,
    options: Options | None = None,
    on_progress: OnProgress | None = None,
) -> RunResult:
    """Roll back what came after version `to` (`"0"`: everything) or the `last` n (default 1), newest first.

    Rows that a rollback destroys are exported first, into a new folder below `options.export_dir`.
    """
    return await _run(dsn, folder, Down(to, last), options, on_progress)


async def snapshot(dsn: str) -> Snapshot:
    """The catalog's facts; changes nothing."""
    async with connected(dsn) as conn:
        return await take_snapshot(conn)


async def _run(
    dsn: str, folder: Folder, request: Up | Down, options: Options | None, on_progress: OnProgress | None
) -> RunResult:
    options, tell = options or Options(), on_progress or _silent
    async with locked(dsn, options, tell) as conn:
        plan = make_plan(folder, await read_history(conn), request)
        if plan.steps:
            await prepare_history(conn)
        return await execute(RunnerSession(conn, dsn, Runner.of_this_process(), options, tell), plan)


@asynccontextmanager
async def locked(dsn: str, options: Options, tell: OnProgress) -> AsyncIterator[Connection]:
    """A connection that holds the runner's lock for the length of the block. Raises RefusalError naming who has it."""

    def waiting(message: str) -> None:
        tell(Progress("waiting", "runner", message))

    async with connected(dsn) as conn, runner_lock(conn, options.locks.runner_deadline_s, waiting):
        yield conn
