"""The guide's flow over HTTP against real server processes: one, two, and roles apart."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any

import httpx
import websockets

from tests.support.server_process import running_server, token

API = "/api/articles/generation"
START = {"initial_keywords": ["テスト", "article"], "target_age_group": "30代", "persona_type": "主婦"}
ANSWERS: dict[str, dict[str, Any]] = {
    "select_persona": {"selected_id": 0},
    "select_theme": {"selected_index": 0},
    "approve_plan": {"approved": True},
    "approve_outline": {"approved": True},
}


async def state_when(
    http: httpx.AsyncClient, process_id: str, condition: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    """The state once it meets the condition."""
    async with asyncio.timeout(30):
        while True:
            answer = await http.get(f"{API}/{process_id}")
            assert answer.status_code == 200, answer.text
            if condition(answer.json()):
                return answer.json()
            await asyncio.sleep(0.02)


async def state_until(http: httpx.AsyncClient, process_id: str, *statuses: str) -> dict[str, Any]:
    return await state_when(http, process_id, lambda state: state["status"] in statuses)


async def finish(http: httpx.AsyncClient, process_id: str) -> list[str]:
    """Answer every prompt until the process is completed; the prompts that were put."""
    prompts = []
    while True:
        state = await state_until(http, process_id, "user_input_required", "completed", "error")
        if state["status"] != "user_input_required":
            assert state["status"] == "completed", state
            return prompts
        input_type = state["input_type"]
        assert state["prompt"]["data"], state
        prompts.append(input_type)
        body = {"response_type": input_type, "payload": ANSWERS[input_type]}
        answer = await http.post(f"{API}/{process_id}/user-input", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["input_type"] == input_type


async def start(http: httpx.AsyncClient, **body: Any) -> str:
    answer = await http.post(f"{API}/start", json=START | body)
    assert answer.status_code == 201, answer.text
    return answer.json()["process_id"]


async def events_of(http: httpx.AsyncClient, process_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        since = found[-1]["event_sequence"] if found else 0
        page = (await http.get(f"{API}/{process_id}/events", params={"since_sequence": since, "limit": 500})).json()
        if not page:
            return found
        found += page


async def test_the_whole_flow(emptied_db: str) -> None:
    async with running_server(emptied_db) as server, server.client() as http:
        process_id = await start(http)
        assert await finish(http, process_id) == list(ANSWERS)
        state = (await http.get(f"{API}/{process_id}")).json()
        assert (state["progress_percentage"], state["current_step"]) == (100, "completed")
        article = (await http.get(f"/api/articles/{state['article_id']}")).json()
        assert article["generation_process_id"] == process_id
        assert article["title"] in article["content"]
        events = await events_of(http, process_id)
        assert [event["event_sequence"] for event in events] == list(range(1, len(events) + 1))
        assert events[-1]["event_sequence"] == state["last_event_sequence"]
        assert [event["event_type"] for event in events].count("generation_completed") == 1
        metrics = (await http.get("/metrics")).text
        assert 'tasks_ended_total{outcome="completed"}' in metrics
        assert f"process_events_appended_total {len(events)}.0" in metrics
        assert 'http_request_duration_seconds_count{method="POST",route="/api/articles/generation/start"' in metrics
        assert process_id not in metrics


async def test_two_processes_on_one_database(emptied_db: str) -> None:
    async with (
        running_server(emptied_db) as one,
        running_server(emptied_db) as two,
        one.client() as http_one,
        two.client() as http_two,
    ):
        made = await asyncio.gather(*(start(http, num_theme_proposals=2) for http in (http_one, http_two) * 2))
        # Each is steered through the other server than it was started on.
        await asyncio.gather(*(finish(http, made[i]) for i, http in enumerate((http_two, http_one) * 2)))
        for process_id in made:
            types = [event["event_type"] for event in await events_of(http_one, process_id)]
            assert types.count("generation_completed") == 1


async def test_roles_apart(emptied_db: str) -> None:
    async with (
        running_server(emptied_db, "--role", "api") as api,
        running_server(emptied_db, "--role", "worker") as worker,
        running_server(emptied_db, "--role", "realtime") as realtime,
        api.client() as http,
    ):
        process_id = await start(http, auto_mode=True)
        assert await finish(http, process_id) == []
        async with httpx.AsyncClient(timeout=10) as plain:
            for url, off in (
                (api.url, {"replication", "workers"}),
                (worker.url, {"replication"}),
                (realtime.url, {"workers"}),
            ):
                checks = (await plain.get(f"{url}/health/ready")).json()["checks"]
                assert {name for name, check in checks.items() if check["status"] == "off"} == off, checks
            assert (await plain.get(f"{worker.url}{API}")).status_code == 404
            assert (await plain.get(f"{realtime.url}{API}")).status_code == 404
            assert (await plain.get(f"{realtime.url}/realtime/v1/health")).status_code == 200
            assert (await plain.get(f"{api.url}/realtime/v1/health")).status_code == 404


async def test_sigterm_gives_work_back_and_another_server_finishes_it(emptied_db: str) -> None:
    slow = {"WRITER_STEP_LATENCY_MS": "3000", "SHUTDOWN_GRACE_SECONDS": "2"}
    async with running_server(emptied_db) as second, second.client() as http:
        # The second server works too: the first is given the process by working alone at first.
        second.signal(signal.SIGSTOP)
        async with running_server(emptied_db, env=slow) as first:
            async with first.client() as http_first:
                process_id = await start(http_first)
                await state_when(http_first, process_id, lambda state: state["executing_step"])
            first.signal(signal.SIGTERM)
            assert await first.wait(15) == 0
        second.signal(signal.SIGCONT)
        await finish(http, process_id)


async def test_sigterm_tells_realtime_clients_to_come_back(emptied_db: str) -> None:
    async with running_server(emptied_db) as server, server.client() as http:
        process_id = await start(http)
        url = f"{server.ws_url}/realtime/v1/websocket?vsn=1.0.0&apikey={token()}"
        async with websockets.connect(url, open_timeout=10) as socket:
            changes = [
                {
                    "event": "INSERT",
                    "schema": "public",
                    "table": "process_events",
                    "filter": f"process_id=eq.{process_id}",
                }
            ]
            config = {"config": {"postgres_changes": changes}, "access_token": token()}
            topic = f"realtime:process_{process_id}"
            await socket.send(
                json.dumps({"topic": topic, "event": "phx_join", "payload": config, "ref": "1", "join_ref": "1"})
            )
            await received(socket, lambda frame: frame["event"] == "phx_reply" and frame["payload"]["status"] == "ok")
            created = await http.post(f"{API}/{process_id}/test-event", json={"message": "hello"})
            change = await received(
                socket,
                lambda frame: (
                    frame["event"] == "postgres_changes"
                    and frame["payload"]["data"]["record"]["event_type"] == "test_event"
                ),
            )
            record = change["payload"]["data"]["record"]
            assert record["event_sequence"] == created.json()["event_sequence"]
            server.signal(signal.SIGTERM)
            async with asyncio.timeout(15):
                await socket.wait_closed()
            assert socket.close_code == 1012
        assert await server.wait() == 0


async def received(socket: websockets.ClientConnection, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The first frame that is wanted."""
    async with asyncio.timeout(15):
        while not wanted(frame := json.loads(await socket.recv())):
            pass
        return frame
