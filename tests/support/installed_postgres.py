"""Which Postgres installations besides the embedded one this machine has."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from toolkit.postgres.servers import embedded_versions

OLDEST = 15
_NEEDED = ("initdb", "pg_ctl", "postgres")
_USUAL = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/pgsql/bin")


def system_postgres() -> Path | None:
    """The `bin` folder of the system's Postgres (15 or later), the oldest of several."""
    found = system_versions()
    return found[min(found)] if found else None


def system_versions() -> dict[int, Path]:
    """The `bin` folder of each major version from 15 on that the system has: TOOLKIT_TEST_PG_BIN alone if it is set,
    else what pg_config says and the usual folders."""
    if chosen := os.environ.get("TOOLKIT_TEST_PG_BIN"):
        return {major(Path(chosen)): Path(chosen)}
    found = [folder for pattern in _USUAL for folder in Path("/").glob(pattern.removeprefix("/"))]
    try:
        said = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True, timeout=10)
        found.append(Path(said.stdout.strip()))
    except (OSError, subprocess.SubprocessError):
        pass
    usable = {major(folder): folder for folder in found if all((folder / name).exists() for name in _NEEDED)}
    return {version: folder for version, folder in usable.items() if version >= OLDEST}


def shipped_postgres(version: int) -> Path | None:
    """The `bin` folder of a version that comes with the toolkit beside the embedded one."""
    return embedded_versions().get(version)


def major(folder: Path) -> int:
    """The major version of the binaries in a folder."""
    told = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=10)
    match = re.search(r"\) (\d+)", told.stdout)
    assert match is not None, told.stdout
    return int(match.group(1))
