"""Pages of the site that are made from the code, so that they cannot fall behind it (a hook of mkdocs).

    reference/commands/index.md, reference/commands/<command>.md     the command line, from click itself
    reference/lint-rules.md                                          the linter's rules, and what squawk's are worth
    reference/live-checks.md                                         what `toolkit migrate verify` asks any database
    reference/judges.md                                              the judges of scenarios

`pages()` makes them; nothing of it is written into the repository.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from toolkit.cli import COMMANDS, toolkit
from toolkit.migrate.lint import rules, squawk_rules
from toolkit.migrate.verify import live_checks
from toolkit.scenarios import judges

COMMANDS_FOLDER = "reference/commands"
_WIDE = 10_000  # characters of a line: nothing is wrapped, the browser does that


class _Recorder(click.HelpFormatter):
    """Takes what a command tells of itself as sections of (names, help), in click's order and under its headings."""

    def __init__(self) -> None:
        super().__init__(width=_WIDE)
        self.sections: list[tuple[str, list[tuple[str, str]]]] = []
        self._heading = ""

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        self._heading = name
        yield
        self._heading = ""

    def write_dl(self, rows: Any, *_: Any, **__: Any) -> None:
        self.sections.append((self._heading, [(str(names), str(told)) for names, told in rows]))


def on_files(files: Any, config: Any) -> Any:
    """mkdocs asks which files there are: those of the folder, and these."""
    from mkdocs.structure.files import File

    for path, content in pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_config(config: Any) -> Any:
    """mkdocs asks for its settings: the navigation gets a page for each command."""
    reference = next(part["Reference"] for part in config["nav"] if "Reference" in part)
    commands = next(part for part in reference if isinstance(part, dict) and "Commands" in part)
    commands["Commands"] = [
        f"{COMMANDS_FOLDER}/index.md",
        *({f"toolkit {name}": f"{COMMANDS_FOLDER}/{name}.md"} for name in COMMANDS),
    ]
    return config


def pages() -> dict[str, str]:
    """Path below docs/ → Markdown of every generated page."""
    made = {
        "reference/lint-rules.md": _lint_rules(),
        "reference/live-checks.md": _live_checks(),
        "reference/judges.md": _judges(),
    }
    made[f"{COMMANDS_FOLDER}/index.md"] = _overview()
    for name in COMMANDS:
        made[f"{COMMANDS_FOLDER}/{name}.md"] = f"# toolkit {name}\n\n" + "\n".join(_command(("toolkit", name)))
    return made


def walk(words: tuple[str, ...] = ("toolkit",), command: click.Command = toolkit) -> Iterator[tuple[str, ...]]:
    """The words of every command and group, in the order of their help."""
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=words[-1])
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk((*words, name), found)


def _overview() -> str:
    lines = [
        "# Commands",
        "",
        "Made from the command line itself; `--help` of each command says the same.",
        "Options win over the environment, and the environment over [toolkit.toml](../settings.md).",
        "What the exit codes mean: [exit codes](../exit-codes.md).",
        "",
        "| Command | What it does |",
        "|---|---|",
    ]
    for words in walk():
        command, _ = _found(words)
        if len(words) > 1 and not isinstance(command, click.Group):
            anchor = "" if len(words) == 2 else "#" + "-".join(words)
            told = _plain(" ".join((command.help or "").split("\n\n")[0].split()))
            lines.append(f"| [`{' '.join(words)}`]({words[1]}.md{anchor}) | {told} |")
    return "\n".join(lines) + "\n"


