"""Everything one process runs, handed to whoever needs a part of it. Wired in app.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
from starlette.requests import HTTPConnection

from reference_server.api.legacy_sockets import LegacyGenerations
from reference_server.api.metrics import Metrics
from reference_server.api.transport import TransportFlag
from reference_server.errors import Unavailable
from reference_server.generation.service import GenerationService
from reference_server.migrated_schema import EventParts
from reference_server.settings import Role, Settings
from reference_server.tokens import TokenVerifier


@dataclass
class Parts:
    """`events` holds what needs the migrated schema: the worker and Realtime."""

    settings: Settings
    roles: frozenset[Role]
    pool: asyncpg.Pool
    verifier: TokenVerifier
    transport: TransportFlag
    service: GenerationService
    legacy: LegacyGenerations
    events: EventParts
    metrics: Metrics
    close_writer: Callable[[], Awaitable[None]]
    draining: bool = False

    @property
    def migrated(self) -> bool:
        return self.events.schema.migrated

    def require_migrated(self) -> None:
        """Raises Unavailable while the database has the legacy schema."""
        if not self.migrated:
            raise Unavailable(
                "the database has the legacy schema, on which only the WebSocket transport works",
                code="schema_not_migrated",
                remedy="Run `toolkit migrate up`.",
            )


def parts_of(connection: HTTPConnection) -> Parts:
    """The parts of the process that serves this request."""
    parts: Parts = connection.app.state.parts
    return parts
