"""The background worker inside this process: started until it is ready, watched, drained."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import asyncpg
import structlog

from reference_server.workers.loop import Worker

log = structlog.get_logger(__name__)

# Where LISTEN delivers nothing the worker polls: it counts as ready after this time.
LISTEN_PATIENCE_S = 5.0


class HostedWorker:
    """A worker with connections of its own, so that its work and the API's do not wait for each other."""

    def __init__(
        self,
        open_pool: Callable[[], Awaitable[asyncpg.Pool]],
        make_worker: Callable[[asyncpg.Pool], Worker],
        *,
        drain_s: float,
    ) -> None:
        self._open_pool = open_pool
        self._make_worker = make_worker
        self._drain_s = drain_s
        self._pool: asyncpg.Pool | None = None
        self._worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def failed(self) -> bool:
        """Whether the worker has ended without being told to."""
        return self._running is not None and self._running.done()

    async def start(self) -> None:
        """Returns when the worker listens for tasks, or polls for them. Raises the error that keeps it from running."""
        self._pool = await self._open_pool()
        self._worker = self._make_worker(self._pool)
        self._running = asyncio.create_task(self._worker.run(), name="worker")
        give_up = asyncio.get_running_loop().time() + LISTEN_PATIENCE_S
        while (
            self._worker.listens and not self._worker.status.listening and asyncio.get_running_loop().time() < give_up
        ):
            done, _ = await asyncio.wait({self._running}, timeout=0.01)
            if done:
                self._running.result()

    async def stop(self) -> None:
        """Stop claiming, let running tasks end within `drain_s` seconds, and give the others back to the queue."""
        if self._worker is not None and self._running is not None:
            if not self._running.done():
                await self._worker.drain(self._drain_s)
                await asyncio.wait({self._running}, timeout=5)
            if not self._running.done():
                self._running.cancel()
                await asyncio.wait({self._running}, timeout=5)
            if not self._running.cancelled() and self._running.done() and (error := self._running.exception()):
                log.error("the worker had failed", cause=repr(error))
        if self._pool is not None:
            try:
                async with asyncio.timeout(3):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    def facts(self) -> dict[str, Any]:
        return {} if self._worker is None else asdict(self._worker.status)
