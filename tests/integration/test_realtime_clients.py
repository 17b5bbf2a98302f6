"""The official clients against our endpoint, on a real database."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from realtime import AsyncRealtimeClient, RealtimeSubscribeStates

from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.standalone import create_app, create_service
from tests.support.golden import SECRET, mint, prepare, serving
from tests.support.waiting import until

JS = Path(__file__).resolve().parents[1] / "js"
NODE = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "node"
LIMITS = replace(Limits(), refusal_delay_s=0.05, upgrade_refusal_delay_s=0)


@pytest.fixture
async def endpoint(bare_db: str) -> AsyncIterator[tuple[str, str]]:
    """(base URL, DSN) of a running endpoint on the tables of the recordings."""
    await prepare(bare_db)
    async with serving(create_app(create_service(bare_db, SECRET, limits=LIMITS))) as port:
        yield f"http://127.0.0.1:{port}", bare_db


@asynccontextmanager
async def python_client(base: str, token: str) -> AsyncIterator[AsyncRealtimeClient]:
    client = AsyncRealtimeClient(f"{base}/realtime/v1".replace("http", "ws"), token)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


async def test_python_client_receives_changes_broadcasts_and_presence(endpoint: tuple[str, str]) -> None:
    base, dsn = endpoint
    token = mint("authenticated:owner-a")
    changes: list[Any] = []
    systems: list[Any] = []
    broadcasts: list[Any] = []
    states: list[RealtimeSubscribeStates] = []
    async with python_client(base, token) as client, python_client(base, token) as other:
        channel = client.channel("room", {"config": {"broadcast": {"self": True, "ack": False}}})  # type: ignore[typeddict-item]
        channel.on_postgres_changes("*", changes.append, table="gf_items", schema="public")
        channel.on_system(systems.append)
        channel.on_broadcast("hello", broadcasts.append)
        await channel.subscribe(lambda state, _: states.append(state))
        await until(lambda: RealtimeSubscribeStates.SUBSCRIBED in states, "SUBSCRIBED")

        conn = await asyncpg.connect(dsn, timeout=10)
        await conn.execute("insert into public.gf_items (id, name, n) values (1, 'first', 7)")
        await conn.close(timeout=5)
        await until(lambda: changes, "the insert")
        assert changes[0]["data"]["record"] == {"id": 1, "name": "first", "n": 7, "details": None, "payload": None}

        await channel.send_broadcast("hello", {"from": "itself"})
        peer = other.channel("room", {"config": {"broadcast": {"self": False, "ack": False}}})  # type: ignore[typeddict-item]
        joined: list[RealtimeSubscribeStates] = []
        await peer.subscribe(lambda state, _: joined.append(state))
        await until(lambda: RealtimeSubscribeStates.SUBSCRIBED in joined, "SUBSCRIBED of the other")
        await peer.send_broadcast("hello", {"from": "other"})
        await until(lambda: len(broadcasts) == 2, "both broadcasts")
        assert [message["payload"]["from"] for message in broadcasts] == ["itself", "other"]
        assert any(getattr(system, "message", None) or "Subscribed" in str(system) for system in systems)

        await peer.unsubscribe()
        await until(lambda: peer.is_closed, "the end of the other's channel")

        # A second join of the same topic on one socket: the new channel must survive the end of the old one.
        with pytest.warns(DeprecationWarning, match="subscribe"):
            await channel.join()
        again = len(changes)
        conn = await asyncpg.connect(dsn, timeout=10)
        for number in range(2, 500):
            await conn.execute("insert into public.gf_items (id) values ($1)", number)
            if len(changes) > again:
                break
            await asyncio.sleep(0.02)
        await conn.close(timeout=5)
        assert len(changes) > again
        assert channel.is_joined


async def test_python_client_hears_of_a_bad_binding(endpoint: tuple[str, str]) -> None:
    base, _ = endpoint
    states: list[tuple[RealtimeSubscribeStates, Exception | None]] = []
    async with python_client(base, mint("authenticated:owner-a")) as client:
        channel = client.channel("room")
        channel.on_postgres_changes("*", print, table="no_such_table", schema="public")
        await channel.subscribe(lambda state, error: states.append((state, error)))
        await until(lambda: any(s is RealtimeSubscribeStates.CHANNEL_ERROR for s, _ in states), "CHANNEL_ERROR")


async def test_python_client_is_refused_a_private_channel_without_a_policy(endpoint: tuple[str, str]) -> None:
    base, _ = endpoint
    states: list[tuple[RealtimeSubscribeStates, Exception | None]] = []
    async with python_client(base, mint("authenticated:owner-a")) as client:
        channel = client.channel("none:x", {"config": {"private": True}})  # type: ignore[typeddict-item]
        await channel.subscribe(lambda state, error: states.append((state, error)))
        await until(lambda: states, "an answer")
        assert states[0][0] is RealtimeSubscribeStates.CHANNEL_ERROR
        assert "You do not have permissions to read" in str(states[0][1])


class Node:
    """The script's lines as they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def of(self, kind: str) -> list[Any]:
        return [line["data"] for line in self.lines if line["kind"] == kind]


@asynccontextmanager
async def javascript_client(*arguments: str) -> AsyncIterator[Node]:
    node = str(NODE) if NODE.exists() else shutil.which("node")
    assert node is not None, "node is missing: `make .venv/.ready` installs it from a wheel"
    assert (JS / "node_modules" / "@supabase").exists(), "run `make tests/js/node_modules/.ready`"
    process = await asyncio.create_subprocess_exec(
        node,
        str(JS / "subscribe.mjs"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )
    running = Node(process)
    reader = asyncio.create_task(running.read())
    try:
        yield running
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await reader


@pytest.mark.parametrize("topic", ["room", "rw:room"])
async def test_javascript_client(endpoint: tuple[str, str], topic: str) -> None:
    base, dsn = endpoint
    private = "private" if topic.startswith("rw:") else "public"
    async with javascript_client(base, mint("authenticated:owner-a"), topic, "gf_items", private) as node:
        await until(lambda: node.of("sent"), f"the broadcast's ack, after {node.lines}", 30)
        assert node.of("sent") == ["ok"]
        conn = await asyncpg.connect(dsn, timeout=10)
        await conn.execute("insert into public.gf_items (id, name) values (1, 'a')")
        await conn.execute("update public.gf_items set name = 'b' where id = 1")
        await conn.execute("delete from public.gf_items where id = 1")
        await conn.close(timeout=5)
        await until(lambda: len(node.of("change")) == 3, "three changes")
        assert [c["eventType"] for c in node.of("change")] == ["INSERT", "UPDATE", "DELETE"]
        assert node.of("change")[1]["new"]["name"] == "b"
        await until(lambda: node.of("tracked") == ["ok"], "track")
        await until(lambda: any(node.of("presence")), "presence")
        assert node.of("broadcast")[0]["payload"] == {"from": "js"}
        assert node.of("system")[0]["message"] == "Subscribed to PostgreSQL"
        assert [s["status"] for s in node.of("status")] == ["SUBSCRIBED"]
