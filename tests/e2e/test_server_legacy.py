"""The legacy transport through real sockets: before the migration, during it, after it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import asyncpg
import pytest
import websockets

from tests.e2e.test_server_flow import ANSWERS, API, START, finish, state_until
from tests.support.databases import Databases
from tests.support.server_process import RunningServer, apply_migrations, running_server, token
from toolkit.resources import migrations_dir

LEGACY = {"GENERATION_TRANSPORT": "websocket"}


class Client:
    """A legacy client that remembers every frame."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any]:
        """The payload of the next server event."""
        async with asyncio.timeout(20):
            while True:
                frame = json.loads(await self.socket.recv())
                if frame["type"] == "server_event":
                    self.frames.append(frame["payload"])
                    return frame["payload"]

    async def until(self, key: str) -> dict[str, Any]:
        while key not in (payload := await self.next()):
            assert "error_message" not in payload or key == "error_message", payload
        return payload

    async def answer(self, response_type: str, payload: dict[str, Any]) -> None:
        frame = {"type": "client_response", "response_type": response_type, "payload": payload}
        await self.socket.send(json.dumps(frame))

    async def finish(self) -> dict[str, Any]:
        """Answer every prompt until the final frame."""
        payload = self.frames[-1] if self.frames else await self.next()
        while True:
            assert "error_message" not in payload, payload
            if "request_type" in payload:
                await self.answer(payload["request_type"], ANSWERS[payload["request_type"]])
            if "final_html_content" in payload:
                return payload
            payload = await self.next()

    async def closed(self) -> tuple[int, str]:
        async with asyncio.timeout(20):
            await self.socket.wait_closed()
        return self.socket.close_code or 0, self.socket.close_reason or ""


def connect(
    server: RunningServer, process_id: str | None = None, *, sub: str = "user_1", ttl_s: int = 3600, **query: str
) -> Any:
    query |= {"process_id": process_id} if process_id else {}
    return websockets.connect(
        f"{server.ws_url}/api/articles/ws/generate?{urlencode(query)}",
        additional_headers={"Authorization": f"Bearer {token(sub, ttl_s=ttl_s)}"},
        open_timeout=10,
    )


async def begin(socket: websockets.ClientConnection, **body: Any) -> tuple[Client, str]:
    client = Client(socket)
    await socket.send(json.dumps(START | body))
    return client, (await client.until("process_id"))["process_id"]


@pytest.fixture(scope="module")
async def shared_db(databases: Databases) -> AsyncIterator[str]:
    async with databases.clone("legacy") as dsn:
        yield dsn


@pytest.fixture(scope="module")
async def legacy_server(shared_db: str) -> AsyncIterator[RunningServer]:
    """A server with default settings on the legacy schema, for tests that do not stop it."""
    async with running_server(shared_db, env=LEGACY) as server:
        yield server


async def test_a_whole_generation_before_the_migration(legacy_server: RunningServer) -> None:
    async with legacy_server.client("whole") as http:
        async with connect(legacy_server, sub="whole") as socket:
            client, process_id = await begin(socket)
            final = await client.finish()
            assert await client.closed() == (1000, "completed")
        state = (await http.get(f"/api/articles/generation/{process_id}")).json()
        assert state["status"] == "completed"
        assert state["progress_percentage"] == 100
        assert state["transport"] == "websocket"
        assert state["realtime_channel"] is None
        article = (await http.get(f"/api/articles/{final['article_id']}")).json()
        assert article["title"] == final["title"]
        assert article["content"] == final["final_html_content"]
        assert article["generation_process_id"] == process_id
        ready = (await http.get("/health/ready")).json()
        assert ready["status"] == "ready"
        assert ready["checks"]["replication"]["status"] == "off"
        listed = (await http.get("/api/articles/generation")).json()
        assert [process["process_id"] for process in listed["processes"]] == [process_id]
        sections = [frame for frame in client.frames if "section_index" in frame]
        for index in {frame["section_index"] for frame in sections}:
            mine = [frame for frame in sections if frame["section_index"] == index]
            assert "".join(frame["html_content_chunk"] for frame in mine) == mine[-1]["section_complete_content"]
        progress = [frame["progress_percentage"] for frame in client.frames if "progress_percentage" in frame]
        assert progress == sorted(progress)


