"""The embedded target: a whole system in one folder, and nothing left behind however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import httpx
import jwt
import pytest

from tests.integration.targets.test_servers import STANDIN, wait_gone
from toolkit.errors import EnvironmentError_, RefusalError, UsageError
from toolkit.postgres.cluster import PostgresCluster, free_port
from toolkit.targets.data_dir import DataDir
from toolkit.targets.embedded import EmbeddedTarget, running_target

ROOT = Path(__file__).resolve().parents[3]


def embedded(folder: Path, **options: object) -> EmbeddedTarget:
    return EmbeddedTarget(folder, schema="bare", throwaway=True, server_command=STANDIN, **options)  # type: ignore[arg-type]


def postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().split()[0])


async def test_everything_is_there_and_ends_with_the_block(tmp_path: Path) -> None:
    folder = tmp_path / "e"
    async with embedded(folder) as target:
        server = await target.start_server("api", env={"PYTHONPATH": str(ROOT)})
        conn = await asyncpg.connect(target.dsn, timeout=10)
        assert await conn.fetchval("select 1 from pg_publication where pubname = 'supabase_realtime'") == 1
        await conn.execute("create table kept (id int)")
        await conn.close(timeout=5)
        facts = target.target
        assert facts.api_url == server.url == facts.supabase_url
        token = facts.user_token("user_1")
        assert (
            jwt.decode(token, facts.get("SUPABASE_JWT_SECRET"), ["HS256"], audience="authenticated")["sub"] == "user_1"
        )
        assert facts.jwt_secret not in repr(facts)
        async with httpx.AsyncClient() as http:
            assert (await http.get(server.url, timeout=10)).json()["database_url"] == target.dsn
        database, pid = postmaster(folder), server.pid
        target.announce("realtime")
        assert running_target(folder) is not None
        with pytest.raises(EnvironmentError_, match=f"in use by process {os.getpid()}"):
            await embedded(folder).__aenter__()
    assert wait_gone(database)
    assert wait_gone(pid)
    assert running_target(folder) is None
    assert (folder / "secrets.json").stat().st_mode & 0o077 == 0
    async with embedded(folder) as again:
        conn = await asyncpg.connect(again.dsn, timeout=10)
        assert await conn.fetchval("select to_regclass('kept') is not null"), "the data did not persist"
        await conn.close(timeout=5)
        assert again.target.jwt_secret == facts.jwt_secret, "yesterday's tokens became worthless"


async def test_a_killed_server_comes_back_at_its_address(tmp_path: Path) -> None:
    async with embedded(tmp_path / "e") as target:
        first = await target.start_server("api", env={"PYTHONPATH": str(ROOT)})
        first.kill()
        assert await first.wait_exited(10) == -signal.SIGKILL
        second = await target.restart_server("api")
        assert second.url == first.url
        assert second.pid != first.pid


async def test_a_server_that_fails_to_start_takes_everything_down(tmp_path: Path) -> None:
    folder = tmp_path / "e"
    with pytest.raises(EnvironmentError_, match="something is missing"):
        async with embedded(folder) as target:
            database = postmaster(folder)
            await target.start_server("api", env={"STANDIN": "exits", "PYTHONPATH": str(ROOT)})
    assert wait_gone(database)


async def test_a_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "e"

    async def hold() -> None:
        async with embedded(folder):
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    while not (folder / "postgres" / "PG_VERSION").exists():  # noqa: ASYNC110 - in the middle of initdb
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 60)
    assert not PostgresCluster(folder / "postgres").running
    with DataDir(folder):
        pass  # the lock is free


async def test_postgres_over_tcp_asks_for_the_password(tmp_path: Path) -> None:
    port = free_port()
    async with embedded(tmp_path / "e", postgres_port=port) as target:
        conn = await asyncpg.connect(target.postgres.tcp_dsn("app"), timeout=10)
        assert await conn.fetchval("select current_database()") == "app"
        await conn.close(timeout=5)
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://postgres:wrong@127.0.0.1:{port}/app?sslmode=disable", timeout=10)


async def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not of an embedded target"):
        await embedded(tmp_path).__aenter__()
    with pytest.raises(UsageError, match="not of an embedded target"):
        DataDir(tmp_path).delete()
    assert (tmp_path / "thesis.txt").exists()
    (tmp_path / "lock").touch()  # some other program's
    with pytest.raises(RefusalError, match=r"also holds thesis\.txt"):
        DataDir(tmp_path).delete()
    assert (tmp_path / "thesis.txt").exists()


HOLD = """
import asyncio, os, sys
from pathlib import Path
from toolkit.commands._run import run_async
from toolkit.targets.embedded import EmbeddedTarget
async def main():
    async with EmbeddedTarget(Path(sys.argv[1]), schema="bare", throwaway=True, server_command={command!r}) as target:
        server = await target.start_server("api", env={{"PYTHONPATH": {root!r}}})
        target.announce("realtime")
        print(server.pid, flush=True)
        await asyncio.Event().wait()