def _command(words: tuple[str, ...]) -> Iterator[str]:
    command, context = _found(words)
    yield from _told(command.help or "")
    if not isinstance(command, click.Group):
        usage = " ".join([" ".join(words), *command.collect_usage_pieces(context)])
        yield from ("```text", usage, "```", "")
    recorder = _Recorder()
    command.format_options(context, recorder)
    for heading, rows in recorder.sections:
        if heading in {"", "Commands"} or isinstance(command, click.Group):
            continue
        yield from (f"| {heading.rstrip(':')} | Meaning |", "|---|---|")
        yield from (f"| `{names}` | {_plain(told)} |" for names, told in rows)
        yield ""
    if examples := getattr(command, "examples", ()):
        yield from ("```console", *(f"$ {example}" for example in examples), "```", "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = (*words, name)
            yield from (f"## `{' '.join(below)}` {{#{'-'.join(below)}}}", "")
            yield from _command(below)


def _found(words: tuple[str, ...]) -> tuple[click.Command, click.Context]:
    command: click.Command = toolkit
    context = click.Context(toolkit, info_name="toolkit", **toolkit.context_settings)
    for word in words[1:]:
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None, " ".join(words)
        command, context = found, click.Context(found, parent=context, info_name=word)
    return command, context


def _told(text: str) -> Iterator[str]:
    """Help as Markdown; paragraphs that click keeps as they are (`\\b`) are kept here too."""
    for paragraph in text.replace("\f", "").split("\n\n"):
        lines = paragraph.strip("\n").splitlines()
        if lines and lines[0].strip() == "\b":
            yield from ("```text", *inspect.cleandoc("\n".join(lines[1:])).splitlines(), "```", "")
        else:
            yield from (_plain(" ".join(" ".join(lines).split())), "")


def _plain(text: str) -> str:
    """A text as a cell of a table shows it word for word; what is in back quotes stays as it is, pipes too."""
    parts = " ".join(text.split()).split("`")
    for number in range(0, len(parts), 2):
        for sign, written in (("&", "&amp;"), ("<", "&lt;"), ("*", "\\*"), ("[", "\\["), ("|", "\\|")):
            parts[number] = parts[number].replace(sign, written)
    return "`".join(parts)


def _lint_rules() -> str:
    lines = [
        "# Lint rules",
        "",
        "What `toolkit migrate lint` looks for, made from the rules themselves. How findings are accepted and "
        "severities changed: [lint and lint.toml](lint.md).",
        "",
        "## Rules of this linter {#ours}",
        "",
        "| Rule | Severity | Finds | Why it matters | Instead |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{rule.id}` | {rule.severity.word} | {_plain(rule.title)} | {_plain(rule.why)} | {_plain(rule.remedy)} |"
        for rule in rules.ALL
    ]
    lines += [
        "",
        "## squawk's rules, and what they are worth here {#squawk}",
        "",
        f"A rule that is not in this list belongs to a newer squawk and is a {squawk_rules.UNKNOWN.up.word}.",
        "",
        "| Rule | In migrations | In rollbacks | Why |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{squawk_rules.PREFIX}{name}` | {grade.up.word} | {grade.rollback.word} | {_plain(grade.reason)} |"
        for name, grade in squawk_rules.GRADES.items()
    ]
    return "\n".join(lines) + "\n"


def _live_checks() -> str:
    lines = [
        "# LIVE checks",
        "",
        "What `toolkit migrate verify` looks at in any database, read-only, made from the checks themselves.",
        "",
        "| Check | Holds when | When it fails |",
        "|---|---|---|",
    ]
    lines += [f"| `{check.id}` | {_plain(check.title)} | {_plain(check.remedy)} |" for check in live_checks.CHECKS]
    return "\n".join(lines) + "\n"


def _judges() -> str:
    lines = [
        "# Judges",
        "",
        "What `check` of a [scenario file](scenarios.md) may name, made from the judges themselves. A judge reads the "
        "run's history and nothing else. It says pass, fail with the shortest piece of history that shows it, or "
        "unknown where there was nothing to look at.",
        "",
        "| Judge | Holds when | Transports | When it fails |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{judge.id}` | {_plain(judge.title)} | {', '.join(sorted(judge.transports))} | {_plain(judge.remedy)} |"
        for judge in judges.ALL
    ]
    return "\n".join(lines) + "\n"
