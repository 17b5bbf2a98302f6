"""`toolkit up`, the curl it prints, `toolkit token`, `toolkit down`: as a person uses them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.targets.test_servers import alive, wait_gone
from toolkit.targets.data_dir import DataDir
from toolkit.targets.embedded import running_target

TOP = {"name", "verdict", "started_at", "finished_at", "target", "checks", "measurements"}
CHECK = {"id", "title", "verdict", "detail", "remedy"}


def toolkit(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "toolkit.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def shell(command: str) -> dict[str, object]:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_a_target_is_started_used_and_stopped(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "d")
    assert "has no keys yet" in toolkit("token", "--data", "d", cwd=tmp_path).stderr
    try:
        up = toolkit("up", "--data", "d", cwd=tmp_path)
        assert up.returncode == 0, up.stderr
        curl = up.stdout[up.stdout.index("  curl ") : up.stdout.index("\n\nFor other programs")]
        started = shell(f"cd {tmp_path} && {curl}")
        assert started["status"] == "started"
        target = running_target(data.path)
        assert target is not None

        token = toolkit("token", "--data", "d", "--ttl", "5m", cwd=tmp_path).stdout.strip()
        state = f"curl -s {target.api_url}/api/articles/generation/{started['process_id']} -H 'Authorization: Bearer"
        assert shell(f"{state} {token}'")["process_id"] == started["process_id"]
        stranger = toolkit("token", "--data", "d", "--sub", "user_x", cwd=tmp_path).stdout.strip()
        assert shell(f"{state} {stranger}'")["error"]["code"] == "not_found"  # type: ignore[index]

        again = toolkit("up", "--data", "d", "--json", cwd=tmp_path)
        facts = json.loads(again.stdout)
        assert "runs already" in again.stderr
        assert facts["api_url"] == target.api_url
        refused = toolkit("up", "--data", "d", "--foreground", cwd=tmp_path)
        assert refused.returncode == 4
        assert f"in use by process {facts['pid']}" in refused.stderr
        secrets = (target.anon_key, target.service_role_key, target.jwt_secret)
        assert all(secrets)
        assert not [secret for secret in secrets if str(secret) in titles() + up.stdout + up.stderr + again.stdout]
        assert "eyJ" not in up.stdout + again.stdout, "no token either"

        minted = json.loads(toolkit("token", "--data", "d", "--json", cwd=tmp_path).stdout)
        assert shell(f"{state} {minted['token']}'")["process_id"] == started["process_id"]

        down = toolkit("down", "--data", "d", "--json", cwd=tmp_path)
        told = json.loads(down.stdout)
        assert (down.returncode, told["stopped"], told["deleted"]) == (0, True, False), down
        assert wait_gone(facts["pid"])
        for report, name in ((facts, "up"), (minted, "token"), (told, "down")):
            assert report.keys() >= TOP
            assert (report["name"], report["verdict"]) == (name, "pass")
            assert all(check.keys() >= CHECK for check in report["checks"])
            assert report["checks"]
        assert "Nothing was running" in toolkit("down", "--data", "d", cwd=tmp_path).stdout

        up = toolkit("up", "--data", "d", "--json", cwd=tmp_path)
        facts = json.loads(up.stdout)
        assert shell(f"{state.replace(str(target.api_url), facts['api_url'])} {token}'")["process_id"], "it was lost"
    finally:
        unconfirmed = toolkit("down", "--data", "d", "--delete-data", cwd=tmp_path)
        deleted = toolkit("down", "--data", "d", "--delete-data", "--yes", cwd=tmp_path)
    assert unconfirmed.returncode == 2
    assert deleted.returncode == 0
    assert not data.path.exists()


def test_the_legacy_state_is_offered_too(tmp_path: Path) -> None:
    try:
        up = toolkit("up", "--legacy", "--json", "--data", "d", cwd=tmp_path)
        assert up.returncode == 0, up.stderr
        facts = json.loads(up.stdout)
        assert facts["transport"] == "websocket"
        columns = asyncio.run(_columns(facts["database_url"]))
        assert "realtime_channel" not in columns
        assert "flow_id" in columns
    finally:
        toolkit("down", "--data", "d", "--delete-data", "--yes", cwd=tmp_path)


def test_of_two_that_start_at_once_one_serves_and_the_other_says_why_not(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "toolkit.cli", "up", "--data", "d"]
    pair = [
        subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "12"
    ]
    try:
        ended = [(*process.communicate(timeout=100), process.returncode) for process in pair]
        (_, lost, _), (shown, _, _) = sorted(ended, key=lambda one: -one[2])
        assert sorted(code for *_, code in ended) == [0, 4], ended
        assert "The target is running" in shown
        assert ("is being started in" in lost) or ("is in use by process" in lost)
        assert lost.count("Error:") == 1
        assert "ended with code" not in lost
    finally:
        toolkit("down", "--data", "d", "--delete-data", "--yes", cwd=tmp_path)


def test_why_a_detached_target_did_not_start_is_said_plainly(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        up = toolkit("up", "--data", "d", "--postgres-port", str(taken.getsockname()[1]), "--json", cwd=tmp_path)
    toolkit("down", "--data", "d", "--delete-data", "--yes", cwd=tmp_path)
    assert up.returncode == 4
    assert up.stderr.count("Error:") == 1
    assert "in use by another program" in up.stderr
    told = json.loads(up.stdout)
    assert told.keys() >= TOP
    assert (told["name"], told["verdict"], told["exit_code"]) == ("up", "unknown", 4)
    assert "in use by another program" in told["error"]["what"]


async def _columns(dsn: str) -> set[str]:
    import asyncpg

    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        found = await conn.fetch(
            "select column_name from information_schema.columns where table_name = 'generated_articles_state'"
        )
    finally:
        await conn.close(timeout=5)
    return {row["column_name"] for row in found}


def test_a_target_whose_server_dies_says_so_and_takes_the_rest_along(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit.cli", "up", "--foreground", "--json", "--data", "d"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        data = DataDir(tmp_path / "d")
        deadline = time.monotonic() + 60
        while data.running() is None:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.05)
        pid, _ = json.loads((data.path / "servers.json").read_text())["api"]
        postmaster = int((data.postgres / "postmaster.pid").read_text().split()[0])
        assert alive(pid)
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 4
        assert "api ended by itself with code -9" in said
        assert wait_gone(postmaster)
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("up", "--legacy", "--transport", "both"), "--legacy has no Realtime"),
        (("up", "--legacy", "--workers", "2"), "nothing to do"),
        (("up", "--data", "file"), "is a file"),
        (("token", "--ttl", "soon"), "not a duration"),
        (("token", "--ttl", "90"), "write 90s for seconds"),
        (("token", "--ttl", "1ms"), "too short"),
        (("up", "--env", "--json"), "goes neither with --json nor with --foreground"),
        (("up", "--env", "--foreground"), "goes neither with --json nor with --foreground"),
        (("up", "--transport", "pigeon"), "'pigeon' is not one of"),
        (("token", "--ttl", "9" * 5000), "not a duration"),
        (("token", "--ttl", "99999d"), "longer than ten years"),
        (("token", "--sub", ""), "is no user id"),
        (("token", "--sub", " user_1"), "is no user id"),
        (("token", "--sub", "user\n1"), "is no user id"),
        (("down", "--data", "strange", "--delete-data", "--yes"), "not of an embedded target"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "thesis.txt").write_text("x")
    done = toolkit(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "strange" / "thesis.txt").exists()


def titles() -> str:
    """The command lines of every process of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)
