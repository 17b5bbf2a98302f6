"""A database that does not answer is told in time and in words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.integration.api.conftest import api_server, client_of, code_of, started


@pytest.mark.parametrize(
    ("settings", "pool_deadline_s", "status", "code"),
    [({"request_deadline_seconds": 0.3}, 10, 504, "deadline_exceeded"), ({}, 0.3, 503, "database_busy")],
)
async def test_a_locked_table(
    emptied_db: str,
    connect: Callable[[str], Awaitable[asyncpg.Connection]],
    settings: dict,
    pool_deadline_s: float,
    status: int,
    code: str,
) -> None:
    blocker = await connect(emptied_db)
    # Only what meets the lock has the short deadline: a busy machine needs its time for the rest.
    async with (
        api_server(emptied_db) as patient,
        client_of(patient) as owner,
        api_server(emptied_db, pool_deadline_s, **settings) as hurried,
        client_of(hurried) as client,
    ):
        url = f"/api/articles/generation/{await started(owner)}"
        async with blocker.transaction():
            await blocker.execute("lock table generated_articles_state in access exclusive mode")
            for method, path in (("GET", ""), ("POST", "/pause")):
                answer = await client.request(method, f"{url}{path}")
                assert (answer.status_code, code_of(answer)) == (status, code)
        assert (await owner.post(f"{url}/pause")).status_code == 200
