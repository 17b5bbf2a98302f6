"""CPU time of processes, on systems with /proc (Linux)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")


def cpu_seconds(pids: Iterable[int], *, with_children: bool = False) -> float | None:
    """CPU seconds that these processes and their ended children have used so far; None where the system does not tell.

    `with_children`: children that still run are included.
    """
    wanted = set(pids)
    total, seen = 0.0, set()
    try:
        folders = [path for path in _PROC.iterdir() if path.name.isdigit()]
    except OSError:
        return None
    for folder in folders:
        try:
            # The process' name may hold spaces and brackets.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue  # it ended meanwhile
        pid, parent = int(folder.name), int(fields[1])
        if pid in wanted:
            seen.add(pid)
            total += sum(int(value) for value in fields[11:15])
        elif with_children and parent in wanted:
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK") if seen == wanted and wanted else None
