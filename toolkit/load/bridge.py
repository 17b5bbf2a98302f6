"""From greenlets to one asyncio event loop in a real thread, and back.

The clients, their recovery and the histories are asyncio code and stay what they are elsewhere. They cannot run in
greenlets: a loop in each would block the others, and on the patched standard library a host name is never resolved,
since the resolver's thread is a greenlet that is never scheduled. So the loop is uvloop's, whose resolver needs no
Python thread, and its thread is made by the original `start_new_thread`.

Messages from the loop are stamped when they happen and handed over in batches: waking the greenlets for each one would
cost more than the message.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import gevent
import uvloop
from gevent import monkey
from gevent.event import AsyncResult, Event

T = TypeVar("T")

BATCH_S = 0.02
CLOSE_DEADLINE_S = 20.0
_log = logging.getLogger(__name__)


class Bridge:
    """One event loop in a thread of its own; make it in the process and thread that will use it, after any fork.

    `call` and `close` are for greenlets, `post` is for code on the loop.
    """

    def __init__(self, *, batch_s: float = BATCH_S) -> None:
        self._pid = os.getpid()
        self._batch_s = batch_s
        self._box: deque[Callable[[], object]] = deque()
        self._armed = False
        self._closing = False
        self._stopped = False
        self._ring = Event()
        # The only object of gevent that another thread may use.
        self._bell = gevent.get_hub().loop.async_()
        self._bell.start(self._ring.set)
        self.loop = uvloop.new_event_loop()
        self._drainer = gevent.spawn(self._drain)
        monkey.get_original("_thread", "start_new_thread")(self._serve, ())

    # -- on the loop --------------------------------------------------------------------------

    def post(self, work: Callable[[], object], *, now: bool = False) -> None:
        """Have a greenlet run `work` soon, in the order of posting; with `now` the greenlet is woken at once."""
        self._box.append(work)
        if now:
            self._bell.send()
        elif not self._armed:
            self._armed = True
            self.loop.call_later(self._batch_s, self._bell.send)

    def _serve(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self._stopped = True
            self._bell.send()

    # -- in greenlets -------------------------------------------------------------------------

    def call(self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float | None = None) -> T:
        """Run a coroutine on the loop and return its result; only the calling greenlet waits.

        Raises what the coroutine raises, or TimeoutError. A greenlet that is killed takes its coroutine with it.
        """
        if os.getpid() != self._pid:
            raise RuntimeError("this bridge was made before the fork: its thread is in another process")
        if self._closing:
            raise RuntimeError("the bridge is closed")
        result: AsyncResult = AsyncResult()
        started: list[asyncio.Task[None]] = []

        async def run() -> None:
            try:
                value = await work()
            except asyncio.CancelledError:
                self.post(lambda: result.set_exception(TimeoutError("the work was cancelled")), now=True)
                raise
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                failure = error
                self.post(lambda: result.set_exception(failure), now=True)
            else:
                self.post(lambda: result.set(value), now=True)

        self.loop.call_soon_threadsafe(lambda: started.append(self.loop.create_task(run())))
        try:
            answer: T = result.get(timeout=timeout_s)
        except gevent.Timeout:
            self._cancel(started)
            raise TimeoutError(f"no result within {timeout_s:g} s") from None
        except gevent.GreenletExit:
            self._cancel(started)
            raise
        return answer

    def close(self) -> None:
        """Cancel every task, end the thread, hand over what was posted. Raises TimeoutError when the thread does not
        end."""
        if self._closing:
            return
        self.call(_cancel_all, CLOSE_DEADLINE_S)
        self._closing = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        deadline = time.monotonic() + CLOSE_DEADLINE_S
        while not self._stopped:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the event loop's thread did not end within {CLOSE_DEADLINE_S:g} s")
            gevent.sleep(0.005)
        self.loop.close()
        self._drainer.join(timeout=CLOSE_DEADLINE_S)
        self._bell.stop()
        self._bell.close()

    def _cancel(self, started: list[asyncio.Task[None]]) -> None:
        self.loop.call_soon_threadsafe(lambda: [task.cancel() for task in started])

    def _drain(self) -> None:
        while True:
            self._ring.wait()
            self._ring.clear()
            # Cleared before the queue is emptied, so that what is posted from here on wakes us again.
            self._armed = False
            while self._box:
                work = self._box.popleft()
                try:
                    work()
                except Exception:  # noqa: BLE001 - one listener's failure must not leave every later message undelivered
                    _log.exception("what the event loop handed over could not be done")
            if self._stopped and not self._box:
                return


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
