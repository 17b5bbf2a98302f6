"""The parts of the server that its routes use; app.py creates them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
from starlette.requests import HTTPConnection

from reference_server.api.http_errors import Unavailable
from reference_server.api.legacy_supervisor import LegacySupervisor
from reference_server.api.metrics import Metrics
from reference_server.api.transport import TransportFlag
from reference_server.connection_kind import ConnectionKind
from reference_server.generation.service import GenerationService
from reference_server.lifecycle.schema_follower import SchemaFollower
from reference_server.settings import Role, Settings
from reference_server.tokens.verifier import TokenVerifier


@dataclass
class ServerContext:
    """`schema_follower` runs what needs the migrated schema: the worker and Realtime."""

    settings: Settings
    roles: frozenset[Role]
    connection: ConnectionKind
    pool: asyncpg.Pool
    verifier: TokenVerifier
    transport: TransportFlag
    service: GenerationService
    legacy: LegacySupervisor
    schema_follower: SchemaFollower
    metrics: Metrics
    close_writer: Callable[[], Awaitable[None]]
    draining: bool = False

    @property
    def migrated(self) -> bool:
        return self.schema_follower.schema.migrated

    def require_migrated(self) -> None:
        """Raises Unavailable while the database has the legacy schema."""
        if not self.migrated:
            raise Unavailable(
                "the database has the legacy schema, on which only the WebSocket transport works",
                code="schema_not_migrated",
                remedy="Run `toolkit migrate up`.",
            )


def server_of(connection: HTTPConnection) -> ServerContext:
    """The server that handles this request."""
    server: ServerContext = connection.app.state.server
    return server