async def test_image_mode_and_auto_mode(legacy_server: RunningServer) -> None:
    async with connect(legacy_server) as socket:
        client, _ = await begin(socket, image_mode=True, auto_mode=True, flow_type="outline_first")
        await client.until("final_html_content")
        assert not any("request_type" in frame for frame in client.frames)
        sections = [frame for frame in client.frames if "section_index" in frame]
        assert all(frame["is_image_mode"] and frame["is_complete"] for frame in sections)
        assert any(frame["image_placeholders"] for frame in sections)


WRONG_ANSWERS = (
    ("select_persona", {"selected_id": 99}, "from 0 to 2"),
    ("select_theme", {"selected_index": 0}, "expected select_persona"),
    ("edit_and_proceed", {"edited_content": {}}, "empty"),
    ("dance", {}, "expected select_persona"),
)
NO_FRAMES = ("", "[]", "{", '{"type": "hello"}', '{"type": "client_response"}', '"\\ud800"')


async def test_wrong_answers_and_frames_leave_the_prompt_open(legacy_server: RunningServer) -> None:
    async with connect(legacy_server) as socket:
        client, _ = await begin(socket)
        await client.until("request_type")
        for response_type, payload, said in WRONG_ANSWERS:
            await client.answer(response_type, payload)
            assert said in (await client.until("error_message"))["error_message"]
        for frame in NO_FRAMES:
            await socket.send(frame)
            await client.until("error_message")
        await client.answer("regenerate", {})
        assert (await client.until("request_type"))["request_type"] == "select_persona"
        await client.answer("select_persona", {"selected_id": 1})
        assert (await client.until("request_type"))["request_type"] == "select_theme"


async def test_a_client_that_comes_back_is_asked_again(legacy_server: RunningServer) -> None:
    async with connect(legacy_server) as socket:
        client, process_id = await begin(socket)
        asked = await client.until("request_type")
    async with connect(legacy_server, process_id) as socket:
        client = Client(socket)
        assert await client.until("request_type") == asked
        await client.finish()


async def test_the_newer_socket_wins_also_on_another_server(shared_db: str, legacy_server: RunningServer) -> None:
    quick = LEGACY | {"LEGACY_HEARTBEAT_SECONDS": "0.2"}
    async with running_server(shared_db, env=quick) as other, connect(other) as first:
        client, process_id = await begin(first)
        await client.until("request_type")
        async with connect(other, process_id) as second:
            assert await client.closed() == (1008, "superseded")
            replaced = Client(second)
            await replaced.until("request_type")
            async with connect(legacy_server, process_id) as third:
                newest = Client(third)
                await newest.until("request_type")
                assert await replaced.closed() == (1008, "superseded")
                await newest.finish()


async def test_work_that_needs_nobody_goes_on_without_a_client(legacy_db: str) -> None:
    env = LEGACY | {"WRITER_STEP_LATENCY_MS": "30"}
    async with running_server(legacy_db, env=env) as server, server.client() as http:
        async with connect(server) as socket:
            client, process_id = await begin(socket, flow_type="outline_first")
            while (asked := (await client.until("request_type"))["request_type"]) != "approve_plan":
                await client.answer(asked, ANSWERS[asked])
            await client.answer("approve_plan", {"approved": True})
            await client.until("query_index")
        state = await state_until(http, process_id, "completed")
        assert (await http.get(f"/api/articles/{state['article_id']}")).status_code == 200


async def test_other_work_pauses_without_a_client_and_goes_on_with_it(legacy_db: str) -> None:
    env = LEGACY | {"WRITER_STEP_LATENCY_MS": "300"}
    async with running_server(legacy_db, env=env) as server, server.client() as http:
        async with connect(server) as socket:
            _, process_id = await begin(socket)
        state = await state_until(http, process_id, "paused")
        assert state["current_step"] == "keyword_analyzing"
        async with connect(server, process_id) as socket:
            client = Client(socket)
            assert (await client.until("request_type"))["request_type"] == "select_persona"


