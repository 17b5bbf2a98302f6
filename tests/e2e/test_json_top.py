"""What `--json` prints begins alike in every command, whatever it ends with, so that one program can read them all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click
import pytest

from tests.e2e.test_up_down import CHECK, TOP
from toolkit.cli import toolkit
from toolkit.postgres.cluster import free_port

# Each ends soon, with or without success; reports of whole runs are held against the same top where they are made.
TABLE = {
    "rehearse": (["--target", "external"], 2),
    "up": (["--legacy", "--transport", "both"], 2),
    "down": (["--data", "absent"], 0),
    "token": (["--data", "absent"], 2),
    "bootstrap": (["--database-url", "{closed}"], 4),
    "keys": (["--new-secret"], 0),
    "init ci": (["--bundled"], 2),
    "migrate status": (["--bundled", "--database-url", "{closed}"], 4),
    "migrate plan": (["--bundled", "--database-url", "{closed}"], 4),
    "migrate up": (["--bundled", "--database-url", "{closed}"], 4),
    "migrate down": (["--bundled", "--database-url", "{closed}"], 4),
    "migrate verify": (["--bundled", "--database-url", "{closed}", "--yes"], 4),
    "migrate snapshot": (["--database-url", "{closed}"], 4),
    "migrate diff": (["absent", "absent"], 2),
    "migrate drift": (["--bundled", "--database-url", "{closed}"], 4),
    "migrate lint": (["--migrations", "absent"], 2),
    "migrate repair": (["--bundled", "--database-url", "{closed}"], 4),
    "migrate eject": (["project"], 0),
    "migrate prove": (["--migrations", "absent", "--reports-dir", "runs"], 2),
    "migrate mutate": (["--migrations", "absent", "--reports-dir", "runs"], 2),
    "scenarios list": ([], 0),
    "scenarios run": (["no-such-scenario"], 2),
    "scenarios check": (["absent"], 2),
    "load run": (["--ramp", "soon"], 2),
    "load compare": (["websocket"], 2),
    "doctor": (["--target", "external"], 2),
    "monitor": (["--target", "external"], 2),
    "signoff": (["absent"], 2),
}


def with_json(command: click.Command, name: str = "") -> Iterator[str]:
    """The names of all commands that take --json."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            found = command.get_command(context, word)
            assert found is not None
            yield from with_json(found, f"{name} {word}".strip())
    elif any("--json" in parameter.opts for parameter in command.params):
        yield name


def test_no_command_is_left_out() -> None:
    assert set(with_json(toolkit)) <= TABLE.keys()


@pytest.mark.parametrize("name", list(with_json(toolkit)))
def test_the_top_is_the_same(name: str, tmp_path: Path) -> None:
    arguments, code = TABLE[name]
    closed = f"postgresql://me@127.0.0.1:{free_port()}/app"
    done = subprocess.run(
        [sys.executable, "-m", "toolkit.cli", *name.split(), *(a.format(closed=closed) for a in arguments), "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    told = json.loads(done.stdout)
    assert told.keys() >= TOP, done
    assert (told["name"], done.returncode) == (name, code)
    assert told["verdict"] == {0: "pass", 2: "unknown", 4: "unknown"}[code]
    assert datetime.fromisoformat(told["started_at"]) <= datetime.fromisoformat(told["finished_at"])
    assert told["checks"]
    assert all(check.keys() >= CHECK for check in told["checks"])
    assert isinstance(told["measurements"], list)
    assert "Traceback" not in done.stderr
