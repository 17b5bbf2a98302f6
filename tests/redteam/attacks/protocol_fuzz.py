"""Frames that are no messages, or messages of the wrong shape; the same ones each time."""

from __future__ import annotations

import json
import random
from typing import Any

from websockets.exceptions import ConnectionClosed

from tests.redteam.campaign import Outcome
from tests.redteam.target import Target, token

PIECES: tuple[Any, ...] = (None, "", "1", "realtime:x", "phx_join", {}, [], {"config": {}}, 1e308, -1, True, "\ud800")


class ProtocolFuzz:
    name = "protocol fuzz"
    promise = "A frame of any shape is answered or ignored, and the server goes on"

    async def run(self, target: Target, size: int) -> Outcome:
        outcome, chance = Outcome(), random.Random(14)
        for _ in range(2 * size):
            try:
                async with target.socket(token("attacker")) as socket:
                    for _ in range(100):
                        outcome.tried += 1
                        await socket.connection.send(_frame(chance))
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd.code == 1011:
                    outcome.broken.append("a frame was answered with an internal error")
        return outcome


def _frame(chance: random.Random) -> str | bytes:
    match chance.randrange(4):
        case 0:
            return bytes(chance.randrange(256) for _ in range(chance.randrange(64)))
        case 1:
            return "[" * chance.randrange(2_000)
        case 2:
            return json.dumps([chance.choice(PIECES) for _ in range(chance.randrange(8))])
        case _:
            bindings = [{"table": chance.choice(PIECES), "filter": chance.choice(PIECES)}]
            config = {"postgres_changes": chance.choice((bindings, *PIECES)), "broadcast": chance.choice(PIECES)}
            return json.dumps(["1", "1", "realtime:x", "phx_join", {"config": config}])