async def test_a_silent_client_loses_its_generation(legacy_db: str) -> None:
    env = LEGACY | {"LEGACY_IDLE_SECONDS": "0.5", "LEGACY_HEARTBEAT_SECONDS": "0.1"}
    async with running_server(legacy_db, env=env) as server, server.client() as http, connect(server) as socket:
        client, process_id = await begin(socket)
        await client.until("request_type")
        async with asyncio.timeout(10):
            while json.loads(await socket.recv())["type"] != "heartbeat":
                pass
        await client.until("error_message")
        assert await client.closed() == (1000, "idle_timeout")
        assert (await state_until(http, process_id, "cancelled"))["status"] == "cancelled"
        async with connect(server, process_id) as again:
            assert await Client(again).closed() == (1008, "process_over")


async def test_who_is_refused(legacy_server: RunningServer) -> None:
    async with connect(legacy_server) as socket:
        _, process_id = await begin(socket)
    url = f"{legacy_server.ws_url}/articles/ws/generate"
    cases = [
        (url, None, "token_missing"),
        (f"{url}?token=nonsense", None, "token_malformed"),
        (f"{url}?token={token(ttl_s=-5)}", None, "token_expired"),
        (f"{url}?token={token(None, 'anon')}", None, "role_not_allowed"),
        (f"{url}?token={token('user_2')}&process_id={process_id}", None, "process_not_found"),
        (f"{url}?token={token()}&process_id=7", None, "invalid_process_id"),
        (f"{url}?token={token()}", "{}", "validation_failed"),
        (f"{url}?token={token()}", '{"initial_keywords": ["x"], "type": "start"}', "validation_failed"),
        (f"{url}?token={token()}", "no json", "validation_failed"),
        (f"{url}?token={token(None, 'service_role')}", '{"initial_keywords": ["x"]}', "user_required"),
    ]
    for address, first, reason in cases:
        async with websockets.connect(address, open_timeout=10) as socket:
            if first is not None:
                await socket.send(first)
            client = Client(socket)
            assert (await client.next())["error_message"]
            assert await client.closed() == (1008, reason), address


async def test_an_open_socket_ends_with_its_token_and_the_next_one_goes_on(legacy_server: RunningServer) -> None:
    async with connect(legacy_server, ttl_s=3) as socket, connect(legacy_server, ttl_s=3) as silent:
        client, process_id = await begin(socket)
        await client.until("request_type")
        assert "token has expired" in (await client.until("error_message"))["error_message"]
        assert await client.closed() == (1008, "token_expired")
        assert "token has expired" in (await Client(silent).until("error_message"))["error_message"]
    async with connect(legacy_server, process_id) as socket:
        assert (await Client(socket).until("request_type"))["request_type"] == "select_persona"


async def test_a_generation_of_an_organization(shared_db: str, legacy_server: RunningServer) -> None:
    conn = await asyncpg.connect(shared_db, timeout=10)
    organization = await conn.fetchval("insert into organizations (name, owner_user_id) values ('o', 'u') returning id")
    await conn.execute("insert into organization_members values ($1, 'member')", organization)
    await conn.close(timeout=5)
    async with connect(legacy_server, sub="member", organization_id=str(organization)) as socket:
        _, process_id = await begin(socket)
    async with legacy_server.client("member") as http:
        listed = (await http.get(API)).json()["processes"]
    assert [(p["process_id"], p["organization_id"]) for p in listed] == [(process_id, str(organization))]
    for sub, wanted, reason in (
        ("stranger", str(organization), "organization_not_found"),
        ("member", "potato", "invalid_organization_id"),
    ):
        async with connect(legacy_server, sub=sub, organization_id=wanted) as socket:
            client = Client(socket)
            assert "error_message" in await client.next()
            assert await client.closed() == (1008, reason)


