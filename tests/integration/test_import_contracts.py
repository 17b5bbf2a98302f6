"""The import contracts of the server are seen to fail: each on a copy with one import planted."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLANTED = {
    "The Realtime protocol does no I/O": ("reference_server/realtime/protocol/codec.py", "import asyncio"),
    "Sockets and changes meet in the protocol's ports, not in each other": (
        "reference_server/realtime/changes/feed.py",
        "from reference_server.realtime.sockets import hub",
    ),
    "Within the server, each room knows only what lies below it": (
        "reference_server/store/pool.py",
        "from reference_server.workers import outcome",
    ),
    "The Realtime endpoint knows the WAL and tokens, not the generation system": (
        "reference_server/realtime/sockets/hub.py",
        "from reference_server.store import pool",
    ),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    copy = tmp_path_factory.mktemp("contracts")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for package in ("toolkit", "reference_server"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for file, planted in PLANTED.values():
        path = copy / file
        head = "from __future__ import annotations\n"
        path.write_text(path.read_text().replace(head, f"{head}{planted}\n", 1))
    (copy / "reference_server" / "loose.py").write_text("")
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    return " ".join(run.stdout.split())


@pytest.mark.parametrize("contract", PLANTED)
def test_a_forbidden_import_breaks_its_contract(told: str, contract: str) -> None:
    assert f"{contract} BROKEN" in told


def test_a_file_without_a_place_in_the_layers_is_noticed(told: str) -> None:
    assert "loose" in told.split("Broken contracts")[1]
