"""Commands that the documentation shows exist, with the options they are given; tests/e2e/docs runs them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from tests.support.documentation import PAGES, ROOT, Command, commands, name_of
from toolkit.cli import COMMANDS, toolkit

SHOWN = [command for page in PAGES for command in commands(page.read_text(), name_of(page))]
_STOPS = {"|", ">", "2>", "&&", "||", ";", "&"}


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


def invocations(line: str, *program: str) -> Iterator[list[str]]:
    """The words behind `program` wherever `line` calls it: after variables, in `$(…)`, after `&&`."""
    for part in re.split(r"\$\(|\)\"|\)$", line):
        words = shlex.split(part, posix=True) if part.count('"') % 2 == 0 and part.count("'") % 2 == 0 else part.split()
        for start in range(len(words)):
            before = words[start - 1] if start else ""
            called = words[start : start + len(program)] == list(program)
            if called and (not start or before in _STOPS or "=" in before or before == "time"):
                rest = words[start + len(program) :]
                end = next((n for n, word in enumerate(rest) if word in _STOPS), len(rest))
                yield rest[:end]


@pytest.mark.parametrize("command", [c for c in SHOWN if "toolkit" in c.text], ids=str)
def test_a_shown_toolkit_command_can_be_typed(command: Command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = list(invocations(command.text.replace(".venv/bin/toolkit", "toolkit"), "toolkit"))
    assert found or "toolkit " not in command.text, "the command was not recognised"
    for words in found:
        parse(words)


def test_every_command_is_shown() -> None:
    typed = " ".join(command.text for command in SHOWN)
    assert [name for name in COMMANDS if f"toolkit {name}" not in typed] == []


def test_shown_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {words[0] for command in SHOWN for words in invocations(command.text, "make")}
    assert {"rehearse", "test", "docs"} <= shown <= targets


def test_the_readme_is_short_and_begins_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.encode()) <= 10_000
    assert [command.text for command in commands(text, "README.md")][:2] == ["make rehearse", "make test"]


def test_a_wrong_option_is_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse(["up", "--no-such-option"])


def test_commands_are_found_wherever_they_stand() -> None:
    assert list(invocations('locust -f "$(toolkit load locustfile)" --master', "toolkit")) == [["load", "locustfile"]]
    assert list(invocations("A=1 toolkit up --workers 2 > x && toolkit down", "toolkit")) == [
        ["up", "--workers", "2"],
        ["down"],
    ]
    assert list(invocations("echo toolkit", "toolkit")) == []


def test_blocks_are_read_with_their_marks() -> None:
    text = (
        "<!-- docs-test: setup\nexport A=1 -->\n<!-- docs-test: exit 1 3 -->\n"
        "```console\n$ one \\\n    two   # why\nout\n$ three\n```\n"
        "<!-- docs-test: checked only, needs a network -->\n```console\n$ four\n```\n"
    )
    one, three, four = commands(text, "page")
    assert (one.text, one.shown, one.codes, one.setup, one.line) == ("one      two", ("out",), (1, 3), "export A=1", 5)
    assert (three.text, three.setup, three.run) == ("three", "", True)
    assert (four.run, four.why_not) == (False, "needs a network")
    with pytest.raises(ValueError, match="page:3"):
        commands("\n<!-- docs-test: sometimes -->\n```console\n$ a\n```\n".lstrip("\n"), "page")
