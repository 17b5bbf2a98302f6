"""Throw-away clusters lie in memory where there is room, and nothing of them stays when their process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import until
from toolkit.postgres import throwaway
from toolkit.postgres.throwaway import throwaway_folder

KILLED = """
import asyncio
from toolkit.postgres.servers import wheel_bin_dir
from toolkit.postgres.lifetime import throwaway_cluster

async def main():
    async with throwaway_cluster(wheel_bin_dir()) as cluster:
        print(cluster.data_dir, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder in the place of the machine's memory."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(throwaway, "MEMORY", tmp_path)
    monkeypatch.setattr(throwaway, "ROOM", 1)
    return tmp_path


def test_memory_is_chosen_where_there_is_room_and_nobody_chose(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with throwaway_folder("toolkit-x-") as folder:
        (folder / "file").write_text("x")
        assert folder.parent == memory
    assert not folder.exists()

    for planted in ("full", "chosen", "absent"):
        with monkeypatch.context() as patch:
            if planted == "full":
                patch.setattr(throwaway, "ROOM", 1 << 60)
            elif planted == "chosen":
                patch.setenv("TMPDIR", str(memory / "elsewhere"))
            else:
                patch.setattr(throwaway, "MEMORY", memory / "absent")
            with throwaway_folder("toolkit-x-") as folder:
                assert folder.parent != memory, planted


async def test_a_killed_process_leaves_neither_server_nor_files() -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    data = Path(process.stdout.readline().strip())
    try:
        postmaster = int((data / "postmaster.pid").read_text().split()[0])
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        await until(lambda: not data.parent.exists(), f"{data.parent} is removed", 30)
        with pytest.raises(ProcessLookupError):
            os.kill(postmaster, 0)
    finally:
        process.kill()
        process.stdout.close()
