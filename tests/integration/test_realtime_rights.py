"""Who may take part in a private channel: the role of the token, and each right to receive by itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import httpx
import jwt
import pytest
from websockets.asyncio.client import connect

from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.standalone import create_app, create_service
from reference_server.replication.api_roles import refused
from tests.integration.test_realtime_live import ITEMS, Client
from tests.support.golden import SECRET, prepare, serving

LIMITS = replace(Limits(), refusal_delay_s=0, upgrade_refusal_delay_s=0)
# The claim `reads` names the extensions that the token may receive.
POLICIES = """
create policy reads on realtime.messages for select to authenticated
  using (realtime.topic() like 'by-claim:%' and auth.jwt() -> 'reads' ? extension);
create policy writes on realtime.messages for insert to authenticated
  with check (realtime.topic() like 'by-claim:%');
"""
TOPIC = "realtime:by-claim:room"
PRIVATE = {"private": True, "presence": {"enabled": True}}
NOT_FOR_CLIENTS = ("none", "postgres", "supabase_admin", "authenticator", "pg_read_all_data", "no_such_role", "anon\0")


def token(role: str, *reads: str, later: int = 0) -> str:
    claims = {"role": role, "reads": reads, "exp": int(time.time()) + 3600 + later}
    return jwt.encode(claims, SECRET, "HS256")


@dataclass
class Server:
    port: int
    dsn: str

    async def client(self, raw_token: str) -> Client:
        url = f"ws://127.0.0.1:{self.port}/realtime/v1/websocket?vsn=2.0.0&apikey={raw_token}"
        return Client(await connect(url, ping_interval=None, close_timeout=1))

    async def send(self, raw_token: str, event: str, *, batch: bool = False) -> httpx.Response:
        headers = {"authorization": f"Bearer {raw_token}"}
        topic = TOPIC.removeprefix("realtime:")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", headers=headers) as http:
            if batch:
                message = {"topic": topic, "event": event, "payload": {}, "private": True}
                return await http.post("/api/broadcast", json={"messages": [message]})
            return await http.post(f"/api/broadcast/{topic}/events/{event}?private=true", json={})


@pytest.fixture(scope="module")
async def server(databases: Any) -> AsyncIterator[Server]:
    async with databases.clone("bare") as dsn:
        await prepare(dsn)
        conn = await asyncpg.connect(dsn, timeout=10)
        await conn.execute(POLICIES)
        await conn.close(timeout=5)
        async with serving(create_app(create_service(dsn, SECRET, limits=LIMITS))) as port:
            yield Server(port, dsn)


async def test_roles_that_are_not_for_clients_are_refused_in_the_same_words_everywhere(server: Server) -> None:
    for role in NOT_FOR_CLIENTS:
        words, raw = refused(role), token(role, "broadcast", "presence")
        one = await server.client(raw)
        assert (await one.join(TOPIC, PRIVATE))[4] == {
            "status": "error",
            "response": {"reason": f"Unauthorized: {words}"},
        }
        assert (await one.join("realtime:changes", {"postgres_changes": ITEMS}))[4]["status"] == "ok"
        assert (await one.next("system"))[4]["message"] == words
        for batch in (False, True):
            answer = await server.send(raw, "x", batch=batch)
            assert (answer.status_code, answer.json()) == (403, {"message": words})
        await one.connection.close()


async def test_a_refresh_to_a_role_that_is_not_for_clients_ends_the_channel(server: Server) -> None:
    one = await server.client(token("authenticated", "broadcast"))
    assert (await one.join(TOPIC, PRIVATE))[4]["status"] == "ok"
    await one.push(TOPIC, "access_token", {"access_token": token("none", "broadcast")})
    assert (await one.next("system"))[4]["message"] == refused("none")
    assert (await one.next())[3] == "phx_close"
    await one.connection.close()


async def test_broadcasts_are_withheld_from_who_may_only_read_presence_until_a_refresh_gains_them(
    server: Server,
) -> None:
    one = await server.client(token("authenticated", "presence"))
    other = await server.client(token("authenticated", "broadcast"))
    assert (await one.join(TOPIC, {**PRIVATE, "broadcast": {"self": True}}))[4]["status"] == "ok"
    assert (await other.join(TOPIC, PRIVATE))[4]["status"] == "ok"
    # By socket, by HTTP alone and in a batch, and its own.
    await other.push(TOPIC, "broadcast", {"type": "broadcast", "event": "withheld", "payload": {}})
    sender = token("authenticated")
    assert (await server.send(sender, "withheld")).status_code == 202
    assert (await server.send(sender, "withheld", batch=True)).status_code == 202
    await one.push(TOPIC, "broadcast", {"type": "broadcast", "event": "withheld", "payload": {}})
    await one.push(TOPIC, "presence", {"type": "presence", "event": "track", "payload": {"mine": 1}})
    assert await _until_presence(one) == []  # its own diff comes after them all
    gained = token("authenticated", "presence", "broadcast")
    await one.push(TOPIC, "access_token", {"access_token": gained})
    await one.push(TOPIC, "presence", {"type": "presence", "event": "track", "payload": {"mine": 2}})
    assert await _until_presence(one) == []
    assert (await server.send(sender, "delivered", batch=True)).status_code == 202
    assert await _broadcasts(one, 1) == ["delivered"]
    assert await _broadcasts(other, 4) == ["withheld"] * 3 + ["delivered"]
    for each in (one, other):
        await each.connection.close()


@pytest.mark.parametrize("lost", ["broadcast", "presence"])
async def test_a_refresh_that_loses_a_right_to_receive_is_told_and_ends_the_channel(server: Server, lost: str) -> None:
    one = await server.client(token("authenticated", "broadcast", "presence"))
    assert (await one.join(TOPIC, PRIVATE))[4]["status"] == "ok"
    (kept,) = {"broadcast", "presence"} - {lost}
    await one.push(TOPIC, "access_token", {"access_token": token("authenticated", kept)})
    system = await one.next("system")
    assert (system[4]["status"], system[4]["message"]) == (
        "error",
        "You no longer have permission to read from this Channel topic: by-claim:room",
    )
    assert (await one.next())[3] == "phx_close"
    # What remains is enough to join again.
    assert (await one.join(TOPIC, {**PRIVATE}))[4]["status"] == "ok"
    await one.connection.close()


async def test_nothing_is_stored_by_asking(server: Server) -> None:
    conn = await asyncpg.connect(server.dsn, timeout=10)
    assert await conn.fetchval("select count(*) from realtime.messages") == 0
    await conn.close(timeout=5)


async def _until_presence(one: Client) -> list[str]:
    """The events of the broadcasts that came before the next presence_diff."""
    seen = []
    async with asyncio.timeout(30):
        while (frame := _read(await one.connection.recv()))[0] != "presence_diff":
            seen += [frame[1]] if frame[0] == "broadcast" else []
    return seen


async def _broadcasts(one: Client, count: int) -> list[str]:
    """The events of the next broadcasts."""
    seen: list[str] = []
    async with asyncio.timeout(30):
        while len(seen) < count:
            kind, event = _read(await one.connection.recv())
            seen += [event] if kind == "broadcast" else []
    return seen


def _read(frame: str | bytes) -> tuple[str, str]:
    """What kind of message it is, and the event of a broadcast. A broadcast whose body is bytes comes as kind 4."""
    if isinstance(frame, bytes):
        return "broadcast", next(word for word in ("withheld", "delivered") if word.encode() in frame)
    message = json.loads(frame)
    return message[3], message[4].get("event", "")
