"""Clusters that end with the process that started them, and throw-away ones."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from toolkit.postgres.cluster import THROWAWAY_SETTINGS, PostgresCluster, as_postgres
from toolkit.postgres.throwaway import throwaway_folder

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


def start_guard(postgres: PostgresCluster, *, remove: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a small process that stops Postgres when ours has ended: our end of its pipe closes however we end.

    It then removes the folder `remove`, which may lie in memory.
    """
    postmaster = (postgres.data_dir / "postmaster.pid").read_text().split(maxsplit=1)[0]
    # By pid, not by folder: a later run may have started another Postgres there. SIGINT is a "fast" shutdown.
    script = 'trap "" INT TERM HUP; cat >/dev/null; kill -INT "$0"'
    if remove is not None:
        script += '; while kill -0 "$0" 2>/dev/null; do sleep 0.1; done; rm -rf "$1"'
    runs_as = as_postgres()
    if remove is not None:  # the folder is ours, and not to be removed by Postgres' user
        runs_as |= {"user": None, "group": None, "extra_groups": None}
    return subprocess.Popen(
        ["/bin/sh", "-c", script, postmaster, str(remove or "")],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        **runs_as,
    )


def dismiss_guard(guard: subprocess.Popen[bytes]) -> None:
    """End the guard without letting it stop Postgres."""
    guard.kill()
    guard.wait(timeout=10)
    if guard.stdin is not None:
        guard.stdin.close()


@asynccontextmanager
async def throwaway_cluster(
    bin_dir: Path, fill: Callable[[Path], None] | None = None
) -> AsyncIterator[PostgresCluster]:
    """A running cluster in a temporary folder, for the length of the block; it also ends when this process is killed.

    `fill` makes its data folder, which does not exist yet, from the files of another cluster.
    Raises EnvironmentError_ when Postgres does not start.
    """
    with throwaway_folder("toolkit-scratch-") as folder:
        cluster = PostgresCluster(folder / "postgres", bin_dir=bin_dir, settings=THROWAWAY_SETTINGS)
        guard: subprocess.Popen[bytes] | None = None
        try:
            if fill is not None:
                await uninterrupted(lambda: fill(cluster.data_dir))
            await uninterrupted(cluster.start)
            guard = start_guard(cluster, remove=folder)
            yield cluster
        finally:
            await uninterrupted(cluster.destroy)
            if guard is not None:
                dismiss_guard(guard)
