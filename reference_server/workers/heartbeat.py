"""Renews the leases of the tasks that a worker runs, and reports those it has lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from uuid import UUID

import asyncpg
import structlog

from reference_server.connection_kind import ConnectionKind
from reference_server.store import tasks
from reference_server.workers.link import LINK_ERRORS, Backoff, dedicated

log = structlog.get_logger(__name__)


class Heartbeat:
    """Beats on its own connection every `interval_s`, at most a third of the lease.

    `running` returns the claim tokens in use; `lost` is called with each token that no longer holds its task and the
    reason. When no beat has succeeded for a whole lease, all of them are reported as lost.
    """

    def __init__(
        self,
        dsn: str,
        *,
        worker_id: str,
        interval_s: float,
        lease_s: float,
        running: Callable[[], Collection[UUID]],
        lost: Callable[[UUID, str], None],
        kind: ConnectionKind = ConnectionKind.DIRECT,
    ) -> None:
        if not 0 < interval_s <= lease_s / 3 + 1e-9:
            raise ValueError(
                f"a heartbeat every {interval_s:g} s does not fit a lease of {lease_s:g} s; "
                f"use at most {lease_s / 3:g} s"
            )
        self._dsn = dsn
        self._worker_id = worker_id
        self._interval_s = interval_s
        self._lease_s = lease_s
        self._running = running
        self._lost = lost
        self._kind = kind
        self.last_beat = time.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff()
        while True:
            try:
                deadline_s = max(1.0, self._lease_s / 3)
                async with dedicated(self._dsn, self._worker_id, "beat", deadline_s, self._kind) as connection:
                    while True:
                        await self._beat(connection)
                        backoff.succeeded()
                        await asyncio.sleep(self._interval_s)
            except LINK_ERRORS as error:
                log.warning("heartbeat interrupted", error=repr(error), tasks=len(self._running()))
                self._give_up_if_silent()
                await backoff.wait()

    async def _beat(self, connection: asyncpg.Connection) -> None:
        tokens = tuple(self._running())
        if tokens:
            surviving = await tasks.heartbeat(connection, tokens)
            for token in tokens:
                if token not in surviving:
                    self._lost(token, "its claim was taken away")
        self.last_beat = time.monotonic()

    def _give_up_if_silent(self) -> None:
        if time.monotonic() - self.last_beat > self._lease_s:
            for token in tuple(self._running()):
                self._lost(token, "no heartbeat went through for a whole lease")
