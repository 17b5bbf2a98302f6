"""The composition root: the only place that wires parts, starts them in order and ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import asyncpg
import structlog
import uvicorn
from fastapi import FastAPI

from reference_server.api import articles, events, health, internal, legacy_websocket, processes
from reference_server.api.legacy_run import RunTools
from reference_server.api.legacy_runs import LegacyGenerations
from reference_server.api.metrics import Metrics
from reference_server.api.middleware import RequestMiddleware
from reference_server.api.responses import Json, install_error_handlers
from reference_server.api.transport import TransportFlag
from reference_server.errors import StartRefused
from reference_server.event_parts import DATABASE_TROUBLE, EventParts
from reference_server.generation.deterministic_writer import DeterministicWriter
from reference_server.generation.openai_writer import OpenAIWriter
from reference_server.generation.service import GenerationService, ServiceSettings
from reference_server.generation.writer import ContentWriter
from reference_server.log import redacted
from reference_server.parts import Parts
from reference_server.realtime.bindings import parse_bindings
from reference_server.realtime.feed import ChangeFeed
from reference_server.realtime.limits import Limits
from reference_server.realtime.policies import ChannelPolicies
from reference_server.realtime.router import realtime_routes
from reference_server.realtime.service import RealtimeService
from reference_server.settings import Role, Settings
from reference_server.store.pool import open_pool
from reference_server.store.schema import Schema, read_schema
from reference_server.tokens import TokenVerifier
from reference_server.worker_part import WorkerPart
from reference_server.workers.loop import Worker, WorkerSettings
from toolkit.contract.requests import Transport

FIRST = asyncio.FIRST_COMPLETED
log = structlog.get_logger(__name__)


def build_app(parts: Parts) -> FastAPI:
    """The ASGI application for the roles of `parts`; everything it needs is in `app.state.parts`."""
    app = FastAPI(
        title="Article generation",
        version="0.1.0",
        description="Processes are started and steered over HTTP; what happens to them is read from Realtime.",
        default_response_class=Json,
    )
    app.state.parts = parts
    install_error_handlers(app)
    app.add_middleware(
        RequestMiddleware,
        metrics=parts.metrics,
        deadline_s=parts.settings.request_deadline_seconds,
        max_bytes=parts.settings.request_max_bytes,
    )
    app.include_router(health.router)
    if Role.API in parts.roles:
        for router in (processes.router, events.router, articles.router, internal.router, legacy_websocket.router):
            app.include_router(router)
    if parts.events.realtime is not None:
        app.router.routes.extend(realtime_routes(parts.events.realtime))
    return app


def wire(settings: Settings, roles: frozenset[Role], pool: asyncpg.Pool, schema: Schema) -> Parts:
    """Every part of a process with these roles, none of them started."""
    metrics = Metrics()
    verifier = TokenVerifier(settings.jwt_secret, jwks_url=settings.supabase_jwks_url)
    writer = _writer(settings)
    realtime = None
    if Role.REALTIME in roles:
        limits = Limits(users=settings.realtime_max_users)
        realtime = RealtimeService(
            verifier=verifier,
            feed=ChangeFeed(settings.dsn),
            parse_bindings=parse_bindings,
            policies=ChannelPolicies(settings.dsn, timeout_s=limits.policy_s),
            limits=limits,
        )
    service_settings = ServiceSettings(
        prompt_timeout_minutes=settings.prompt_timeout_minutes,
        retry_base_seconds=settings.retry_base_seconds,
        lease_seconds=settings.task_lease_seconds,
    )
    return Parts(
        settings=settings,
        roles=roles,
        pool=pool,
        verifier=verifier,
        transport=TransportFlag(settings.generation_transport),
        service=GenerationService(pool, service_settings),
        legacy=LegacyGenerations(RunTools(pool, writer, settings.legacy_heartbeat_seconds), metrics),
        events=EventParts(
            pool,
            schema,
            realtime=realtime,
            make_worker=(lambda: _worker(settings, service_settings, writer, metrics))
            if Role.WORKER in roles
            else None,
            poll_s=settings.schema_poll_seconds,
            start_deadline_s=settings.startup_deadline_seconds,
        ),
        metrics=metrics,
        close_writer=writer.close if isinstance(writer, OpenAIWriter) else _nothing_to_close,
    )


async def _nothing_to_close() -> None:
    """The deterministic writer holds nothing open."""


def _worker(
    settings: Settings, service_settings: ServiceSettings, writer: ContentWriter, metrics: Metrics
) -> WorkerPart:
    worker_settings = WorkerSettings(
        concurrency=settings.worker_concurrency,
        poll_seconds=settings.task_poll_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        service=service_settings,
    )
    size = min(settings.worker_concurrency, settings.database_pool_size) + 2
    return WorkerPart(
        lambda: open_pool(settings.dsn, max_size=size, deadline_s=settings.database_deadline_seconds),
        lambda pool: Worker(pool, settings.dsn, writer, worker_settings, observer=metrics.worker),
        drain_s=settings.shutdown_grace_seconds / 2,
    )


def _writer(settings: Settings) -> DeterministicWriter | OpenAIWriter:
    if settings.openai_base_url is not None and settings.openai_model is not None:
        key = settings.openai_api_key
        return OpenAIWriter(
            settings.openai_base_url, None if key is None else key.get_secret_value(), settings.openai_model
        )
    return DeterministicWriter(
        settings.writer_seed,
        step_latency_s=settings.writer_step_latency_ms / 1000,
        failure_rate=settings.writer_failure_rate,
        sections=settings.writer_sections,
    )


class ServerProcess:
    """One server process from its first connection to its exit."""

    def __init__(self, settings: Settings, roles: frozenset[Role], *, host: str, port: int) -> None:
        self.settings = settings
        self.roles = roles
        self.host = host
        self.port = port
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then end gracefully. Raises StartRefused."""
        with self._signals(), contextlib.closing(self._listen()) as listener:
            async with self._pool() as pool:
                schema = await self._schema(pool)
                parts = wire(self.settings, self.roles, pool, schema)
                try:
                    await self._start(parts)
                    await self._serve(parts, listener)
                finally:
                    await self._drain(parts)

    async def _start(self, parts: Parts) -> None:
        try:
            async with asyncio.timeout(self.settings.startup_deadline_seconds * 2):
                await parts.events.start()
        except DATABASE_TROUBLE as error:
            raise StartRefused(
                f"a part could not start ({type(error).__name__}: {redacted(str(error))}); Realtime needs "
                "wal_level=logical, a free replication slot and a role that may replicate"
            ) from error

    async def _drain(self, parts: Parts) -> None:
        """Put every part to rest, each within the grace period. Safe to call twice."""
        grace = self.settings.shutdown_grace_seconds
        for name, ending in (
            ("legacy generations", parts.legacy.stop),
            ("worker", parts.events.stop_worker),
            ("realtime", lambda: parts.events.stop_realtime(grace / 2)),
            ("token verifier", parts.verifier.aclose),
            ("writer", parts.close_writer),
        ):
            try:
                async with asyncio.timeout(grace):
                    await ending()
            except Exception as error:  # one part's trouble must not keep the others from ending
                log.exception("a part did not end in order", part=name, cause=repr(error))

    async def _serve(self, parts: Parts, listener: socket.socket) -> None:
        config = uvicorn.Config(
            build_app(parts),
            ws="websockets-sansio",
            ws_max_size=Limits().frame_bytes,
            ws_per_message_deflate=False,
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, int(self.settings.shutdown_grace_seconds)),
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
        try:
            accepting = asyncio.create_task(server.accepting.wait())
            await asyncio.wait({serving, accepting}, return_when=FIRST)
            accepting.cancel()
            if server.started:
                host, port = listener.getsockname()[:2]
                print(f"ready http://{host}:{port}", flush=True)  # noqa: T201
                log.info(
                    "ready", host=host, port=port, roles=sorted(self.roles), transport=str(parts.transport.current)
                )
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({serving, stopping}, return_when=FIRST)
            stopping.cancel()
        finally:
            # New work is refused first; then what runs is put to rest while answers still reach clients.
            parts.draining = True
            for listening in server.servers if server.started else ():
                listening.close()
            await self._drain(parts)
            server.should_exit = True
            await asyncio.wait({serving}, timeout=self.settings.shutdown_grace_seconds + 2)

    def _listen(self) -> socket.socket:
        try:
            return socket.create_server((self.host, self.port), backlog=2048, reuse_port=False)
        except (OSError, OverflowError) as error:
            raise StartRefused(
                f"cannot listen on {self.host}:{self.port} ({error}); choose another --port, 0 picks a free one"
            ) from None

    @contextlib.asynccontextmanager
    async def _pool(self) -> AsyncIterator[asyncpg.Pool]:
        pool = await self._connect()
        try:
            yield pool
        finally:
            try:
                async with asyncio.timeout(3):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    async def _connect(self) -> asyncpg.Pool:
        settings, problem = self.settings, "no attempt was made"
        deadline = asyncio.get_running_loop().time() + settings.startup_deadline_seconds
        while not self._stop.is_set():
            try:
                return await open_pool(
                    settings.dsn, max_size=settings.database_pool_size, deadline_s=settings.database_deadline_seconds
                )
            except (asyncpg.InvalidPasswordError, asyncpg.InvalidCatalogNameError, ValueError) as error:
                raise StartRefused(f"DATABASE_URL does not work: {redacted(str(error))}") from None
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
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


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals are ServerProcess's: uvicorn would raise them again when it is done, and the exit code be theirs.
        yield
