"""One server process: starts its parts in order, serves, and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

import asyncpg
import structlog
import uvicorn

from reference_server.api.server_context import ServerContext
from reference_server.app import build_app, wire
from reference_server.connection_kind import NO_REALTIME_THROUGH_A_POOLER, ConnectionKind, connection_kind
from reference_server.database_trouble import DATABASE_TROUBLE
from reference_server.log import redacted
from reference_server.realtime.sockets.router import uvicorn_options
from reference_server.replication.stream import StreamLost
from reference_server.settings import Role, Settings
from reference_server.store.pool import open_pool
from reference_server.store.schema import Schema, read_schema
from toolkit.contract.requests import Transport

T = TypeVar("T")
FIRST = asyncio.FIRST_COMPLETED
log = structlog.get_logger(__name__)

# For requests still under way and close handshakes, after the parts have stopped.
LAST_ANSWERS_S = 3


class StartRefused(Exception):
    """The process cannot start; the message says why and what to do."""


class ServerProcess:
    """One server process from its first connection to its exit."""

    def __init__(self, settings: Settings, roles: frozenset[Role], *, host: str, port: int) -> None:
        self.settings = settings
        self.roles = roles
        self.host = host
        self.port = port
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then stop gracefully. Raises StartRefused."""
        with self._signals(), contextlib.closing(self._listen()) as listener:
            kind = await self._reaching(self._look_at_connection)
            async with self._pool(kind) as pool:
                schema = await self._schema(pool)
                server = wire(self.settings, self.roles, pool, schema, kind)
                try:
                    await self._start(server)
                    if not self._stop.is_set():
                        await self._serve(server, listener)
                finally:
                    await self._drain(server)

    async def _start(self, server: ServerContext) -> None:
        starting = asyncio.create_task(server.schema_follower.start())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            async with asyncio.timeout(self.settings.startup_deadline_seconds * 2):
                await asyncio.wait({starting, stopping}, return_when=FIRST)
                if starting.done():
                    starting.result()
        except (*DATABASE_TROUBLE, StreamLost) as error:
            raise StartRefused(
                f"a part could not start ({type(error).__name__}: {redacted(str(error))}); Realtime needs "
                "wal_level=logical, a free replication slot and a role that may replicate"
            ) from error
        finally:
            for task in (starting, stopping):
                task.cancel()
            await asyncio.wait({starting, stopping})

    async def _drain(self, server: ServerContext) -> None:
        """Stop every part, within one and a half times the grace period. Safe to call twice."""
        grace = self.settings.shutdown_grace_seconds
        await asyncio.gather(
            self._end("legacy generations", server.legacy.stop, grace),
            self._end("worker", server.schema_follower.stop_worker, grace),
        )
        # After the work, so that its last events still reach subscribers.
        await self._end("realtime", lambda: server.schema_follower.stop_realtime(grace / 3), grace / 2)
        await self._end("token verifier", server.verifier.aclose, 1)
        await self._end("writer", server.close_writer, 1)

    async def _end(self, name: str, ending: Callable[[], Awaitable[None]], deadline_s: float) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                await ending()
        except Exception as error:  # one part's failure must not keep the others from stopping
            log.exception("a part did not end in order", part=name, cause=repr(error))

    async def _serve(self, server: ServerContext, listener: socket.socket) -> None:
        config = uvicorn.Config(
            build_app(server),
            **uvicorn_options(self.settings.realtime_limits),
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=LAST_ANSWERS_S,
        )
        http = _HttpServer(config)
        serving = asyncio.create_task(http.serve(sockets=[listener]), name="http")
        try:
            accepting = asyncio.create_task(http.accepting.wait())
            await asyncio.wait({serving, accepting}, return_when=FIRST)
            accepting.cancel()
            if http.started:
                host, port = listener.getsockname()[:2]
                print(f"ready http://{host}:{port}", flush=True)  # noqa: T201
                log.info(
                    "ready",
                    host=host,
                    port=port,
                    roles=sorted(self.roles),
                    transport=str(server.transport.current),
                    connection=str(server.connection),
                )
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({serving, stopping}, return_when=FIRST)
            stopping.cancel()
            if serving.done():
                serving.result()
        finally:
            # New work is refused first; then the parts stop, while answers still reach clients.
            server.draining = True
            for listening in http.servers if http.started else ():
                listening.close()
            await self._drain(server)
            http.should_exit = True
            await asyncio.wait({serving}, timeout=LAST_ANSWERS_S + 2)

    def _listen(self) -> socket.socket:
        try:
            return socket.create_server((self.host, self.port), backlog=2048, reuse_port=False)
        except (OSError, OverflowError) as error:
            raise StartRefused(
                f"cannot listen on {self.host}:{self.port} ({error}); choose another --port, 0 picks a free one"
            ) from None

    async def _look_at_connection(self) -> ConnectionKind:
        kind = await connection_kind(self.settings.dsn, deadline_s=self.settings.database_deadline_seconds)
        if kind is not ConnectionKind.DIRECT and Role.REALTIME in self.roles:
            raise StartRefused(
                f"{NO_REALTIME_THROUGH_A_POOLER}, or start this process with `--role api,worker` and the role realtime "
                "in another one that has it"
            )
        if kind is ConnectionKind.TRANSACTION_POOLER:
            log.warning(
                "the database is reached through a transaction pooler: workers poll for tasks, and no statement stays "
                "prepared",
                remedy="nothing has to be done; a direct connection or a session pooler starts tasks sooner",
            )
        return kind

    @contextlib.asynccontextmanager
    async def _pool(self, kind: ConnectionKind) -> AsyncIterator[asyncpg.Pool]:
        settings = self.settings
        pool = await self._reaching(
            lambda: open_pool(
                settings.dsn, kind, max_size=settings.database_pool_size, deadline_s=settings.database_deadline_seconds
            )
        )
        try:
            yield pool
        finally:
            try:
                async with asyncio.timeout(3):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    async def _reaching(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` returns, which is made again until the database answers. Raises StartRefused."""
        problem = "no attempt was made"
        deadline = asyncio.get_running_loop().time() + self.settings.startup_deadline_seconds
        while not self._stop.is_set():
            try:
                return await attempt()
            except (asyncpg.InvalidPasswordError, asyncpg.InvalidCatalogNameError, ValueError) as error:
                raise StartRefused(f"DATABASE_URL does not work: {redacted(str(error))}") from None
            except DATABASE_TROUBLE as error:
                problem = str(error) or type(error).__name__
            if asyncio.get_running_loop().time() > deadline:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self._stop.wait()
        raise StartRefused(
            f"the database cannot be reached ({redacted(problem)}); check DATABASE_URL and that Postgres runs"
        )

    async def _schema(self, pool: asyncpg.Pool) -> Schema:
        schema = await read_schema(pool)
        if not schema.legacy:
            raise StartRefused("the database has no schema yet; run `toolkit migrate up`")
        if not schema.migrated and self.settings.generation_transport is not Transport.WEBSOCKET:
            raise StartRefused(
                f"GENERATION_TRANSPORT={self.settings.generation_transport} needs the Realtime migration, which the "
                "database does not have; run `toolkit migrate up`, or start with GENERATION_TRANSPORT=websocket"
            )
        return schema

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def stop(number: signal.Signals) -> None:
            if self._stop.is_set():
                log.warning("second signal: ending at once", signal=number.name)
                os._exit(128 + number)
            log.info("shutting down", signal=number.name)
            self._stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


class _HttpServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # ServerProcess handles signals: uvicorn would raise them again at its end, which changes the exit code.
        yield
