"""`eval "$(toolkit up --env)"`: what other programs need, all of it, and the commands that then work as written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_help import LEAVES
from toolkit.commands.up import _quoted
from toolkit.resources import migrations_dir
from toolkit.targets.embedded import running_target

pytestmark = pytest.mark.xdist_group("up_env")
NAMES = {"API_URL", "SUPABASE_URL", "SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_JWT_SECRET"}
NAMES |= {"DATABASE_URL"}
# How fast this machine is today is not the question here.
PATIENT = {f"LOAD_P95_{name}": "60000" for name in ("START", "FIRST_EVENT", "ANSWER", "DELIVERY")}


def shell(folder: Path, script: str, **more: str) -> subprocess.CompletedProcess[str]:
    """What bash makes of `script` in `folder`, with `toolkit` and `locust` at hand and no setting but `more`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), **more},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a target runs, started by the very line; its embedded folder is the default one."""
    here = tmp_path_factory.mktemp("env")
    shutil.copytree(migrations_dir(), here / "migrations")
    done = shell(here, 'eval "$(toolkit up --env)" && toolkit migrate snapshot -o before.json')
    try:
        assert done.returncode == 0, done.stderr
        yield here
    finally:
        shell(here, "toolkit down --delete-data --yes")


def test_every_setting_is_set_and_handed_on(folder: Path) -> None:
    told = shell(folder, "toolkit up --env")
    assert told.returncode == 0, told.stderr
    assert not told.stderr, "it runs already, and a script need not hear that"
    lines = told.stdout.splitlines()
    assert all(line.startswith("export ") for line in lines)
    assert {line.split(" ")[1].split("=")[0] for line in lines} == NAMES
    read = shell(
        folder, 'eval "$(toolkit up --env)" && python -c "import json, os; print(json.dumps(dict(os.environ)))"'
    )
    target = running_target(folder / ".toolkit" / "embedded")
    assert target is not None
    assert {name: json.loads(read.stdout)[name] for name in NAMES} == target.environment()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("toolkit doctor", "PASS"),
        ("toolkit migrate diff before.json env:DATABASE_URL", "PASS"),
        ("toolkit scenarios run complete-generation-flow && toolkit scenarios check reports", "PASS"),
        ('locust -f "$(toolkit load locustfile)" --headless --users 2 --spawn-rate 2', "report.html"),
    ],
    ids=lambda text: text.split("&&")[0].strip(),
)
def test_what_is_documented_works_as_written(folder: Path, line: str, says: str) -> None:
    done = shell(folder, f'eval "$(toolkit up --env)" && {line}', **PATIENT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert says in done.stdout + done.stderr


# Those that neither take minutes nor wait for ever nor end the target; what they need was made before.
EXAMPLES = (
    *("migrate lint", "migrate plan", "migrate verify", "migrate status", "migrate snapshot", "migrate drift"),
    *("migrate repair", "token", "doctor", "scenarios list", "scenarios schema"),
)


def test_examples_of_the_help_work_as_written(folder: Path) -> None:
    lines = [line for name in EXAMPLES for line in LEAVES[name].examples]
    assert len(lines) > len(EXAMPLES)
    script = "".join(f"echo '@ {line}'\n{line} > out 2>&1 || {{ echo $?; cat out; exit 1; }}\n" for line in lines)
    done = shell(folder, script)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_running_target_is_ours_whoever_names_it(folder: Path) -> None:
    for line in ("toolkit doctor --json", "toolkit doctor --json --target external"):
        report = json.loads(shell(folder, f'eval "$(toolkit up --env)" && {line}').stdout)
        assert (report["verdict"], report["target"].split()[0]) == ("pass", "embedded")


def test_what_says_more_than_the_running_target_is_not_ours(folder: Path) -> None:
    wrong = 'eval "$(toolkit up --env)" && export SUPABASE_ANON_KEY=other && toolkit scenarios run process-recovery'
    done = shell(folder, wrong)
    assert done.returncode == 2
    assert "nobody confirmed it" in done.stderr


def test_a_target_that_is_stopped_is_said_to_be(folder: Path) -> None:
    done = shell(
        folder, 'eval "$(toolkit up --env --data other)" && toolkit down --data other && toolkit doctor --data other'
    )
    assert done.returncode == 4
    assert f"DATABASE_URL names the embedded target in {folder / 'other'}, which is stopped." in done.stderr
    done = shell(
        folder,
        'export DATABASE_URL="postgresql://postgres@/app?host=$PWD/other/postgres&port=5432"; '
        "toolkit migrate status --bundled",
    )
    assert done.returncode == 4
    assert "start it with `toolkit up`" in done.stderr


def test_a_target_that_cannot_be_had_sets_nothing_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = shell(tmp_path, 'eval "$(toolkit up --env --data file)"; echo "[$API_URL]"')
    assert done.stdout.strip() == "[]"
    assert "Directory 'file' is a file" in done.stderr


@pytest.mark.parametrize("value", ["plain", 'a"b', "$HOME `id` $(id) \\ \\\\", "it's", "a b\tc", "ünï"])
def test_any_value_survives_the_shell(tmp_path: Path, value: str) -> None:
    (tmp_path / "lines").write_text(f"export A={_quoted(value)}\n")
    assert shell(tmp_path, 'eval "$(cat lines)"; printf %s "$A"').stdout == value
