"""The Realtime endpoint alone, as an ASGI application: for tests, benchmarks and a look at it by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from reference_server.realtime.changes.bindings import parse_bindings
from reference_server.realtime.changes.feed import ChangeFeed
from reference_server.realtime.messages.message_feed import MessageFeed
from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.protocol.ports import Feed
from reference_server.realtime.sockets.policies import ChannelPolicies
from reference_server.realtime.sockets.router import realtime_routes
from reference_server.realtime.sockets.service import RealtimeService
from reference_server.replication.api_roles import ApiRoles
from reference_server.tokens.verifier import TokenVerifier


def create_service(
    dsn: str,
    jwt_secret: str,
    *,
    limits: Limits | None = None,
    private_only: bool = False,
    feed: Feed | None = None,
    further_roles: Iterable[str] = (),
    owner_dsn: str | None = None,
) -> RealtimeService:
    """A service on one database. `feed` replaces the stream of changes; tokens may claim `further_roles` too;
    `owner_dsn` leads to the owner of `realtime.messages` where `dsn` does not."""
    limits, api_roles = limits or Limits(), ApiRoles(tuple(further_roles))
    return RealtimeService(
        verifier=TokenVerifier(jwt_secret),
        feed=feed
        or ChangeFeed(
            dsn,
            api_roles=api_roles,
            conditions_per_channel=limits.conditions_per_channel,
            conditions_per_client=limits.conditions_per_socket,
        ),
        messages=MessageFeed(dsn, owner_dsn=owner_dsn, timeout_s=limits.policy_s),
        parse_bindings=parse_bindings,
        policies=ChannelPolicies(dsn, timeout_s=limits.policy_s, api_roles=api_roles),
        limits=limits,
        private_only=private_only,
    )


def create_app(service: RealtimeService) -> Starlette:
    """Starts and stops `service` with the application."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            await service.start()
            yield
        finally:
            await service.stop()
            await service.verifier.aclose()

    return Starlette(routes=realtime_routes(service), lifespan=lifespan)
