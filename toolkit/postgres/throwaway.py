"""Where throw-away clusters live: in memory where the machine has room, for making a database writes some 300 files."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's file system in memory; folders in it get names of their own
ROOM = 4 << 30  # bytes: a cluster takes some 100 MB, a whole proof below 1 GB, and the machine goes on with its work


@contextlib.contextmanager
def throwaway_folder(prefix: str) -> Iterator[Path]:
    """A new folder, removed at the end: in memory, or below the temporary folder.

    The temporary folder is chosen when TMPDIR names one, and where memory or its file system has less than `ROOM`
    left, as in most containers.
    """
    folder = new_folder(prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_folder(prefix: str) -> Path:
    """As `throwaway_folder`, for whoever removes the folder."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if _has_room(MEMORY) else None))


def _has_room(memory: Path) -> bool:
    if os.environ.get("TMPDIR") or not os.access(memory, os.W_OK | os.X_OK):
        return False
    try:
        available = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return False
    free = shutil.disk_usage(memory).free
    return available is not None and min(free, int(available[1]) << 10) >= ROOM
