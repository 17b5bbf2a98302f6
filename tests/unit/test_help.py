"""Every help text: one screen of sentences, the command's own options first, units, and examples that can be typed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from tests.source.docs.test_commands import invocations, parse
from toolkit.cli import COMMANDS, toolkit
from toolkit.commands._click import TARGET, Command, Duration, Option, option

LINES, COLUMNS = 50, 100
UNITS = re.compile(r"\bMiB\b|share \(0 to 1\)")
MIGRATE = ["lint", "prove", "mutate", "plan", "up", "verify", "status", "down", "snapshot", "diff", "drift"]
MIGRATE += ["repair", "eject"]
CHANGING = {"migrate up", "migrate down", "migrate verify", "migrate repair", "scenarios run"}
CHANGING |= {"load run", "load compare", "bootstrap", "doctor", "monitor"}  # their probe writes
LEGACY_NAMES = {"--report-dir", "--runs-dir", "--max-age-days", "--jwks-url"}


def walk(command: click.Command = toolkit, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command with the words that call it; the top group is ""."""
    yield name, command
    if isinstance(command, click.Group):
        for word in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), word)
            assert found is not None
            yield from walk(found, f"{name} {word}".strip())


EVERY = dict(walk())
LEAVES = {name: command for name, command in EVERY.items() if isinstance(command, Command)}


def shown(command: click.Command, name: str) -> list[str]:
    top = click.Context(toolkit, info_name="toolkit", **toolkit.context_settings)
    top.max_content_width = top.terminal_width = COLUMNS
    return command.get_help(click.Context(command, parent=top, info_name=name)).splitlines()


def wrong_with(command: click.Command, name: str) -> list[str]:
    """What a reader of this help would stumble over."""
    found = []
    lines = shown(command, name)
    if len(lines) > LINES:
        found.append(f"{len(lines)} lines")
    found += [f"wider than {COLUMNS} columns: {line}" for line in lines if len(line) > COLUMNS]
    found += [
        f"cut off: {line}" for line in lines if isinstance(command, click.Group) and re.match(r"  \w.*\.\.\.$", line)
    ]
    if not is_sentence((command.help or "").split("\n\n")[0]):
        found.append("the command is not described in a sentence")
    for parameter in command.params:
        text = getattr(parameter, "help", None) or ""
        if not is_sentence(text):
            found.append(f"{parameter.name}: not a sentence: {text!r}")
        if isinstance(parameter.type, click.FloatRange | click.types.FloatParamType) and not UNITS.search(text):
            found.append(f"{parameter.name}: a figure without its unit")
        if (
            isinstance(parameter.type, Duration)
            and not isinstance(parameter.default, float)
            and not re.search(r"\d+m?s", text)
        ):
            found.append(f"{parameter.name}: no default and no example shows how a duration is written")
        if re.search(r"\b(milli)?seconds\b", text):
            found.append(f"{parameter.name}: a duration has its unit where it is written, not in the help")
    if not isinstance(command, click.Group) and not getattr(command, "examples", ()):
        found.append("no example")
    return found


def is_sentence(text: str) -> bool:
    return re.fullmatch(r"[A-Z].*[^.]\.", " ".join(text.split())) is not None


@pytest.mark.parametrize("name", EVERY)
def test_help_is_one_screen_of_sentences(name: str) -> None:
    assert wrong_with(EVERY[name], name) == []


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        ({"help": "so many may fail."}, "not a sentence"),
        ({"help": "Of the rows"}, "not a sentence"),
        ({}, "not a sentence"),
        ({"help": "Keep this much.", "type": click.FloatRange(0)}, "without its unit"),
        ({"help": "Wait this long.", "type": Duration()}, "no default and no example"),
        ({"help": "Wait this many seconds.", "type": Duration(), "default": 1.0}, "where it is written"),
        ({"help": "Long. " * 700 + "End."}, "lines"),
    ],
)
def test_a_bad_text_is_noticed(attributes: dict[str, object], complaint: str) -> None:
    @click.command("planted", cls=Command, examples=("toolkit up",))
    @option("--planted", **attributes)
    def planted(planted: object) -> None:
        """Do nothing at all."""

    found = wrong_with(planted, "planted")
    assert len(found) == 1, found
    assert complaint in found[0]


def test_commands_are_listed_in_the_order_of_work() -> None:
    listed = [name for name in EVERY if " " not in name and name]
    assert listed == list(COMMANDS)
    assert [name.split()[1] for name in EVERY if name.startswith("migrate ")] == MIGRATE


@pytest.mark.parametrize("name", LEAVES)
def test_a_command_s_own_options_come_before_those_of_the_target(name: str) -> None:
    headings = [line for line in shown(LEAVES[name], name) if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    headings = [line for line in headings if line not in {"Positional arguments:", "Example:", "Examples:"}]
    assert headings[0] == "Options:"
    assert TARGET + ":" not in headings[:-1]
    assert all(isinstance(one, Option) for one in LEAVES[name].params if not isinstance(one, click.Argument))


@pytest.mark.parametrize("name", LEAVES)
def test_only_what_a_command_can_use_is_offered(name: str) -> None:
    offered = {flag for one in LEAVES[name].params for flag in one.opts}
    targets = {flag for one in LEAVES[name].params if getattr(one, "group", "") == TARGET for flag in one.opts}
    assert ("--yes" in targets) == (name in CHANGING)
    if name.startswith("migrate "):
        assert targets <= {"--target", "--data", "--database-url", "--yes", "-y"}
    assert not offered & LEGACY_NAMES


@pytest.mark.parametrize(
    ("name", "example"), [(name, example) for name, command in LEAVES.items() for example in command.examples]
)
def test_an_example_can_be_typed(name: str, example: str) -> None:
    assert f"toolkit {name}" in example
    found = list(invocations(example, "toolkit"))
    assert found
    for words in found:
        parse(words)


def test_drift_starts_wherever_prove_can() -> None:
    of_prove, of_drift = (
        {parameter.name: parameter for parameter in LEAVES[f"migrate {name}"].params} for name in ("prove", "drift")
    )
    for name in ("schema", "database", "postgres", "scratch_url"):
        assert of_prove[name].opts == of_drift[name].opts
        assert getattr(of_prove[name], "help", "") == getattr(of_drift[name], "help", "?")
