"""Every route × everyone who may call it: one table, and a check that no route is missing from it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from reference_server.api.server_context import ServerContext
from reference_server.app import build_app
from tests.integration.api.conftest import client_of, code_of, started
from tests.support.server_process import token

P = "/api/articles/generation/{process_id}"

CALLERS = ("none", "bad", "expired", "anon", "other", "member", "owner", "service")
# Status for each caller. A member of the process's organisation reads it and changes nothing; for
# another user it does not exist.
READ = (401, 401, 401, 403, 404, 200, 200, 200)
CHANGE = (401, 401, 401, 403, 404, 403, 200, 200)
CREATE = (401, 401, 401, 403, 404, 403, 201, 201)
OWN_LIST = (401, 401, 401, 403, 200, 200, 200, 200)
OPERATORS = (401, 401, 401, 403, 403, 403, 403, 200)
START = (401, 401, 401, 403, 201, 201, 201, 403)  # the service token names no user


@dataclass(frozen=True)
class Row:
    method: str
    path: str
    expected: tuple[int, ...]
    body: Any = None


TABLE = (
    Row("POST", "/api/articles/generation/start", START, {"initial_keywords": ["x"]}),
    Row("GET", "/api/articles/generation", OWN_LIST),
    Row("GET", P, READ),
    Row("POST", f"{P}/user-input", CHANGE, {"response_type": "select_persona", "payload": {"selected_id": 0}}),
    Row("POST", f"{P}/pause", CHANGE),
    Row("POST", f"{P}/resume", CHANGE),
    Row("DELETE", P, CHANGE),
    Row("GET", f"{P}/events", READ),
    Row("POST", P + "/events/{event_id}/acknowledge", CHANGE),
    Row("POST", f"{P}/test-event", CREATE),
    Row("GET", f"{P}/realtime-info", READ),
    Row("GET", "/api/articles", OWN_LIST),
    Row("GET", "/api/articles/{article_id}", READ),
    Row("GET", "/api/internal/background-tasks/status", OWN_LIST),
    Row("GET", "/api/internal/transport", OPERATORS),
    Row("PUT", "/api/internal/transport", OPERATORS, {"transport": "both"}),
)
OPEN_TO_ALL = {"/health/live", "/health/ready", "/metrics"}


@dataclass(frozen=True)
class World:
    ids: dict[str, str]
    clients: dict[str, httpx.AsyncClient]


def unlisted(app: FastAPI) -> set[tuple[str, str]]:
    """Routes that are in the application or in the table, but not in both."""
    routes = {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        if path not in OPEN_TO_ALL
        for method in methods
    }
    return routes ^ {(row.method, row.path) for row in TABLE}


def test_no_route_is_missing_from_the_table(server: ServerContext) -> None:
    assert unlisted(build_app(server)) == set()


async def test_a_route_somebody_forgot_to_guard_is_found(server: ServerContext, world: World) -> None:
    app = build_app(server)

    @app.get("/api/articles/generation/{process_id}/secrets")
    async def secrets(process_id: uuid.UUID) -> dict[str, str]:
        return {"process_id": str(process_id)}

    assert unlisted(app) == {("GET", "/api/articles/generation/{process_id}/secrets")}
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.test")
    answers = {}
    for caller, known in world.clients.items():
        path = f"/api/articles/generation/{world.ids['process_id']}/secrets"
        answers[caller] = (await client.get(path, headers=known.headers)).status_code
    await client.aclose()
    assert tuple(answers.values()) != READ, "the row's expectations must tell an unguarded route"


@contextlib.asynccontextmanager
async def world_on(server: ServerContext) -> AsyncIterator[World]:
    """A process of an organisation with an open prompt, its event, and an article of the same organisation."""
    organization = await server.pool.fetchval(
        "insert into organizations (name, owner_user_id) values ('o', 'owner') returning id"
    )
    for user in ("owner", "member"):
        await server.pool.execute("insert into organization_members values ($1, $2)", organization, user)
    clients = {
        "none": client_of(server),
        "bad": client_of(server),
        "expired": client_of(server),
        "anon": client_of(server, None, "anon"),
        "other": client_of(server, "other"),
        "member": client_of(server, "member"),
        "owner": client_of(server, "owner"),
        "service": client_of(server, None, "service_role"),
    }
    del clients["none"].headers["authorization"]
    clients["bad"].headers["authorization"] = f"Bearer {token('owner', secret='another-secret-that-is-long-enough')}"
    clients["expired"].headers["authorization"] = f"Bearer {token('owner', ttl_s=-10)}"
    process_id = await started(clients["owner"], organization_id=str(organization))
    await server.pool.execute(
        """update generated_articles_state set current_step_name = 'persona_generated',
           article_context = article_context || '{"personas": [{"id": 0, "description": "p"}]}' where id = $1""",
        process_id,
    )
    await server.pool.execute("select mark_process_waiting_for_input($1, 'select_persona')", process_id)
    event_id = await server.pool.fetchval(
        "select id from process_events where process_id = $1 order by event_sequence limit 1", process_id
    )
    article_id = await server.pool.fetchval(
        "insert into articles (user_id, organization_id, title) values ('owner', $1, 't') returning id", organization
    )
    try:
        yield World({"process_id": process_id, "event_id": str(event_id), "article_id": str(article_id)}, clients)
    finally:
        for client in clients.values():
            await client.aclose()


@pytest.fixture
async def world(server: ServerContext) -> AsyncIterator[World]:
    async with world_on(server) as found:
        yield found


@pytest.fixture(scope="module")
async def read_world(shared_server: ServerContext) -> AsyncIterator[World]:
    """A world that nobody changes."""
    async with world_on(shared_server) as found:
        yield found


def rows(*, reading: bool) -> list[Any]:
    return [pytest.param(row, id=f"{row.method} {row.path}") for row in TABLE if (row.method == "GET") is reading]


@pytest.mark.parametrize("row", rows(reading=True))
async def test_who_may_read(read_world: World, row: Row) -> None:
    await everybody_calls(read_world, row)


@pytest.mark.parametrize("row", rows(reading=False))
async def test_who_may_change(world: World, row: Row) -> None:
    await everybody_calls(world, row)


async def everybody_calls(world: World, row: Row) -> None:
    prefix = "/api/articles/generation/{process_id}"
    for caller, expected in zip(CALLERS, row.expected, strict=True):
        answer = await world.clients[caller].request(row.method, row.path.format(**world.ids), json=row.body)
        allowed = {expected}
        if expected == 200 and row.method != "GET" and row.path.startswith(prefix):
            allowed.add(409)  # a later caller finds the process moved on; that is no question of access
        assert answer.status_code in allowed, (caller, answer.text)
        if answer.status_code >= 400:
            code_of(answer)
        if expected == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
        if expected == 404:
            unknown = {name: str(uuid.uuid4()) for name in world.ids}
            absent = await world.clients[caller].request(row.method, row.path.format(**unknown), json=row.body)
            assert absent.status_code == 404
            same = [a.json()["error"]["code"] for a in (answer, absent)]
            assert same[0] == same[1], "the answer must not tell an absent process from somebody else's"


async def test_an_organisation_is_for_its_members(server: ServerContext, world: World) -> None:
    organization = await server.pool.fetchval("select id from organizations")
    answer = await world.clients["other"].post(
        f"/api/articles/generation/start?organization_id={organization}", json={"initial_keywords": ["x"]}
    )
    assert (answer.status_code, code_of(answer)) == (404, "organization_not_found")
