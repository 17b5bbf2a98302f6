"""Node and the console's packages, which `make test` installs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "reference_server" / "console"
_BIN = Path(sys.executable).parent
_NEEDED = PACKAGE / "node_modules" / "typescript"


@pytest.fixture(scope="session")
def package() -> Path:
    """The package's folder, its dependencies installed."""
    if not _NEEDED.exists():
        pytest.skip("needs the console's Node packages; `make reference_server/console/node_modules/.ready` installs")
    return PACKAGE


def node(*words: str, cwd: Path, deadline_s: float = 120) -> Any:
    """What a script prints as JSON on its last line. Raises AssertionError with what it said when it fails."""
    path = {"PATH": f"{_BIN}:/usr/bin:/bin"}
    done = subprocess.run(
        ["node", *words], cwd=cwd, env=path, capture_output=True, text=True, timeout=deadline_s, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def npm(*words: str, cwd: Path, deadline_s: float = 120) -> str:
    """The output of npm or a program of the package. Raises AssertionError with what it said when it fails."""
    path = {"PATH": f"{cwd}/node_modules/.bin:{PACKAGE}/node_modules/.bin:{_BIN}:/usr/bin:/bin", "HOME": str(cwd)}
    done = subprocess.run(words, cwd=cwd, env=path, capture_output=True, text=True, timeout=deadline_s, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout
