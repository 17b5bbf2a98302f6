"""The process itself: starting, refusing to start, losing its database, ending."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.databases import as_superuser
from tests.support.server_process import SECRET, RunningServer, launch, running_server, token
from toolkit.migrate.scratch.platform import prepare_platform
from toolkit.postgres.cluster import THROWAWAY_SETTINGS, PostgresCluster
from toolkit.postgres.throwaway import throwaway_folder
from toolkit.resources import migrations_dir

API = "/api/articles/generation"


async def test_serves_health_and_ends_on_sigterm(emptied_db: str) -> None:
    async with running_server(emptied_db) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=10) as http:
            assert (await http.get("/health/live")).status_code == 200
            ready = await http.get("/health/ready")
            assert ready.status_code == 200, ready.text
            checks = ready.json()["checks"]
            assert checks["database"] == {"status": "ok", "schema": "migrated", "connection": "direct"}
            assert checks["replication"]["status"] == checks["workers"]["status"] == "ok"
            assert checks["workers"]["listening"] is True
            assert (await http.get("/realtime/v1/health")).status_code == 200
            assert (await http.get("/docs")).status_code == 200
        server.signal(signal.SIGTERM)
        assert await server.wait() == 0
        records = [json.loads(line) for line in server.log.splitlines()]
        assert {"ready", "shutting down"} <= {record["event"] for record in records}
        assert SECRET not in server.log


async def test_strangers_at_the_socket_are_logged_once_and_as_no_error_and_tokens_never(emptied_db: str) -> None:
    expired, good = token(ttl_s=-60), token()
    strangers = {"": 401, "?apikey=nonsense": 401, f"?apikey={expired}": 401, "?vsn=9": 403}

    async def refused_at_the_socket(url: str, query: str, status: int) -> None:
        with pytest.raises(InvalidStatus) as refusal:
            await connect(f"{url}/realtime/v1/websocket{query}", open_timeout=10)
        assert refusal.value.response.status_code == status
        if status == 401:
            assert set(json.loads(refusal.value.response.body)) == {"error"}

    env = {"LOG_LEVEL": "DEBUG", "REALTIME_OWNER_DATABASE_URL": as_superuser(emptied_db)}
    async with running_server(emptied_db, "--role", "api,realtime", env=env) as server:
        await asyncio.gather(*(refused_at_the_socket(server.ws_url, *stranger) for stranger in strangers.items()))
        async with connect(f"{server.ws_url}/realtime/v1/websocket?apikey={good}", open_timeout=10):
            pass
        async with httpx.AsyncClient(base_url=server.url, timeout=10) as http:
            await http.get(f"{API}?token={good}", headers={"Authorization": f"Bearer {good}"})
            await http.get(f"/socket/websocket?apikey={good}")
        assert await server.stop() == 0
        records = [json.loads(line) for line in server.log.splitlines()]
        assert expired not in server.log
        assert good not in server.log
        assert '"path":"/api/articles/generation"' in server.log
    assert [record for record in records if record["level"] in ("warning", "error", "critical")] == []
    told = [record for record in records if record["event"] == "realtime upgrade refused"]
    assert sorted(record["status"] for record in told) == sorted(strangers.values())
    assert all(record["level"] == "info" and record["reason"] for record in told)


async def refused(dsn: str, *arguments: str, **env: str) -> tuple[int, str]:
    """Exit code and last words of a server that does not start."""
    with tempfile.TemporaryDirectory(prefix="rmt-server-") as folder:
        log = Path(folder) / "log"
        process = await launch(dsn, *arguments, env=env, log=log)
        try:
            async with asyncio.timeout(30):
                stdout, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert stdout == b""
        text = log.read_text()
        assert "Traceback" not in text
        assert SECRET not in text
        return process.returncode or 0, text


async def test_a_server_told_to_end_while_it_starts_never_says_that_it_is_ready(
    emptied_db: str, tmp_path: Path
) -> None:
    conn = await asyncpg.connect(emptied_db, timeout=10)
    transaction = conn.transaction()
    await transaction.start()
    await conn.execute("select pg_current_xact_id()")  # a slot is not made while this is open
    observer = await asyncpg.connect(emptied_db, timeout=10)
    waits_for_it = (
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and state = 'active' and query like 'CREATE_REPLICATION_SLOT%'"
    )
    process = await launch(emptied_db, env=None, log=tmp_path / "log")
    try:
        async with asyncio.timeout(30):
            while await observer.fetchval(waits_for_it) == 0:
                assert process.returncode is None
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            stdout, _ = await process.communicate()
        assert (process.returncode, stdout) == (0, b"")
        assert "Traceback" not in (tmp_path / "log").read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await transaction.rollback()
        await observer.close(timeout=5)
        await conn.close(timeout=5)


async def test_a_missing_setting_is_refused_by_name() -> None:
    code, text = await refused("", SUPABASE_JWT_SECRET="")
    assert code == 2
    assert "DATABASE_URL: not set" in text


async def test_a_database_that_cannot_be_used_is_an_instruction(bare_db: str, legacy_db: str) -> None:
    quick = {"STARTUP_DEADLINE_SECONDS": "1"}
    nowhere, bare, legacy = await asyncio.gather(
        refused("postgresql://me:hunter2@127.0.0.1:1/db", **quick),
        refused(bare_db, **quick),
        refused(legacy_db, GENERATION_TRANSPORT="both", **quick),
    )
    assert (nowhere[0], "check DATABASE_URL" in nowhere[1], "hunter2" in nowhere[1]) == (4, True, False)
    assert (bare[0], "run `toolkit migrate up`" in bare[1]) == (4, True)
    assert (legacy[0], "GENERATION_TRANSPORT=websocket" in legacy[1]) == (4, True)


async def test_a_port_in_use_is_said(emptied_db: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, text = await refused(emptied_db, "--port", str(taken.getsockname()[1]))
    assert (code, "cannot listen" in text) == (4, True)


async def test_a_second_signal_ends_at_once(emptied_db: str) -> None:
    env = {"WRITER_STEP_LATENCY_MS": "60000", "SHUTDOWN_GRACE_SECONDS": "60"}
    async with running_server(emptied_db, env=env) as server, server.client() as http:
        answer = await http.post(f"{API}/start", json={"initial_keywords": ["x"]})
        await _until(lambda: _executing(http, answer.json()["process_id"]))
        server.signal(signal.SIGTERM)
        await _until(lambda: _logged(server, "shutting down"))
        server.signal(signal.SIGTERM)
        assert await server.wait(5) == 128 + signal.SIGTERM


async def test_a_lost_database_is_503_and_comes_back(own_cluster: PostgresCluster) -> None:
    dsn = own_cluster.dsn()
    async with running_server(dsn, env={"SCHEMA_POLL_SECONDS": "0.2"}) as server, server.client() as http:
        process_id = (await http.post(f"{API}/start", json={"initial_keywords": ["x"]})).json()["process_id"]
        own_cluster.stop()
        for path in (f"{API}/{process_id}", API):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_unavailable"), answer.text
            assert answer.headers["retry-after"]
        ready = await http.get("/health/ready")
        assert (ready.status_code, ready.json()["checks"]["database"]["status"]) == (503, "failing")
        assert "database_up 0.0" in (await http.get("/metrics")).text
        assert (await http.get("/health/live")).status_code == 200
        own_cluster.start()
        await _until(lambda: _ready(http))
        assert (await http.get(f"{API}/{process_id}")).status_code == 200


@pytest.fixture
def own_cluster() -> Iterator[PostgresCluster]:
    """A migrated cluster that a test may stop and start."""
    with throwaway_folder("rmt-pg-own-") as folder:
        pg = PostgresCluster(folder / "data", settings=THROWAWAY_SETTINGS)
        pg.start()
        try:
            asyncio.run(_migrate(pg))
            yield pg
        finally:
            pg.destroy()


async def _migrate(cluster: PostgresCluster) -> None:
    admin = await asyncpg.connect(cluster.admin_dsn(), timeout=10)
    await prepare_platform(admin)
    await admin.close()
    conn = await asyncpg.connect(cluster.dsn(), timeout=10)
    try:
        for file in sorted(migrations_dir().glob("*.sql")):
            text = file.read_text()
            parts = text.split(";\n") if "-- toolkit: transaction=false" in text else [text]
            for statement in filter(str.strip, parts):
                await conn.execute(statement)
    finally:
        await conn.close()


async def _until(condition, deadline_s: float = 20) -> None:
    async with asyncio.timeout(deadline_s):
        while not await condition():  # noqa: ASYNC110 the condition is another process's
            await asyncio.sleep(0.02)


async def _executing(http: httpx.AsyncClient, process_id: str) -> bool:
    return (await http.get(f"{API}/{process_id}")).json()["executing_step"] is not None


async def _logged(server: RunningServer, event: str) -> bool:
    return event in server.log


async def _ready(http: httpx.AsyncClient) -> bool:
    return (await http.get("/health/ready")).status_code == 200
