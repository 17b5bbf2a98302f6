"""Waiting for a condition, with a deadline and a name for what did not happen."""

from __future__ import annotations

import asyncio
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
