"""The API as an ASGI application in this process, on a real database; no worker runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from reference_server.api.server_context import ServerContext
from reference_server.app import build_app, wire
from reference_server.settings import Role, Settings
from reference_server.store.pool import open_pool
from reference_server.store.schema import read_schema
from tests.support.server_process import SECRET, bearer

Client = Callable[..., httpx.AsyncClient]


async def _server_context(dsn: str, deadline_s: float = 10, **settings: Any) -> AsyncIterator[ServerContext]:
    values = Settings(database_url=dsn, supabase_jwt_secret=SECRET, **settings)
    pool = await open_pool(dsn, max_size=4, deadline_s=deadline_s)
    try:
        yield wire(values, frozenset({Role.API}), pool, await read_schema(pool))
    finally:
        await pool.close()


@pytest.fixture
async def server(migrated_db: str) -> AsyncIterator[ServerContext]:
    async for found in _server_context(migrated_db, generation_transport="both"):
        yield found


@pytest.fixture
async def legacy_server(legacy_db: str) -> AsyncIterator[ServerContext]:
    async for found in _server_context(legacy_db, generation_transport="websocket"):
        yield found


def client_of(server: ServerContext, sub: str | None = "owner", role: str = "authenticated") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(build_app(server), raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=bearer(sub, role))


@pytest.fixture
async def owner(server: ServerContext) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(server) as client:
        yield client


@pytest.fixture
async def service(server: ServerContext) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(server, None, "service_role") as client:
        yield client


async def started(client: httpx.AsyncClient, **query: Any) -> str:
    answer = await client.post(
        "/api/articles/generation/start", json={"initial_keywords": ["test"]}, params=query or None
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["process_id"]


def code_of(answer: httpx.Response) -> str:
    """The error's code, after a look at its shape."""
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "remedy", "details", "request_id"}
    assert error["message"]
    assert error["remedy"]
    assert error["request_id"] == answer.headers["x-request-id"]
    return error["code"]
