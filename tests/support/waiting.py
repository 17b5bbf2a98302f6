"""Waiting for a condition, with a deadline and a name for what did not happen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


async def until(condition: Callable[[], object], what: str, deadline_s: float = 15) -> None:
    """Return when the condition holds; AssertionError naming `what` after `deadline_s`."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + deadline_s
    while True:
        if condition():
            return
        assert loop.time() < give_up, f"{what}: not within {deadline_s} s"
        await asyncio.sleep(0.01)


class Gate:
    """Waited for in one thread's event loop, opened from another's."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        self._event.set()

    def close(self) -> None:
        self._event.clear()

    async def wait(self, deadline_s: float = 20) -> None:
        await until(self._event.is_set, "the gate to open", deadline_s)
