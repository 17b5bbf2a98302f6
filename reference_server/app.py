"""The composition root: the only place that creates the parts of a server and connects them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from reference_server.api import articles, console, events, health, internal, legacy_websocket, processes
from reference_server.api.cors import ApiCors
from reference_server.api.legacy_generation import LegacyTools
from reference_server.api.legacy_supervisor import LegacySupervisor
from reference_server.api.metrics import Metrics
from reference_server.api.middleware import RequestMiddleware
from reference_server.api.responses import Json, install_error_handlers
from reference_server.api.server_context import ServerContext
from reference_server.api.transport import TransportFlag
from reference_server.connection_kind import ConnectionKind
from reference_server.generation.deterministic_writer import DeterministicWriter
from reference_server.generation.service import GenerationService, ServiceSettings
from reference_server.generation.writer import ContentWriter
from reference_server.lifecycle.hosted_worker import HostedWorker
from reference_server.lifecycle.schema_follower import SchemaFollower
from reference_server.realtime.changes.bindings import parse_bindings
from reference_server.realtime.changes.feed import ChangeFeed
from reference_server.realtime.messages.message_feed import MessageFeed
from reference_server.realtime.sockets.policies import ChannelPolicies
from reference_server.realtime.sockets.router import realtime_routes
from reference_server.realtime.sockets.service import RealtimeService
from reference_server.replication.api_roles import ApiRoles
from reference_server.settings import Role, Settings
from reference_server.store.pool import open_pool
from reference_server.store.schema import Schema
from reference_server.tokens.verifier import TokenVerifier
from reference_server.workers.loop import Worker, WorkerSettings

# Nothing wakes a worker there, and somebody waits for the task.
POLL_THROUGH_A_POOLER_S = 1.0


def build_app(server: ServerContext) -> FastAPI:
    """The ASGI application for the roles of `server`, which its routes find in `app.state.server`."""
    # /docs with its scripts and styles served from here. Not /redoc: its script fetches a picture from another host.
    app = FastAPIOffline(
        redoc_url=None,
        static_url="/docs/assets",
        swagger_ui_parameters={"validatorUrl": None},  # else the page may ask a validator on another host
        title="Article generation",
        version="0.1.0",
        description="Processes are started and steered over HTTP; what happens to them is read from Realtime.",
        default_response_class=Json,
    )
    app.state.server = server
    install_error_handlers(app)
    app.add_middleware(
        RequestMiddleware,
        metrics=server.metrics,
        deadline_s=server.settings.request_deadline_seconds,
        max_bytes=server.settings.request_max_bytes,
        broadcast_bytes=server.settings.realtime_max_frame_bytes,
    )
    if server.settings.allowed_origins:
        app.add_middleware(ApiCors, origins=server.settings.allowed_origins)
    app.include_router(health.router)
    if Role.API in server.roles:
        for router in (processes.router, events.router, articles.router, internal.router, legacy_websocket.router):
            app.include_router(router)
        if server.settings.console_enabled:
            app.include_router(console.router)
            app.mount(console.PATH, console.files(server.settings), name="console")
    if server.schema_follower.realtime is not None:
        app.router.routes.extend(realtime_routes(server.schema_follower.realtime))
    return app


def wire(
    settings: Settings,
    roles: frozenset[Role],
    pool: asyncpg.Pool,
    schema: Schema,
    connection: ConnectionKind = ConnectionKind.DIRECT,
) -> ServerContext:
    """Create every part that a server with these roles needs; none of them is started. `connection` is what
    DATABASE_URL gives."""
    metrics = Metrics()
    verifier = TokenVerifier(settings.jwt_secret, jwks_url=settings.supabase_jwks_url)
    writer, close_writer = _writer(settings)
    realtime = None
    if Role.REALTIME in roles:
        limits, api_roles = settings.realtime_limits, ApiRoles(settings.further_roles)
        realtime = RealtimeService(
            verifier=verifier,
            feed=ChangeFeed(
                settings.dsn,
                api_roles=api_roles,
                conditions_per_channel=limits.conditions_per_channel,
                conditions_per_client=limits.conditions_per_socket,
            ),
            messages=MessageFeed(
                settings.dsn,
                owner_dsn=settings.realtime_owner_dsn,
                retention_h=settings.realtime_message_retention_hours,
                timeout_s=limits.policy_s,
            ),
            parse_bindings=parse_bindings,
            policies=ChannelPolicies(settings.dsn, timeout_s=limits.policy_s, api_roles=api_roles),
            limits=limits,
            private_only=settings.realtime_private_only,
        )
    service_settings = ServiceSettings(
        prompt_timeout_minutes=settings.prompt_timeout_minutes,
        retry_base_seconds=settings.retry_base_seconds,
        lease_seconds=settings.task_lease_seconds,
    )
    return ServerContext(
        settings=settings,
        roles=roles,
        connection=connection,
        pool=pool,
        verifier=verifier,
        transport=TransportFlag(settings.generation_transport),
        service=GenerationService(pool, service_settings),
        legacy=LegacySupervisor(LegacyTools(pool, writer, settings.legacy_heartbeat_seconds), metrics),
        schema_follower=SchemaFollower(
            pool,
            schema,
            realtime=realtime,
            make_worker=(lambda: _worker(settings, service_settings, writer, metrics, connection))
            if Role.WORKER in roles
            else None,
            poll_s=settings.schema_poll_seconds,
            start_deadline_s=settings.startup_deadline_seconds,
        ),
        metrics=metrics,
        close_writer=close_writer,
    )


async def _nothing_to_close() -> None:
    """The deterministic writer has no connections to close."""


def _worker(
    settings: Settings,
    service_settings: ServiceSettings,
    writer: ContentWriter,
    metrics: Metrics,
    connection: ConnectionKind,
) -> HostedWorker:
    pooled = connection is ConnectionKind.TRANSACTION_POOLER
    worker_settings = WorkerSettings(
        concurrency=settings.worker_concurrency,
        poll_seconds=min(settings.task_poll_seconds, POLL_THROUGH_A_POOLER_S) if pooled else settings.task_poll_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        connection=connection,
        service=service_settings,
    )
    size = min(settings.worker_concurrency, settings.database_pool_size) + 2
    return HostedWorker(
        lambda: open_pool(settings.dsn, connection, max_size=size, deadline_s=settings.database_deadline_seconds),
        lambda pool: Worker(pool, settings.dsn, writer, worker_settings, observer=metrics.worker),
        drain_s=settings.shutdown_grace_seconds / 2,
    )


def _writer(settings: Settings) -> tuple[ContentWriter, Callable[[], Awaitable[None]]]:
    if settings.openai_base_url is not None and settings.openai_model is not None:
        from reference_server.generation.openai_writer import OpenAIWriter  # a server without a model starts sooner

        key = settings.openai_api_key
        model = OpenAIWriter(
            settings.openai_base_url, None if key is None else key.get_secret_value(), settings.openai_model
        )
        return model, model.close
    deterministic = DeterministicWriter(
        settings.writer_seed,
        step_latency_s=settings.writer_step_latency_ms / 1000,
        failure_rate=settings.writer_failure_rate,
        sections=settings.writer_sections,
    )
    return deterministic, _nothing_to_close
