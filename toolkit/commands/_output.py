"""What every command does with its results: the report on stdout, its exit code, and files beside it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson

from toolkit.commands._stdout import forget_stdout
from toolkit.errors import UsageError
from toolkit.report import as_json as stored_form
from toolkit.report import as_terminal
from toolkit.report.record import Report


def with_more(report: Report, more: dict[str, Any]) -> str:
    """The report as indented JSON, with what else a command has to tell as further keys."""
    top = asdict(report)
    assert not top.keys() & more.keys(), "the report's own keys mean the same in every command"
    return orjson.dumps(top | more, option=orjson.OPT_INDENT_2, default=str).decode() + "\n"


def shown(report: Report) -> str:
    """The report as text for whoever reads stdout."""
    return as_terminal.render(report, colour=as_terminal.wants_colour(sys.stdout))


def headline(report: Report) -> str:
    """The report's first lines alone: its title, verdict and counts."""
    return as_terminal.headline(report, colour=as_terminal.wants_colour(sys.stdout))


def rendered(report: Report, as_json: bool) -> str:
    """The report as JSON, or as text for whoever reads stdout."""
    return stored_form.render(report) if as_json else shown(report)


def conclude(text: str, code: int) -> NoReturn:
    """Print a report and end with its exit code, also when the reader (head, less) went away: the verdict stands."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        forget_stdout()
    raise click.exceptions.Exit(code)


def make_writable(path: Path | None) -> None:
    """Make the file, empty, where it does not exist. Raises UsageError, so that a long run does not end in one."""
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()
        except OSError as error:
            raise _refusal(path, error) from error


def write_file(path: Path, text: str) -> None:
    """Write `text`, making the folder. Raises UsageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be written: {error.strerror or error}.", "Give another file.")
