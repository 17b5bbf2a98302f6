"""What the routes answer, on the migrated schema, with the tables looked at."""

from __future__ import annotations

import contextlib
import uuid

import httpx
import psycopg2
import pytest

from reference_server.api.server_context import ServerContext
from reference_server.store import reads
from tests.integration.api.conftest import client_of, code_of, started

API = "/api/articles/generation"
NOBODY = "00000000-0000-4000-8000-000000000000"


async def test_start_answers_as_the_guide_says(owner: httpx.AsyncClient, server: ServerContext) -> None:
    body = {"initial_keywords": ["a", "b"], "target_age_group": "30代", "persona_type": "主婦", "image_mode": False}
    answer = await owner.post(f"{API}/start", json=body)
    assert answer.status_code == 201
    found = answer.json()
    process_id = found["process_id"]
    assert found["status"] == "started"
    assert found["realtime_channel"] == f"process_{process_id}"
    assert found["subscription_info"] == {
        "table": "process_events",
        "filter": f"process_id=eq.{process_id}",
        "channel": f"process_{process_id}",
    }
    tasks = await server.pool.fetch("select task_type, status from background_tasks where process_id = $1", process_id)
    assert [tuple(task) for task in tasks] == [("generation_start", "pending")]
    state = (await owner.get(f"{API}/{process_id}")).json()
    assert (state["status"], state["transport"]) == ("in_progress", "realtime")
    assert state["last_event_sequence"] >= 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "initial_keywords"),
        ({"initial_keywords": []}, "initial_keywords"),
        ({"initial_keywords": ["  "]}, "initial_keywords.0"),
        ({"initial_keywords": ["x"] * 21}, "initial_keywords"),
        ({"initial_keywords": ["x"], "target_age_group": "5代"}, "target_age_group"),
        ({"initial_keywords": ["x"], "persona_type": "robot"}, "persona_type"),
        ({"initial_keywords": ["x"], "persona_type": "その他"}, "custom_persona"),
        ({"initial_keywords": ["x"], "target_length": 99}, "target_length"),
        ({"initial_keywords": ["x"], "num_theme_proposals": 0}, "num_theme_proposals"),
        ({"initial_keywords": ["x"], "num_theme_proposals": True}, "num_theme_proposals"),
        ({"initial_keywords": ["x"], "num_research_queries": 11}, "num_research_queries"),
        ({"initial_keywords": ["x"], "image_mode": "yes"}, "image_mode"),
        ({"initial_keywords": ["x"], "flow_type": "sideways"}, "flow_type"),
        ({"initial_keywords": ["x"], "style_template_id": "7"}, "style_template_id"),
        ({"initial_keywords": ["x"], "surprise": 1}, "surprise"),
        ({"initial_keywords": ["x\u0000"]}, "U+0000"),
        ({"initial_keywords": ["x"], "image_settings": {"a": 2**70}}, "64 bits"),
    ],
)
async def test_a_wrong_start_request_names_what_is_wrong(caller: httpx.AsyncClient, body: dict, field: str) -> None:
    answer = await caller.post(f"{API}/start", json=body)
    assert answer.status_code == 422
    assert code_of(answer) == "validation_failed"
    assert field in str(answer.json()["error"]["details"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"initial_keywords": ["\\ud800"]}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"initial_keywords":[NaN]}',
        b"null",
    ],
)
async def test_a_body_that_is_no_usable_json_is_422(caller: httpx.AsyncClient, content: bytes) -> None:
    answer = await caller.post(f"{API}/start", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert code_of(answer) in ("invalid_json", "validation_failed")


@pytest.mark.parametrize("declared", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
async def test_json_that_is_not_declared_as_json_is_415(caller: httpx.AsyncClient, declared: str | None) -> None:
    headers = {} if declared is None else {"content-type": declared}
    process_id = await started(caller)
    for path, content in (
        ("start", b'{"initial_keywords": ["x"]}'),
        (f"{process_id}/test-event", b'{"message": "x"}'),  # a body that may be left out
    ):
        answer = await caller.post(f"{API}/{path}", content=content, headers=headers)
        assert (answer.status_code, code_of(answer)) == (415, "unsupported_media_type")
        assert answer.json()["error"]["remedy"] == "Send Content-Type: application/json."


@pytest.mark.parametrize("declared", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"])
async def test_json_that_is_declared_as_json_is_read(caller: httpx.AsyncClient, declared: str) -> None:
    content = b'{"initial_keywords": ["x"]}'
    answer = await caller.post(f"{API}/start", content=content, headers={"content-type": declared})
    assert answer.status_code == 201, answer.text


async def test_a_style_template_of_somebody_else_and_an_unknown_one_are_404(
    owner: httpx.AsyncClient, server: ServerContext
) -> None:
    theirs = await server.pool.fetchval(
        "insert into style_guide_templates (user_id, name) values ('boss', 't') returning id"
    )
    for template in (str(theirs), NOBODY):
        answer = await owner.post(f"{API}/start", json={"initial_keywords": ["x"], "style_template_id": template})
        assert (answer.status_code, code_of(answer)) == (404, "style_template_not_found")


async def test_event_types_are_open(owner: httpx.AsyncClient, server: ServerContext) -> None:
    process_id = await started(owner)
    await server.pool.execute("select create_process_event($1, 'Ours: Möbel/1', '{}')", uuid.UUID(process_id))
    for names, found in (("Ours: Möbel/1", 1), ("nope", 0)):
        answer = await owner.get(f"{API}/{process_id}/events", params={"event_types": names})
        assert (answer.status_code, len(answer.json())) == (200, found), answer.text


async def test_a_read_survives_connections_that_broke_unseen(owner: httpx.AsyncClient, server: ServerContext) -> None:
    process_id = await started(owner)
    # Not over asyncpg: the event loop must have no turn in which to notice that its connections are gone.
    with contextlib.closing(psycopg2.connect(server.settings.dsn)) as other, other.cursor() as cursor:
        cursor.execute(
            "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
        assert cursor.fetchone() != (0,)
    access = await reads.process_access(server.pool, uuid.UUID(process_id), "owner")
    assert access is not None
    assert access.user_id == "owner"


async def test_a_body_above_the_limit_is_413(caller: httpx.AsyncClient, shared_server: ServerContext) -> None:
    async def endless():
        for _ in range(40):
            yield b" " * 65_536

    for content in (b"x" * (shared_server.settings.request_max_bytes + 1), endless()):
        answer = await caller.post(f"{API}/start", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert code_of(answer) == "payload_too_large"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "route_not_found"),
        ("PATCH", API, 405, "method_not_allowed"),
        ("GET", f"{API}/not-a-uuid", 422, "validation_failed"),
        ("GET", f"{API}/{NOBODY}", 404, "not_found"),
        ("DELETE", f"{API}/{NOBODY}", 404, "not_found"),
        ("GET", f"/api/articles/{NOBODY}", 404, "not_found"),
        ("GET", "/api/articles/%00", 422, "validation_failed"),
        ("GET", f"{API}?limit=0", 422, "validation_failed"),
        ("GET", f"{API}?status=happy", 422, "validation_failed"),
        ("GET", f"{API}?cursor=%00", 422, "invalid_cursor"),
        ("GET", "/api/articles?cursor=abc", 422, "invalid_cursor"),
        ("POST", f"{API}/start?organization_id=1", 422, "validation_failed"),
        ("POST", f"{API}/start?organization_id={NOBODY}", 404, "organization_not_found"),
        ("PUT", "/api/internal/transport", 403, "service_role_required"),
    ],
)
async def test_refusals(caller: httpx.AsyncClient, method: str, path: str, status: int, code: str) -> None:
    answer = await caller.request(method, path, json={"initial_keywords": ["x"]} if method in ("POST", "PUT") else None)
    assert (answer.status_code, code_of(answer)) == (status, code)


@pytest.mark.parametrize(
    "query",
    ["since_sequence=-1", "since_sequence=99999999999", "limit=501", "event_types=%00,a", f"event_types={'x' * 101}"],
)
async def test_bad_event_queries(caller: httpx.AsyncClient, query: str) -> None:
    process_id = await started(caller)
    answer = await caller.get(f"{API}/{process_id}/events?{query}")
    assert (answer.status_code, code_of(answer)) == (422, "validation_failed")


async def test_events_are_paged_and_filtered(caller: httpx.AsyncClient) -> None:
    process_id = await started(caller)
    for number in range(3):
        created = await caller.post(f"{API}/{process_id}/test-event", json={"message": f"m{number}"})
        assert created.status_code == 201
    answer = await caller.get(f"{API}/{process_id}/events", params={"since_sequence": 1, "limit": 2})
    last = int(answer.headers["x-last-sequence"])
    assert [event["event_sequence"] for event in answer.json()] == [2, 3]
    assert answer.headers["x-oldest-sequence"] == "1"
    filtered = await caller.get(f"{API}/{process_id}/events", params={"event_types": "test_event,process_created"})
    assert [e["event_type"] for e in filtered.json()] == ["process_created", "test_event", "test_event", "test_event"]
    end = await caller.get(f"{API}/{process_id}/events", params={"since_sequence": last})
    assert end.json() == []
    assert end.headers["x-last-sequence"] == str(last)
    info = (await caller.get(f"{API}/{process_id}/realtime-info")).json()
    assert info["last_event_sequence"] == last
    event = filtered.json()[0]
    acknowledged = await caller.post(f"{API}/{process_id}/events/{event['id']}/acknowledge")
    assert acknowledged.json() == {"event_id": event["id"], "acknowledged": True}
    missing = await caller.post(f"{API}/{process_id}/events/{NOBODY}/acknowledge")
    assert missing.status_code == 404


async def test_a_start_with_a_key_happens_once(owner: httpx.AsyncClient, server: ServerContext) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = await owner.post(f"{API}/start", json={"initial_keywords": ["a"]}, headers=key)
    again = await owner.post(f"{API}/start", json={"initial_keywords": ["a"]}, headers=key)
    assert again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = await owner.post(f"{API}/start", json={"initial_keywords": ["b"]}, headers=key)
    assert (other.status_code, code_of(other)) == (409, "idempotency_key_reused")
    assert await server.pool.fetchval("select count(*) from generated_articles_state") == 1
    bad = await owner.post(f"{API}/start", json={"initial_keywords": ["a"]}, headers={"Idempotency-Key": "a b"})
    assert bad.status_code == 422


async def test_control_is_idempotent_and_says_what_is_not_possible(caller: httpx.AsyncClient) -> None:
    process_id = await started(caller)
    url = f"{API}/{process_id}"
    early = await caller.post(
        f"{url}/user-input", json={"response_type": "select_persona", "payload": {"selected_id": 0}}
    )
    assert (early.status_code, code_of(early)) == (409, "not_waiting_for_input")
    for _ in range(2):
        assert (await caller.post(f"{url}/pause")).json()["status"] == "paused"
    sequence = (await caller.get(url)).json()["last_event_sequence"]
    await caller.post(f"{url}/pause")
    assert (await caller.get(url)).json()["last_event_sequence"] == sequence
    resumed = await caller.post(f"{url}/resume")
    assert resumed.json()["status"] == "resuming"
    assert resumed.json()["realtime_channel"] == f"process_{process_id}"
    for _ in range(2):
        assert (await caller.delete(url)).json()["status"] == "cancelled"
    refused = await caller.post(f"{url}/pause")
    assert (refused.status_code, code_of(refused)) == (409, "illegal_transition")
    assert "cancelled" in refused.json()["error"]["message"]


async def test_a_service_token_without_a_user_starts_nothing(service: httpx.AsyncClient) -> None:
    answer = await service.post(f"{API}/start", json={"initial_keywords": ["a"]})
    assert (answer.status_code, code_of(answer)) == (403, "user_required")


async def test_the_flag_is_switched_at_run_time(
    owner: httpx.AsyncClient, service: httpx.AsyncClient, server: ServerContext
) -> None:
    process_id = await started(owner)
    answer = await service.put("/api/internal/transport", json={"transport": "websocket"})
    assert answer.json() == {"transport": "websocket"}
    refused = await owner.post(f"{API}/start", json={"initial_keywords": ["a"]})
    assert (refused.status_code, code_of(refused)) == (409, "transport_unavailable")
    assert "/api/articles/ws/generate" in refused.json()["error"]["remedy"]
    assert (await owner.post(f"{API}/{process_id}/pause")).status_code == 200  # what runs is not affected
    await service.put("/api/internal/transport", json={"transport": "realtime"})
    await started(owner)


async def test_lists_are_paged_by_cursor(owner: httpx.AsyncClient) -> None:
    made = [await started(owner) for _ in range(3)]
    first = (await owner.get(API, params={"limit": 2})).json()
    second = (await owner.get(API, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [p["process_id"] for p in first["processes"] + second["processes"]] == made[::-1]
    assert second["next_cursor"] is None


async def test_a_user_sees_no_more_of_the_queue_than_what_is_the_users_own(
    owner: httpx.AsyncClient, service: httpx.AsyncClient, server: ServerContext
) -> None:
    await started(owner)
    claimed = await server.pool.fetch("select * from claim_background_task('worker-7', 'machine-7')")
    assert len(claimed) == 1
    async with client_of(server, "somebody else") as other:
        foreign = (await other.get("/api/internal/background-tasks/status")).json()
    assert not any(foreign["queue"].values())
    assert (foreign["by_type"], foreign["workers"]) == ({}, [])
    user = (await owner.get("/api/internal/background-tasks/status")).json()
    operator = (await service.get("/api/internal/background-tasks/status")).json()
    assert user["queue"]["running"] == operator["queue"]["running"] == 1
    assert user["workers"] == []
    assert operator["workers"][0]["hostname"] == "machine-7"


async def test_request_ids_are_passed_through_when_they_are_harmless(caller: httpx.AsyncClient) -> None:
    given = await caller.get("/health/live", headers={"X-Request-ID": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    replaced = await caller.get("/health/live", headers={"X-Request-ID": 'x" onload=1'})
    assert uuid.UUID(replaced.headers["x-request-id"])


async def test_reads_work_on_the_legacy_schema_and_commands_say_what_to_do(legacy_server: ServerContext) -> None:
    process_id = await legacy_server.pool.fetchval(
        "insert into generated_articles_state (user_id) values ('owner') returning id"
    )
    async with client_of(legacy_server) as owner:
        state = await owner.get(f"{API}/{process_id}")
        assert state.status_code == 200, state.text
        assert state.json()["last_event_sequence"] == 0
        assert state.json()["user_input_timeout"] is None
        assert len((await owner.get(API)).json()["processes"]) == 1
        assert (await owner.get("/api/articles")).json()["articles"] == []
        for method, path in (("GET", "events"), ("POST", "pause"), ("POST", "resume"), ("POST", "test-event")):
            answer = await owner.request(method, f"{API}/{process_id}/{path}")
            assert (answer.status_code, code_of(answer)) == (503, "schema_not_migrated")
        start = await owner.post(f"{API}/start", json={"initial_keywords": ["a"]})
        assert (start.status_code, code_of(start)) == (409, "transport_unavailable")
    async with client_of(legacy_server, None, "service_role") as service:
        answer = await service.put("/api/internal/transport", json={"transport": "both"})
        assert (answer.status_code, code_of(answer)) == (503, "schema_not_migrated")
