"""Floods cost who sends them: joins, messages, sockets and headers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import httpx
import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.sockets.budgets import Sender, SharedBudget
from reference_server.realtime.standalone import create_app, create_service
from tests.integration.test_realtime_live import Client
from tests.support.golden import SECRET, serving

LIMITS = replace(
    Limits(),
    refusal_delay_s=0,
    upgrade_refusal_delay_s=0,
    joins_per_second=10,
    events_per_second=10,
    users=5,
    headers_s=0.5,
    address_share=0.8,
)


def token(sub: str) -> str:
    return jwt.encode({"role": "authenticated", "sub": sub, "exp": int(time.time()) + 3600}, SECRET, "HS256")


async def test_floods_cost_their_sender_alone(bare_db: str) -> None:
    """In one server: each flood, and a bystander of another user who joins, sends and receives beside it."""
    async with serving(create_app(create_service(bare_db, SECRET, limits=LIMITS))) as port:
        url = f"ws://127.0.0.1:{port}/realtime/v1/websocket?vsn=2.0.0&apikey="
        bystander = Client(await connect(url + token("bystander"), ping_interval=None))
        assert (await bystander.join("realtime:room", {"broadcast": {"self": True}}))[4]["status"] == "ok"
        # Unfinished headers end.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /realtime/v1/websocket HTTP/1.1\r\nhost: x\r\nx-a: ")
        async with asyncio.timeout(30):
            with pytest.raises(ConnectionError):
                assert await reader.read() == b""
                raise ConnectionResetError
        writer.close()
        # Messages of one user, over HTTP and in a batch, refused for that user only.
        headers = {"authorization": f"Bearer {token('flooder')}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as http:
            batch = {"messages": [{"topic": "other", "event": "e", "payload": {}}] * 5}
            answers = [(await http.post("/api/broadcast", json=batch)).status_code for _ in range(30)]
        assert answers[0] == 202
        assert answers[-1] == 429
        await bystander.push("realtime:room", "broadcast", {"event": "still", "payload": {}})
        assert (await bystander.next("broadcast"))[4]["event"] == "still"
        # Joins of one user, most of them refused.
        for _ in range(3):
            flooder = Client(await connect(url + token("flooder"), ping_interval=None))
            replies = [await flooder.join(f"realtime:{n}") for n in range(2)]
            if any(reply[4]["status"] == "error" for reply in replies):
                break
            await flooder.connection.close()
        assert (await bystander.join("realtime:second"))[4]["status"] == "ok"
        await flooder.connection.close()
        # Sockets without a channel.
        open_ones = []
        with pytest.raises(InvalidStatus) as refused:
            for _ in range(20):
                open_ones.append(await connect(url + token("idler"), ping_interval=None))
        assert refused.value.response.status_code == 429
        assert len(open_ones) == 2 * LIMITS.users * LIMITS.address_share
        await bystander.push("realtime:room", "broadcast", {"event": "still", "payload": {}})
        assert (await bystander.next("broadcast"))[4]["event"] == "still"
        for one in (*open_ones, bystander.connection):
            await one.close()


def test_what_is_refused_counts_for_its_sender_alone() -> None:
    budget = SharedBudget(per_second=10, user_share=0.5, address_share=0.8)
    flooder, neighbour, other = Sender("a", "flooder"), Sender("a", "neighbour"), Sender("b", "other")
    taken = [budget.take(1000.0, flooder) for _ in range(6_300)]
    assert taken == [True] * 5 + [False] * 6_295
    assert not budget.spent(1000.0, neighbour)  # of the same address
    assert [budget.take(1000.0, Sender("a", None)) for _ in range(9)] == [True] * 3 + [False] * 6
    assert budget.spent(1000.0, neighbour)  # now the address has had its share, and asked for more
    assert not budget.spent(1000.0, other)
    assert [budget.take(1000.0, other) for _ in range(3)] == [True] * 2 + [False]
    assert not budget.take(1000.0, Sender("c", None))  # now all is taken
    assert budget.take(1062.0, flooder)  # and forgotten after the window


def test_several_are_taken_together_or_not_at_all() -> None:
    budget = SharedBudget(per_second=10, user_share=1, address_share=1)
    sender = Sender("a", "b")
    assert not budget.take(0.0, sender, 500)
    assert budget.take(0.0, sender, 9)
    assert not budget.take(0.0, sender, 1)