async def test_the_flag_forbids_new_runs_and_lets_running_ones_end(migrated_db: str) -> None:
    both = {"GENERATION_TRANSPORT": "both"}
    async with running_server(migrated_db, env=both) as server, server.client() as http:
        async with connect(server) as socket:
            client, process_id = await begin(socket)
            await client.until("request_type")
            async with server.client(None, "service_role") as operator:
                assert (
                    await operator.put("/api/internal/transport", json={"transport": "realtime"})
                ).status_code == 200
            async with connect(server) as refused:
                assert await Client(refused).closed() == (1008, "transport_unavailable")
            for command in ("pause", "resume"):
                answer = await http.post(f"{API}/{process_id}/{command}")
                assert (answer.status_code, answer.json()["error"]["code"]) == (409, "other_transport")
            assert (await http.delete(f"{API}/{process_id}")).status_code == 409
            await client.finish()
        realtime = (await http.post(f"{API}/start", json=START)).json()["process_id"]
        async with connect(server, realtime) as socket:
            assert await Client(socket).closed() == (1008, "other_transport")
        # The triggers recorded the legacy process too.
        page = (await http.get(f"{API}/{process_id}/events", params={"limit": 500})).json()
        assert [event["event_sequence"] for event in page] == list(range(1, len(page) + 1))
        assert page[-1]["event_source"] == "database_trigger"


async def test_a_generation_lives_through_the_migration(legacy_db: str) -> None:
    env = LEGACY | {"WRITER_STEP_LATENCY_MS": "20", "SCHEMA_POLL_SECONDS": "0.2"}
    async with running_server(legacy_db, env=env) as server, server.client() as http:
        async with connect(server) as one, connect(server) as two:
            waiting, first = await begin(one)
            working, second = await begin(two, auto_mode=True)
            await waiting.until("request_type")
            ending = asyncio.create_task(working.until("final_html_content"))
            await apply_migrations(legacy_db)
            await ending
            await waiting.finish()
        for process_id in (first, second):
            assert (await http.get(f"{API}/{process_id}")).json()["status"] == "completed"
            page = (await http.get(f"{API}/{process_id}/events", params={"limit": 500})).json()
            assert [event["event_sequence"] for event in page] == list(range(1, len(page) + 1))
        # The server noticed the migration: its worker and Realtime run, and the flag can be switched.
        async with asyncio.timeout(20):
            while (await http.get("/health/ready")).json()["checks"]["replication"]["status"] != "ok":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        async with server.client(None, "service_role") as operator:
            assert (await operator.put("/api/internal/transport", json={"transport": "both"})).status_code == 200
        started = await http.post(f"{API}/start", json=START | {"auto_mode": True})
        await state_until(http, started.json()["process_id"], "completed")


async def test_a_generation_whose_server_died_goes_on_by_socket_or_by_worker(legacy_db: str) -> None:
    env = LEGACY | {"WRITER_STEP_LATENCY_MS": "200", "LEGACY_HEARTBEAT_SECONDS": "0.3"}
    async with running_server(legacy_db, env=env) as server, connect(server) as one, connect(server) as two:
        _, by_socket = await begin(one)
        _, by_worker = await begin(two)
        server.process.kill()
        await server.wait()
    async with running_server(legacy_db, env=LEGACY) as server, connect(server, by_socket) as socket:
        await Client(socket).finish()
    await apply_migrations(legacy_db)
    quick = {"GENERATION_TRANSPORT": "both", "LEGACY_HEARTBEAT_SECONDS": "0.3"}
    async with running_server(legacy_db, env=quick) as server, server.client() as http:
        async with asyncio.timeout(10):
            while (answer := await http.post(f"{API}/{by_worker}/resume")).status_code == 409:
                assert answer.json()["error"]["code"] == "other_transport"  # until the dead run counts as gone
                await asyncio.sleep(0.1)
        assert answer.json()["status"] == "resuming"
        await finish(http, by_worker)
        assert (await http.get(f"{API}/{by_worker}")).json()["transport"] == "realtime"


