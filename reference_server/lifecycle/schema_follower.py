"""Starts and stops the parts that need the migrated schema, the worker and Realtime, as the schema changes.

A server that started on the legacy schema starts them when the migration has been applied. Its worker stops when the
migration is rolled back. The legacy transport runs throughout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import structlog

from reference_server.database_trouble import DATABASE_TROUBLE
from reference_server.lifecycle.hosted_worker import HostedWorker
from reference_server.realtime.protocol import refusals
from reference_server.realtime.sockets.service import RealtimeService
from reference_server.replication.stream import StreamLost
from reference_server.store.schema import Schema, read_schema

log = structlog.get_logger(__name__)

Check = dict[str, Any]


class SchemaFollower:
    """`realtime` and `make_worker` are None when the server does not have that role."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        schema: Schema,
        *,
        realtime: RealtimeService | None,
        make_worker: Callable[[], HostedWorker] | None,
        poll_s: float,
        start_deadline_s: float,
    ) -> None:
        self.schema = schema
        self.realtime = realtime
        self.worker: HostedWorker | None = None
        self._pool = pool
        self._make_worker = make_worker
        self._poll_s = poll_s
        self._start_deadline_s = start_deadline_s
        self._realtime_runs = False
        self._problem: str | None = None
        self._turn = asyncio.Lock()
        self._follower: asyncio.Task[None] | None = None
        self._tell_realtime()

    async def start(self) -> None:
        """Start what the schema allows, then follow the schema. Raises the error that keeps a part from starting."""
        async with self._turn:
            await self._fit()
        self._follower = asyncio.create_task(self._follow(), name="schema-follower")

    async def refresh(self) -> None:
        """Read the schema now, and start or stop parts accordingly."""
        async with self._turn:  # otherwise an older answer could replace a newer one
            before, self.schema = self.schema, await read_schema(self._pool)
            if self.schema != before:
                log.info("the schema has changed", migrated=self.schema.migrated)
            self._tell_realtime()
            await self._fit()

    async def stop_worker(self) -> None:
        """Stop following, stop claiming, and give unfinished tasks back."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait({self._follower})
        async with self._turn:
            await self._stop_worker()

    async def stop_realtime(self, deadline_s: float) -> None:
        """Close every Realtime socket with 1012, and the stream."""
        if self.realtime is not None and self._realtime_runs:
            self._realtime_runs = False
            await self.realtime.stop(deadline_s)

    # -- what health says -------------------------------------------------------------------------

    def replication_check(self) -> Check:
        if self.realtime is None:
            return {"status": "off", "detail": "this process does not have the role realtime"}
        if not self.schema.migrated:
            return {"status": "off", "detail": "Realtime is off: the database has the legacy schema"}
        facts = self.realtime.facts()
        if self._realtime_runs and facts.ready:
            return {"status": "ok", "stream": facts.stream, "lag_s": facts.stream_lag_s}
        return {"status": "failing", "stream": facts.stream, "detail": self._problem or "the stream is not live"}

    def workers_check(self) -> Check:
        if self._make_worker is None:
            return {"status": "off", "detail": "this process does not have the role worker"}
        if not self.schema.migrated:
            return {"status": "off", "detail": "workers are off: the database has the legacy schema"}
        if self.worker is None or self.worker.failed:
            return {"status": "failing", "detail": self._problem or "the worker is starting"}
        return {"status": "ok", **self.worker.facts()}

    # -- following --------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self.refresh()
                self._problem = None
            except (*DATABASE_TROUBLE, StreamLost) as error:
                self._problem = f"{type(error).__name__}: {error}"
                log.warning("the schema could not be followed", cause=self._problem)
            except Exception as error:
                self._problem = f"{type(error).__name__}: {error}"
                log.exception("the schema could not be followed")

    def _tell_realtime(self) -> None:
        if self.realtime is not None:
            self.realtime.no_changes = None if self.schema.migrated else refusals.NOT_MIGRATED

    async def _fit(self) -> None:
        if not self.schema.migrated:
            await self._stop_worker()
            return
        if self.realtime is not None and not self._realtime_runs:
            await self.realtime.start(self._start_deadline_s)
            self._realtime_runs = True
        if self.worker is not None and self.worker.failed:
            await self._stop_worker()
        if self._make_worker is not None and self.worker is None:
            worker = self._make_worker()
            try:
                async with asyncio.timeout(self._start_deadline_s):
                    await worker.start()
            except BaseException:
                await worker.stop()
                raise
            self.worker = worker

    async def _stop_worker(self) -> None:
        if self.worker is not None:
            worker, self.worker = self.worker, None
            await worker.stop()
