"""Clients that subscribe and read nothing while large rows of theirs are written."""

from __future__ import annotations

from contextlib import AsyncExitStack

from tests.redteam.campaign import Outcome
from tests.redteam.target import Target, token

MOST_MB = 600.0


class SlowReaders:
    name = "slow readers"
    promise = "Who reads nothing is cut off within bounds of memory"

    async def run(self, target: Target, size: int) -> Outcome:
        outcome = Outcome()
        async with AsyncExitStack() as stack:
            for _ in range(3):
                socket = await stack.enter_async_context(target.socket(token("attacker")))
                await socket.join("realtime:slow", "")
                await socket.until("system")
                socket.connection.transport.pause_reading()
            for _ in range(20 * size):
                outcome.tried += 1
                await target.insert("attacker", "x" * 200_000)
            if (used := target.memory_mb()) > MOST_MB:
                outcome.broken.append(f"the endpoint uses {used:.0f} MB")
            stack.pop_all()  # nobody answers a close
        return outcome