async def test_shutdown_closes_sockets_with_1012_and_leaves_what_can_be_resumed(legacy_db: str) -> None:
    env = LEGACY | {"WRITER_STEP_LATENCY_MS": "500"}
    async with running_server(legacy_db, env=env) as server, connect(server) as socket:
        client, process_id = await begin(socket)
        server.signal(signal.SIGTERM)
        assert (await client.closed())[0] == 1012
        assert await server.wait() == 0
    row = await fetch(legacy_db, "select status::text, process_metadata from generated_articles_state")
    assert (row["status"], "runner" in row["process_metadata"]) == ("paused", False)
    async with running_server(legacy_db, env=LEGACY) as server, connect(server, process_id) as socket:
        await Client(socket).finish()


async def fetch(dsn: str, statement: str) -> asyncpg.Record:
    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        return await conn.fetchrow(statement)
    finally:
        await conn.close()


async def test_a_database_rollback_under_a_running_server(migrated_db: str) -> None:
    """The flag goes back to websocket, the database back to the legacy schema; the legacy transport never stops."""
    env = {"GENERATION_TRANSPORT": "both", "SCHEMA_POLL_SECONDS": "0.2"}
    async with running_server(migrated_db, env=env) as server, server.client() as http:
        async with server.client(None, "service_role") as operator:
            assert (await operator.put("/api/internal/transport", json={"transport": "websocket"})).status_code == 200
        async with connect(server) as socket:
            client, process_id = await begin(socket)
            await client.until("request_type")
            await roll_back(migrated_db)
            await client.finish()
        async with asyncio.timeout(10):
            while (await http.get("/health/ready")).json()["checks"]["workers"]["status"] != "off":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        ready = await http.get("/health/ready")
        assert (ready.status_code, ready.json()["checks"]["database"]["schema"]) == (200, "legacy")
        assert (await http.get(f"{API}/{process_id}")).json()["status"] == "completed"
        assert (await http.post(f"{API}/{process_id}/pause")).json()["error"]["code"] == "schema_not_migrated"


async def test_writes_wait_for_a_migration_that_holds_its_lock(legacy_db: str) -> None:
    """A lock held longer than a statement's deadline: the write is repeated and nothing is lost."""
    env = LEGACY | {"DATABASE_DEADLINE_SECONDS": "0.3"}
    async with running_server(legacy_db, env=env) as server, connect(server) as socket:
        client, _ = await begin(socket)
        await client.until("request_type")
        conn = await asyncpg.connect(legacy_db, timeout=10)
        try:
            async with conn.transaction():
                await conn.execute("lock table generated_articles_state in access exclusive mode")
                await client.answer("select_persona", {"selected_id": 0})
                await repeated(server)
        finally:
            await conn.close()
        client.frames.clear()
        await client.finish()


async def repeated(server: RunningServer) -> None:
    """Until the server has said that it repeats a write."""
    async with asyncio.timeout(15):
        while "a write is repeated" not in server.log:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def roll_back(dsn: str) -> None:
    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        for file in sorted((migrations_dir() / "rollbacks").glob("*.sql"), reverse=True)[:2]:
            text = file.read_text()
            parts = text.split(";\n") if "-- toolkit: transaction=false" in text else [text]
            for statement in filter(str.strip, parts):
                await conn.execute(statement)
    finally:
        await conn.close(timeout=5)


async def test_a_failed_generation_says_so_and_is_resumed(legacy_db: str) -> None:
    async with running_server(legacy_db, env=LEGACY | {"WRITER_FAILURE_RATE": "1"}) as server, server.client() as http:
        async with connect(server) as socket:
            client, process_id = await begin(socket)
            failed = await client.until("error_message")
            assert failed["step"] == "keyword_analyzing"
            assert await client.closed() == (1000, "error")
        state = await state_until(http, process_id, "error")
        assert state["error_message"] == failed["error_message"]
        metrics = (await http.get("/metrics")).text
        assert 'legacy_generations_total{outcome="error"} 1.0' in metrics
    async with running_server(legacy_db, env=LEGACY) as server, connect(server, process_id) as socket:
        await Client(socket).finish()
