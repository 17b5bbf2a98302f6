"""The README shows only commands that exist, with options they take, and leaves none out."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from toolkit.cli import COMMANDS, toolkit

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def shown_commands(text: str) -> list[str]:
    """Commands of the console blocks, continuation lines joined: what follows `$ `."""
    found: list[str] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        joined = block.replace("\\\n", " ")
        found += [line[2:].split(" #")[0].strip() for line in joined.splitlines() if line.startswith("$ ")]
    return found


def parse(words: list[str]) -> None:
    """Parse a toolkit command line without running it. Raises click.UsageError."""
    command: click.Command = toolkit
    context = click.Context(toolkit, info_name="toolkit")
    while isinstance(command, click.Group) and words:
        if words[0] in ("--help", "-h", "--version"):
            return
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
        context = click.Context(command, parent=context, info_name=name)
    if words not in (["--help"], ["-h"]):
        command.make_context(context.info_name, list(words), parent=context.parent)


def _toolkit_lines() -> list[str]:
    return [c for c in shown_commands(README) if re.match(r"(\w+=\S+ )*(\.venv/bin/)?toolkit\b", c)]


@pytest.mark.parametrize("line", _toolkit_lines())
def test_a_shown_toolkit_command_can_be_typed(line: str) -> None:
    words = shlex.split(line)
    for stop in ("|", ">", "2>", "&&"):
        if stop in words:
            words = words[: words.index(stop)]
    while "=" in words[0]:
        words.pop(0)
    parse(words[1:])


def test_a_wrong_option_is_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse(["up", "--no-such-option"])


def test_every_command_is_shown() -> None:
    shown = " ".join(_toolkit_lines())
    assert [name for name in COMMANDS if f"toolkit {name}" not in shown] == []


def test_shown_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {c.split()[1] for c in shown_commands(README) if c.startswith("make ")}
    assert {"rehearse", "test"} <= shown <= targets


def test_the_two_commands_come_first() -> None:
    assert shown_commands(README)[:2] == ["make rehearse", "make test"]