run_async(main())
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_nothing_survives_the_process_that_started_it(tmp_path: Path, how: signal.Signals) -> None:
    folder = tmp_path / "e"
    script = HOLD.format(command=STANDIN, root=str(ROOT))
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    try:
        assert holder.stdout is not None
        server = int(await asyncio.to_thread(holder.stdout.readline))
        database = postmaster(folder)
        assert DataDir(folder).holder() == holder.pid
        holder.send_signal(how)
        await asyncio.to_thread(holder.wait, 60)
    finally:
        holder.kill()
        holder.wait(10)
    assert await asyncio.to_thread(wait_gone, server), "the server was left behind"
    assert await asyncio.to_thread(wait_gone, database), "Postgres was left behind"


RESTARTED = """
import asyncio, sys
from pathlib import Path
from toolkit.commands._run import run_async
from toolkit.scenarios.faults.control import EmbeddedSystem
from toolkit.targets.embedded import EmbeddedTarget
async def main():
    async with EmbeddedTarget(Path(sys.argv[1]), schema="bare", throwaway=True) as target:
        system = EmbeddedSystem(target)
        print("up", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(await system.crash_database(), flush=True)
        await system.revive_database()
        print("up again", flush=True)
        await asyncio.Event().wait()
run_async(main())
"""


async def test_a_database_that_was_restarted_does_not_outlive_its_owner_either(tmp_path: Path) -> None:
    folder = tmp_path / "e"
    holder = subprocess.Popen(
        [sys.executable, "-c", RESTARTED, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
    )
    second = None
    try:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert await asyncio.to_thread(holder.stdout.readline) == "up\n"
        first = postmaster(folder)
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert await asyncio.to_thread(holder.stdout.readline) == "True\n"
        assert await asyncio.to_thread(holder.stdout.readline) == "up again\n"
        second = postmaster(folder)
        assert second != first
        holder.kill()
        await asyncio.to_thread(holder.wait, 60)
        assert await asyncio.to_thread(wait_gone, second), "the restarted Postgres was left behind"
    finally:
        holder.kill()
        holder.wait(10)
        PostgresCluster(folder / "postgres").stop("immediate")


async def test_what_a_crash_left_behind_is_found_and_ended(tmp_path: Path) -> None:
    folder = tmp_path / "e"
    async with embedded(folder):
        pass
    # As if the machine had lost our process and its guard together: Postgres and a server still run.
    orphan = PostgresCluster(folder / "postgres")
    orphan.start()
    server = subprocess.Popen(
        [*STANDIN], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, start_new_session=True
    )
    try:
        data = DataDir(folder)
        data.record_servers({"api": server.pid})
        (folder / "running.json").write_text(json.dumps({"pid": 1}))
        old = postmaster(folder)
        async with embedded(folder) as target:
            assert set(target.leftovers) == {"api", "postgres"}
            assert postmaster(folder) != old
            conn = await asyncpg.connect(target.dsn, timeout=10)
            await conn.close(timeout=5)
        assert await asyncio.to_thread(server.wait, 10) == -signal.SIGKILL
    finally:
        server.kill()
        server.wait(10)
