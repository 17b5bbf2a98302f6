"""Supervised processes: ready, stopped, killed, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from toolkit.errors import EnvironmentError_
from toolkit.server_process import ServerHandle, server_environment

STANDIN = (sys.executable, "-m", "tests.support.standin_server")
ROOT = Path(__file__).resolve().parents[3]
SECRET = "a-secret-that-must-not-be-seen"


def standin(tmp_path: Path, conduct: str = "") -> ServerHandle:
    env = server_environment(STANDIN=conduct, SUPABASE_JWT_SECRET=SECRET)
    return ServerHandle("standin", STANDIN, env, tmp_path / "logs" / "standin.log", cwd=ROOT)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_gone(pid: int, deadline_s: float = 20) -> bool:
    deadline = time.monotonic() + deadline_s
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


async def test_a_server_serves_until_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://production/do-not-touch")
    server = standin(tmp_path)
    await server.start()
    url = await server.wait_ready(30)
    async with httpx.AsyncClient() as http:
        facts = (await http.get(url, timeout=10)).json()
    assert facts["database_url"] == "", "a target's setting leaked into a server that was not given it"
    assert SECRET not in Path(f"/proc/{server.pid}/cmdline").read_text()
    assert os.getpgid(server.pid) == server.pid, "Ctrl-C at our terminal would reach it"
    await server.stop()
    assert server.returncode == 0
    await server.stop()


async def test_a_server_that_exits_early_is_reported_with_its_log_and_without_secrets(tmp_path: Path) -> None:
    server = standin(tmp_path, "exits")
    await server.start()
    with pytest.raises(EnvironmentError_) as caught:
        await server.wait_ready(30)
    assert "code 3" in caught.value.what
    assert "something is missing" in caught.value.what
    assert SECRET not in str(caught.value)
    assert str(server.log_path) in caught.value.remedy


async def test_a_server_that_never_gets_ready_is_reported(tmp_path: Path) -> None:
    server = standin(tmp_path, "silent")
    await server.start()
    with pytest.raises(EnvironmentError_, match=r"not ready within 0\.5 s"):
        await server.wait_ready(0.5)
    server.kill()
    assert await server.wait_exited(10) == -signal.SIGKILL


async def test_a_server_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    server = standin(tmp_path, "deaf")
    await server.start()
    await server.wait_ready(30)
    await server.stop(grace_s=0.2)
    assert server.returncode == -signal.SIGKILL


async def test_what_a_server_started_ends_with_it(tmp_path: Path) -> None:
    server = standin(tmp_path, "grandchild")
    await server.start()
    await server.wait_ready(30)
    grandchild = int(server.log_path.read_text().split("grandchild ")[1].split()[0])
    assert alive(grandchild)
    await server.stop()
    assert await asyncio.to_thread(wait_gone, grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
async def test_a_server_dies_with_us_even_when_we_are_killed(tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
from pathlib import Path
from toolkit.server_process import ServerHandle, server_environment
async def main():
    server = ServerHandle("standin", {STANDIN!r}, server_environment(STANDIN="deaf"), Path({str(tmp_path)!r}) / "x.log")
    await server.start()
    await server.wait_ready(30)
    print(server.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert parent.stdout is not None
        server_pid = int(await asyncio.to_thread(parent.stdout.readline))
        assert alive(server_pid)
    finally:
        parent.kill()
        parent.wait(10)
    assert await asyncio.to_thread(wait_gone, server_pid)
