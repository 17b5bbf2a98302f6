"""Many conditions and slow patterns on one socket, on rows of the attacker and of others."""

from __future__ import annotations

import asyncio

from tests.redteam.campaign import Outcome
from tests.redteam.target import Target, token

SLOW = "note=match.a(?=.*WORD)"
SLOW_TEXT = "a" * 40_000


class HostileFilters:
    name = "hostile filters"
    promise = "A socket's filters cost that socket, and tell nothing about rows of others"

    async def run(self, target: Target, size: int) -> Outcome:
        outcome = Outcome()
        for _ in range(size):
            async with target.socket(token("attacker")) as many, target.socket(token("attacker")) as slow:
                for topic in range(10):  # a thousand conditions
                    await many.join(f"realtime:{topic}", *(f"note=like.%{topic}{n}%x" for n in range(100)))
                for topic in range(12):
                    await slow.join(f"realtime:{topic}", SLOW)
                for socket, count in ((many, 10), (slow, 12)):
                    for _ in range(count):
                        await socket.until("system")
                outcome.tried += 22
                for _ in range(5):
                    await target.insert("somebody", SLOW_TEXT)
                mine = await target.insert("attacker", SLOW_TEXT)  # only now may anything be said
                async with asyncio.timeout(30):
                    told = await slow.until("system")
                if "longer than 100 ms" not in told["message"]:
                    outcome.broken.append(f"a slow filter on row {mine} was answered with: {told['message']}")
        return outcome
