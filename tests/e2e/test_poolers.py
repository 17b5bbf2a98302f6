"""The server on connections and databases as other people have them: behind pgbouncer, and with awkward defaults."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from tests.e2e.test_server_flow import ANSWERS, finish, start
from tests.e2e.test_server_start import refused
from tests.support.awkward_defaults import awkward_defaults
from tests.support.pgbouncer import pooled
from tests.support.server_process import SECRET, running_server


async def test_a_generation_through_a_transaction_pooler(emptied_db: str) -> None:
    async with (
        awkward_defaults(emptied_db),
        pooled(emptied_db, size=3) as address,
        running_server(address, "--role", "api,worker", env={"TASK_POLL_SECONDS": "0.05"}) as server,
        server.client() as http,
    ):
        database = (await http.get("/health/ready")).json()["checks"]["database"]
        assert (database["status"], database["connection"]) == ("ok", "transaction_pooler")
        assert "transaction pooler" in database["detail"]
        assert await finish(http, await start(http)) == list(ANSWERS)
        records = [json.loads(line) for line in server.log.splitlines()]
        (told,) = [record for record in records if record["level"] != "info"]
        assert "transaction pooler" in told["event"]
        assert await server.stop() == 0


async def test_realtime_asks_for_a_direct_connection(emptied_db: str) -> None:
    async with pooled(emptied_db) as address, asyncio.timeout(30):
        alone = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "reference_server.realtime"),
            env={"PATH": os.environ["PATH"], "DATABASE_URL": address, "SUPABASE_JWT_SECRET": SECRET},
            stderr=asyncio.subprocess.PIPE,
        )
        (code, said), (_, said_alone) = await asyncio.gather(refused(address), alone.communicate())
    assert code == alone.returncode == 4
    for words in (said, said_alone.decode()):
        assert "connection pooler" in words
        assert "direct connection" in words


async def test_a_generation_on_a_database_with_awkward_defaults(emptied_db: str) -> None:
    async with awkward_defaults(emptied_db), running_server(emptied_db) as server, server.client() as http:
        assert await finish(http, await start(http)) == list(ANSWERS)
        told = [line for line in server.log.splitlines() if '"level":"info"' not in line]
        # The role of this server does not own realtime.messages, which is said, and no business of this test.
        assert [line for line in told if "realtime.messages is not published" not in line] == []
        assert await server.stop() == 0
