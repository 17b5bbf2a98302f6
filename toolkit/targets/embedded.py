"""The embedded target: Postgres from the wheel and the reference server, as processes on this machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar

import asyncpg

from toolkit.errors import EnvironmentError_
from toolkit.postgres.cluster import MIGRATOR, THROWAWAY_SETTINGS, PostgresCluster
from toolkit.postgres.lifetime import dismiss_guard, start_guard, uninterrupted
from toolkit.postgres.servers import bin_dir_of
from toolkit.resources import migrations_dir
from toolkit.server_process import READY_DEADLINE_S, ServerHandle, server_environment
from toolkit.targets.data_dir import DEFAULT_DATA_DIR, DataDir, RunningTarget
from toolkit.targets.settings import TargetSettings
from toolkit.targets.target import Target

if TYPE_CHECKING:
    from toolkit.migrate.folder.project_mode import ProjectMode

DATABASE = "app"
Schema = Literal["bare", "legacy", "realtime"]
T = TypeVar("T")


class EmbeddedTarget:
    """`async with EmbeddedTarget(folder, schema="realtime") as target:` — everything stops when the block ends.

    `schema`: "bare" (a new Supabase project), "legacy" (the state before the migration) or "realtime" (every
    migration). `postgres_port`: also listen on that loopback TCP port. `throwaway`: faster, and the data
    may be lost when the machine (not a process) crashes. `bin_dir`: on these programs; otherwise on the version that
    made the folder, a new one on the version that has these `extensions`. A new database is that of a
    project of `project_mode`.

    Postgres and the servers also end when this process is killed outright. Raises EnvironmentError_ when another
    process uses the folder or something does not start.
    """

    def __init__(
        self,
        data_dir: Path = DEFAULT_DATA_DIR,
        *,
        schema: Schema = "realtime",
        postgres_port: int | None = None,
        throwaway: bool = False,
        bin_dir: Path | None = None,
        extensions: Iterable[str] = (),
        project_mode: ProjectMode = "old",
        server_command: Sequence[str] = (sys.executable, "-m", "reference_server"),
    ) -> None:
        self.data = DataDir(data_dir)
        self.schema = schema
        self.project_mode: ProjectMode = project_mode
        self.postgres = PostgresCluster(
            self.data.postgres,
            bin_dir=bin_dir or bin_dir_of(self.data.postgres, extensions),
            tcp_port=postgres_port,
            settings=THROWAWAY_SETTINGS if throwaway else {},
        )
        self.servers: dict[str, ServerHandle] = {}
        self.leftovers: list[str] = []
        self._command = tuple(server_command)
        self._guard: subprocess.Popen[bytes] | None = None
        self._target = Target(kind="embedded")

    # -- facts --------------------------------------------------------------------------------

    @property
    def dsn(self) -> str:
        """Connection URL of the database, over the unix socket."""
        return self.postgres.dsn(DATABASE)

    @property
    def target(self) -> Target:
        """The target for clients; its URLs are those of the first server with the API."""
        return self._target

    # -- life cycle ---------------------------------------------------------------------------

    async def __aenter__(self) -> EmbeddedTarget:
        self.data.__enter__()
        try:
            await self._start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the servers, then Postgres, then release the folder; an error in one part does not stop the others."""
        try:
            self.data.withdraw()
            await asyncio.gather(*(server.stop() for server in self.servers.values()), return_exceptions=True)
        finally:
            for server in self.servers.values():
                server.kill()
            try:
                await uninterrupted(self.postgres.stop)
            finally:
                self._dismiss_guard()
                self.data.record_servers({})
                self.data.__exit__(None, None, None)

    async def _start(self) -> None:
        self.leftovers = self.data.end_leftovers()
        if await uninterrupted(lambda: self.postgres.running):
            # We hold the lock, so this Postgres is left over from another run and may listen on another port.
            self.leftovers.append("postgres")
            await uninterrupted(self.postgres.stop)
        await self.start_postgres()
        await self._prepare_database()
        keys = self.data.keys()
        self._target = Target(
            kind="embedded",
            database_url=self.dsn,
            anon_key=keys.anon_key,
            service_role_key=keys.service_role_key,
            jwt_secret=keys.jwt_secret,
        )

    # -- the database's faults ----------------------------------------------------------------

    async def start_postgres(self) -> None:
        """Start Postgres, and a guard for the new process.

        Raises EnvironmentError_ when it does not start.
        """

        def start() -> None:
            self.postgres.start()
            self._dismiss_guard()
            self._guard = start_guard(self.postgres)

        await uninterrupted(start)

    async def crash_postgres(self) -> bool:
        """Shut Postgres down at once, as a crash would; returns whether it is gone."""

        def crash() -> bool:
            self.postgres.stop("immediate")
            gone = not self.postgres.running
            if gone:
                self._dismiss_guard()  # the pid that it would signal may be given to another process
            return gone

        return await uninterrupted(crash)

    async def _prepare_database(self) -> None:
        # Here and below: most commands only look for a target that runs, and start sooner without the migration tools.
        from toolkit.migrate.scratch.platform import prepare_platform

        admin = await asyncpg.connect(self.postgres.admin_dsn(), timeout=10)
        try:
            if not await admin.fetchval("select 1 from pg_database where datname = $1", DATABASE, timeout=10):
                await admin.execute(f'create database "{DATABASE}" owner {MIGRATOR}', timeout=60)
        finally:
            await admin.close(timeout=5)
        conn = await asyncpg.connect(self.postgres.admin_dsn(DATABASE), timeout=10)
        try:
            await prepare_platform(conn, mode=self.project_mode)
        finally:
            await conn.close(timeout=5)
        if self.schema != "bare":
            await self._migrate(self.schema)

    async def _migrate(self, schema: Schema) -> None:
        from toolkit.migrate import migrate_status, migrate_up, read_folder

        folder = read_folder(migrations_dir())
        pending = (await migrate_status(self.dsn, folder)).versions
        if schema == "legacy":
            if any(version.state == "applied" for version in pending):
                return  # a database that is further on is not rolled back unasked
            result = await migrate_up(self.dsn, folder, to=pending[0].version)
        else:
            result = await migrate_up(self.dsn, folder)
        if not result.ok:
            failed = next(step for step in result.steps if step.outcome == "failed")
            raise EnvironmentError_(
                f"Migration {failed.version} could not be applied to the embedded database: {failed.failure}",
                f"See `toolkit migrate status --data {self.data.path}`.",
            )

    # -- servers ------------------------------------------------------------------------------

    async def start_server(
        self,
        name: str,
        *,
        roles: Sequence[str] = ("all",),
        transport: str = "realtime",
        env: Mapping[str, str] | None = None,
        port: int = 0,
        deadline_s: float = READY_DEADLINE_S,
    ) -> ServerHandle:
        """Start one reference server and wait until it serves. `port` 0 takes a free one.

        Raises EnvironmentError_ with the end of its log when it does not become ready.
        """
        assert name not in self.servers or not self.servers[name].running, f"server {name} runs already"
        keys = self.data.keys()
        environment = server_environment(
            DATABASE_URL=self.dsn,
            REALTIME_OWNER_DATABASE_URL=self.postgres.admin_dsn(DATABASE),
            SUPABASE_JWT_SECRET=keys.jwt_secret,
            GENERATION_TRANSPORT=transport,
            **(env or {}),
        )
        argv = (*self._command, "--role", ",".join(roles), "--host", "127.0.0.1", "--port", str(port))
        handle = ServerHandle(name, argv, environment, self.data.logs / f"{name}.log")
        self.servers[name] = handle
        await self._launch(handle, deadline_s)
        if self._target.api_url is None and {"all", "api"} & set(roles):
            self._target = replace(self._target, api_url=handle.url, supabase_url=handle.url)
        return handle

    async def restart_server(self, name: str, *, deadline_s: float = READY_DEADLINE_S) -> ServerHandle:
        """Start a server that was stopped or killed again, at the address it had."""
        handle = self.servers[name]
        assert not handle.running, f"server {name} still runs"
        port = handle.url.rsplit(":", 1)[1]
        argv = (*handle.argv[: handle.argv.index("--port") + 1], port)
        fresh = ServerHandle(name, argv, handle.env, handle.log_path)
        self.servers[name] = fresh
        await self._launch(fresh, deadline_s)
        return fresh

    async def stop_server(self, name: str) -> None:
        """Stop one server gracefully."""
        await self.servers[name].stop()

    def announce(self, transport: str) -> RunningTarget:
        """Record this target, so that other processes on this machine find it (`running_target`)."""
        assert self._target.api_url is not None, "start a server with role api or all first"
        running = RunningTarget(
            pid=os.getpid(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            api_url=self._target.api_url,
            database_url=self.postgres.tcp_dsn(DATABASE) if self.postgres.tcp_port else self.dsn,
            transport=transport,
            servers={name: handle.url for name, handle in self.servers.items()},
            postgres_port=self.postgres.tcp_port,
        )
        self.data.announce(running)
        return running

    async def _launch(self, handle: ServerHandle, deadline_s: float) -> None:
        try:
            await handle.start()
        except OSError as error:
            raise EnvironmentError_(
                f"The server {handle.name} cannot be started: {error}.", "Check the installation of this package."
            ) from error
        self.data.record_servers({name: server.pid for name, server in self.servers.items() if server.running})
        try:
            await handle.wait_ready(deadline_s)
        except BaseException:
            handle.kill()
            await handle.wait_exited(READY_DEADLINE_S)
            raise

    def _dismiss_guard(self) -> None:
        if self._guard is not None:
            dismiss_guard(self._guard)
            self._guard = None


def named_target(settings: TargetSettings, data_dir: Path = DEFAULT_DATA_DIR) -> Target:
    """The target that `settings` describe: ours where all they say is what `toolkit up` told of `data_dir`.

    Raises EnvironmentError_ when they name the database of `data_dir` and nobody serves there.
    """
    target = Target.from_settings(settings)
    given = target.environment()
    running = running_target(data_dir)
    if running is not None:
        return running if given and given.items() <= running.environment().items() else target
    data = DataDir(data_dir)
    if target.database_url == PostgresCluster(data.postgres).dsn(DATABASE) and data.holder() is None:
        raise EnvironmentError_(
            f"DATABASE_URL names the embedded target in {data.path}, which is stopped.",
            "Start it with `toolkit up`; or give --target embedded, to use it as it lies there.",
        )
    return target


def running_target(data_dir: Path = DEFAULT_DATA_DIR) -> Target | None:
    """The target that `toolkit up` keeps running in `data_dir`, or None."""
    data = DataDir(data_dir)
    running = data.running()
    if running is None:
        return None
    keys = data.keys()
    return Target(
        kind="embedded",
        database_url=running.database_url,
        api_url=running.api_url,
        supabase_url=running.api_url,
        anon_key=keys.anon_key,
        service_role_key=keys.service_role_key,
        jwt_secret=keys.jwt_secret,
    )
