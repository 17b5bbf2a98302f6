"""Wakes the worker when a task becomes due: LISTEN on a dedicated connection, tested before it is relied on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import uuid4

import asyncpg
import structlog

from reference_server.store import tasks
from reference_server.workers.link import LINK_ERRORS, Backoff, dedicated
from toolkit.contract.tasks import TASK_CHANNEL

log = structlog.get_logger(__name__)

TEST_DEADLINE_S = 3.0
RETEST_S = 60.0
PROBE_S = 30.0


class NotificationsSilent(Exception):
    """The connection accepts LISTEN and delivers nothing, as behind a transaction pooler."""


class Listener:
    """Calls `wake` for every notification and after every (re)connection, since some may have been missed.

    `working` is False while the worker has to rely on polling alone.
    """

    def __init__(self, dsn: str, wake: Callable[[], None], *, worker_id: str) -> None:
        self._dsn = dsn
        self._wake = wake
        self._worker_id = worker_id
        self.working = False

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff()
        while True:
            try:
                async with dedicated(self._dsn, self._worker_id, "listen", 10) as connection:
                    await self._listen(connection, backoff)
            except NotificationsSilent:
                log.warning(
                    "notifications do not arrive on this connection; polling for tasks instead",
                    remedy="give the worker a direct or session-mode connection",
                    retest_seconds=RETEST_S,
                )
                await asyncio.sleep(RETEST_S)
            except LINK_ERRORS as error:
                log.warning("task notifications interrupted; polling until they are back", error=repr(error))
                await backoff.wait()
            finally:
                self.working = False

    async def _listen(self, connection: asyncpg.Connection, backoff: Backoff) -> None:
        lost, heard, token = asyncio.Event(), asyncio.Event(), str(uuid4())

        def on_notify(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            if payload == token:
                heard.set()
            else:
                self._wake()

        connection.add_termination_listener(lambda _connection: lost.set())
        await connection.add_listener(TASK_CHANNEL, on_notify)
        await _self_test(connection, token, heard)
        self.working = True
        backoff.succeeded()
        log.info("listening for tasks", channel=TASK_CHANNEL)
        self._wake()
        while not lost.is_set():
            try:
                async with asyncio.timeout(PROBE_S):
                    await lost.wait()
            except TimeoutError:
                # A peer that vanished without closing the connection is only noticed by sending to it.
                heard.clear()
                await _self_test(connection, token, heard)
        raise ConnectionError("the listening connection was closed")


async def _self_test(connection: asyncpg.Connection, token: str, heard: asyncio.Event) -> None:
    await tasks.notify(connection, TASK_CHANNEL, token)
    try:
        async with asyncio.timeout(TEST_DEADLINE_S):
            await heard.wait()
    except TimeoutError:
        raise NotificationsSilent from None
