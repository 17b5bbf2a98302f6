"""Clusters that end with the process that started them, and throw-away ones."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from toolkit.postgres.cluster import THROWAWAY_SETTINGS, PostgresCluster, postgres_user

T = TypeVar("T")


async def uninterrupted(work: Callable[[], T]) -> T:
    """Run blocking `work` in a thread; a cancellation waits for its end, so that clean-up never runs beside it."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        raise


def start_guard(postgres: PostgresCluster) -> subprocess.Popen[bytes]:
    """Start a small process that stops Postgres when ours has ended: our end of its pipe closes however we end."""
    postmaster = (postgres.data_dir / "postmaster.pid").read_text().split(maxsplit=1)[0]
    # By pid, not by folder: a later run may have started another Postgres there. SIGINT is a "fast" shutdown.
    script = 'trap "" INT TERM HUP; cat >/dev/null; kill -INT "$0"'
    return subprocess.Popen(
        ["/bin/sh", "-c", script, postmaster],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        user=postgres_user(),
    )


def dismiss_guard(guard: subprocess.Popen[bytes]) -> None:
    """End the guard without letting it stop Postgres."""
    guard.kill()
    guard.wait(timeout=10)
    if guard.stdin is not None:
        guard.stdin.close()


@asynccontextmanager
async def throwaway_cluster(bin_dir: Path) -> AsyncIterator[PostgresCluster]:
    """A running cluster in a temporary folder, for the length of the block; it also ends when this process is killed.

    Raises EnvironmentError_ when Postgres does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="toolkit-scratch-"))
    cluster = PostgresCluster(folder / "postgres", bin_dir=bin_dir, settings=THROWAWAY_SETTINGS)
    guard: subprocess.Popen[bytes] | None = None
    try:
        await uninterrupted(cluster.start)
        guard = start_guard(cluster)
        yield cluster
    finally:
        await uninterrupted(cluster.destroy)
        if guard is not None:
            dismiss_guard(guard)
        shutil.rmtree(folder, ignore_errors=True)
