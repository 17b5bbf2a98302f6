"""Joins, and connections with unfinished headers, by the hundred."""

from __future__ import annotations

import asyncio

from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.redteam.campaign import Outcome
from tests.redteam.target import Target, token


class Floods:
    name = "floods of joins and connections"
    promise = "Whoever floods is refused, and another user joins as before"

    async def run(self, target: Target, size: int) -> Outcome:
        outcome = Outcome()
        halves = [await asyncio.open_connection("127.0.0.1", target.port) for _ in range(30 * size)]
        for _, writer in halves:
            writer.write(b"GET /realtime/v1/websocket HTTP/1.1\r\nx-a: ")
            outcome.tried += 1
        try:
            async with target.socket(token("attacker")) as socket:
                for number in range(200 * size):
                    outcome.tried += 1
                    await socket.join(f"realtime:{number}")
        except (ConnectionClosed, InvalidStatus):
            pass  # refused, as it should be
        async with target.socket(token("newcomer")) as newcomer:
            await newcomer.join("realtime:newcomer", "")
            reply = await newcomer.until("phx_reply")
            if reply["status"] != "ok":
                outcome.broken.append(f"another user's join was refused: {reply['response']}")
        for _, writer in halves:
            writer.close()
        return outcome
