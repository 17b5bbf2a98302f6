"""Kills the backend that runs a file, once, at a point of its run."""

from __future__ import annotations

import asyncio
import contextlib

from toolkit.errors import EnvironmentError_
from toolkit.migrate.prove.crash.points import Point
from toolkit.migrate.run.run_model import Moment
from toolkit.postgres.connection import Connection, connect
from toolkit.sql import prove_crash as sql

_GONE_WITHIN_S = 10
_LINGERS_WITHIN_S = 30
_POLL_S = 0.01
_POLL_END_S = 0.002
_HEARD_AFTER_S = 0.02


class KillBackend:
    """An Interrupt of the runner. `killer` is a connection to the same server; `killed`: whether it has killed the
    backend.

    For a point inside a statement it keeps a snapshot open for which the statement waits, and kills it during that
    wait; a statement that does not wait is killed right after it ended.
    """

    def __init__(self, killer: Connection, dsn: str, version: str, point: Point) -> None:
        self.killed = False
        self._killer, self._dsn, self._version, self._point = killer, dsn, version, point
        self._holder: Connection | None = None
        self._watch: asyncio.Task[None] | None = None
        self._problem: EnvironmentError_ | None = None

    async def __call__(self, moment: Moment) -> None:
        """Called by the runner at each of its moments."""
        if self.killed or (moment.version, moment.index) != (self._version, self._point.index):
            return
        if self._point.kind != "inside":
            if moment.kind == self._point.kind:
                await self._kill_at(moment.pid)
        elif moment.kind == "before_statement":
            self._holder = await connect(self._dsn, "toolkit migrate prove: crash")
            for statement in sql.HOLD_A_SNAPSHOT:
                await self._holder.execute(statement, timeout=10)
            self._watch = asyncio.create_task(self._kill_while_it_waits(moment.pid))
        elif moment.kind == "after_statement":
            await self._kill_at(moment.pid)

    async def close(self) -> None:
        """Release what the statement waited for. Raises EnvironmentError_ when the server did not end the backend."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        if self._holder is not None:
            await self._holder.close(timeout=5)
        if self._problem is not None:
            raise self._problem

    async def _kill_while_it_waits(self, pid: int) -> None:
        async with asyncio.timeout(_LINGERS_WITHIN_S):
            while not await self._killer.fetchval(sql.WAITS_FOR_SNAPSHOT, pid, timeout=10):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(_POLL_S)
        await self._kill_at(pid)

    async def _kill_at(self, pid: int) -> None:
        self.killed = True
        ended = await self._end(pid)
        # The runner's connection must have noticed its end before the runner goes on, as in a crash between statements:
        # a query sent between the server's last message and the end of the stream is an internal error of the driver.
        await asyncio.sleep(_HEARD_AFTER_S)
        if not ended:
            # The runner would take an error of ours for one of its file, so `close` raises it.
            self._problem = EnvironmentError_(
                f"The server did not end backend {pid} within {_GONE_WITHIN_S} s, so no crash was seen.",
                "Look at the server's log; the role of --scratch-url must be allowed to end its own sessions.",
            )

    async def _end(self, pid: int) -> bool:
        """End a backend; whether it is gone."""
        await self._killer.fetchval(sql.TERMINATE, pid, timeout=30)
        try:
            async with asyncio.timeout(_GONE_WITHIN_S):
                while await self._killer.fetchval(sql.IS_THERE, pid, timeout=10):  # noqa: ASYNC110 - there is no event to wait for
                    await asyncio.sleep(_POLL_END_S)
        except TimeoutError:
            return False
        return True
