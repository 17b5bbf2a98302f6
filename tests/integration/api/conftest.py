"""The API as an ASGI application in this process, on a real database; no worker runs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from reference_server.api.server_context import ServerContext
from reference_server.app import build_app, wire
from reference_server.settings import Role, Settings
from reference_server.store.pool import open_pool
from reference_server.store.schema import read_schema
from tests.support.databases import Databases
from tests.support.server_process import SECRET, bearer

_APPS: dict[int, FastAPI] = {}  # by id of the server: building one takes as long as cloning a database


@contextlib.asynccontextmanager
async def api_server(dsn: str, deadline_s: float = 10, **settings: Any) -> AsyncIterator[ServerContext]:
    values = Settings(database_url=dsn, supabase_jwt_secret=SECRET, **settings)
    pool = await open_pool(dsn, max_size=4, deadline_s=deadline_s)
    try:
        server = wire(values, frozenset({Role.API}), pool, await read_schema(pool))
        _APPS[id(server)] = build_app(server)
        yield server
        del _APPS[id(server)]
    finally:
        await pool.close()


@pytest.fixture
async def server(emptied_db: str) -> AsyncIterator[ServerContext]:
    async with api_server(emptied_db, generation_transport="both") as found:
        yield found


@pytest.fixture(scope="session")
async def shared_server(databases: Databases) -> AsyncIterator[ServerContext]:
    """A server that tests share which look at nothing but the answers to their own requests."""
    async with databases.clone("migrated") as dsn, api_server(dsn, generation_transport="both") as found:
        yield found


@pytest.fixture(scope="session")
async def caller(shared_server: ServerContext) -> AsyncIterator[httpx.AsyncClient]:
    """A user of the shared server."""
    async with client_of(shared_server, "caller") as client:
        yield client


@pytest.fixture
async def legacy_server(legacy_db: str) -> AsyncIterator[ServerContext]:
    async with api_server(legacy_db, generation_transport="websocket") as found:
        yield found


def client_of(server: ServerContext, sub: str | None = "owner", role: str = "authenticated") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(_APPS[id(server)], raise_app_exceptions=True)
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
