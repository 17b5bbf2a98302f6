"""The process itself: starting, refusing to start, health, ending."""

from __future__ import annotations

import signal

import httpx

from tests.support.server_process import running_server


async def test_serves_health_and_ends_on_sigterm(migrated_db: str) -> None:
    async with running_server(migrated_db) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=10) as http:
            assert (await http.get("/health/live")).status_code == 200
            ready = await http.get("/health/ready")
            assert ready.status_code == 200, ready.text
            assert ready.json()["checks"]["database"] == {"status": "ok", "schema": "migrated"}
        server.signal(signal.SIGTERM)
        assert await server.wait() == 0
