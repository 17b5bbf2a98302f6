"""A small pool for questions to the database, opened at the first of them."""

from __future__ import annotations

import asyncio

import asyncpg

from reference_server.replication.stream import QUESTION_SETTINGS


class QuestionPool:
    """At most `connections` to `dsn`, each told apart by `name`; `timeout_s` bounds every question, and the closing."""

    def __init__(self, dsn: str, name: str, *, connections: int, timeout_s: float) -> None:
        self._dsn = dsn
        self._connections = connections
        self._timeout_s = timeout_s
        self._settings = {
            "application_name": name,
            "statement_timeout": f"{timeout_s * 1000:.0f}ms",
            **QUESTION_SETTINGS,
        }
        self._pool: asyncpg.Pool | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> asyncpg.Pool:
        """The pool. Raises what connecting raises."""
        async with self._lock:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._dsn,
                    min_size=0,
                    max_size=self._connections,
                    timeout=self._timeout_s,
                    command_timeout=self._timeout_s,
                    server_settings=self._settings,
                )
        return self._pool

    async def close(self) -> None:
        """Close it, at the deadline by force; it may be opened again."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await pool.close()
            except TimeoutError:
                pool.terminate()
