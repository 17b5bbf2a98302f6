"""Pages of other origins: which may call the API, and that they can read refusals as well as answers."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from reference_server.api.server_context import ServerContext
from reference_server.app import build_app
from tests.support.server_process import bearer

ORIGIN = "https://app.example.com"
API = "/api/articles/generation"


def browser(server: ServerContext, origins: str) -> httpx.AsyncClient:
    settings = server.settings.model_copy(update={"cors_origins": origins, "request_max_bytes": 1024})
    app = build_app(replace(server, settings=settings))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.test", headers={"Origin": ORIGIN})


async def preflight(client: httpx.AsyncClient, path: str = API) -> httpx.Response:
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    return await client.options(path, headers=asked)


@pytest.mark.parametrize("origins", [ORIGIN, f"http://localhost:5173, {ORIGIN}", "*"])
async def test_a_listed_origin_may_call_and_read(shared_server: ServerContext, origins: str) -> None:
    async with browser(shared_server, origins) as client:
        allowed = await preflight(client)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] in (ORIGIN, "*")
        told = set(allowed.headers["access-control-allow-headers"].lower().split(", "))
        assert {"idempotency-key", "traceparent", "tracestate", "baggage", "x-retry-count"} <= told
        for answer, status in (
            (await client.get(API, headers=bearer("owner")), 200),
            (await client.get(API), 401),
            (await client.get(API + "/none", headers=bearer("owner")), 422),
            (await client.post(API + "/start", content=b" " * 2000, headers=bearer("owner")), 413),
        ):
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] in (ORIGIN, "*")
            assert "x-last-sequence" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("origins", ["", "https://other.example.com"])
async def test_no_other_origin_may(shared_server: ServerContext, origins: str) -> None:
    async with browser(shared_server, origins) as client:
        assert "access-control-allow-origin" not in (await preflight(client)).headers
        answer = await client.get(API, headers=bearer("owner"))
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers


async def test_health_is_not_the_api(shared_server: ServerContext) -> None:
    async with browser(shared_server, "*") as client:
        assert "access-control-allow-origin" not in (await client.get("/health/live")).headers
