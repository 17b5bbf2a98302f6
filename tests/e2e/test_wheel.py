"""What is installed from a wheel is whole: code, SQL and YAML, found without the clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, as `pip install` would lay it down."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--disable-pip-version-check",
            "-w",
            str(folder),
            str(ROOT),
        ],
        check=True,
        capture_output=True,
        timeout=100,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def _run(installed: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=installed.parent,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sql_and_yaml_come_with_the_package(installed: Path) -> None:
    program = (
        "import toolkit, reference_server\n"
        "from toolkit.resources import migrations_dir, scenarios_dir\n"
        "print(toolkit.__file__, reference_server.__file__, migrations_dir(), scenarios_dir(), sep='\\n')"
    )
    places = [Path(line) for line in _run(installed, "-c", program).splitlines()]
    assert all(place.is_relative_to(installed) for place in places)
    for shipped, cloned in zip(places[2:], (ROOT / "migrations", ROOT / "scenarios"), strict=True):
        names = {p.relative_to(shipped) for p in shipped.rglob("*.*")}
        assert names == {p.relative_to(cloned) for p in cloned.rglob("*.*")}


def test_the_commands_find_them(installed: Path) -> None:
    assert "complete-generation-flow" in _run(installed, "-m", "toolkit.cli", "scenarios", "list")
    assert "rehearse" in _run(installed, "-m", "toolkit.cli", "--help")
