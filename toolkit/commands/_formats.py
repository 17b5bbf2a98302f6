"""In which form a command tells its result, on stdout and in files: one way for every command that a pipeline runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from toolkit.commands._click import option
from toolkit.commands._output import conclude, make_writable, write_file
from toolkit.errors import UsageError
from toolkit.report import as_github, as_html, as_json, as_junit, as_markdown, as_sarif
from toolkit.report.places import NOWHERE, Places
from toolkit.report.record import Report

F = TypeVar("F", bound=Callable[..., Any])
_RENDERED: dict[str, Callable[[Report, Places], str]] = {
    "json": lambda report, _: as_json.render(report),
    "junit": lambda report, _: as_junit.render(report),
    "sarif": as_sarif.render,
    "github": as_github.render,
    "markdown": as_markdown.render,
    "html": lambda report, _: as_html.render(report),
}
_BY_SUFFIX = {".json": "json", ".xml": "junit", ".sarif": "sarif", ".md": "markdown", ".html": "html"}
_STDOUT = ("text", "json", "junit", "sarif", "github", "markdown")
_META = "toolkit.formats"


@dataclass(frozen=True)
class _Asked:
    """The form on stdout, and files whose suffixes say their form."""

    stdout: str
    files: tuple[Path, ...]


def format_options(function: F) -> F:
    """Adds --format and --output to a command with --json, which ends by `deliver`."""

    @functools.wraps(function)
    def wrapper(*args: Any, stdout: str | None, outputs: tuple[Path, ...], as_json: bool, **rest: Any) -> Any:
        if as_json and stdout not in {None, "json"}:
            raise UsageError(f"--json and --format {stdout} exclude each other.", "Give one of them.")
        for path in outputs:
            if path.suffix not in _BY_SUFFIX:
                known = ", ".join(f"{suffix} ({form})" for suffix, form in _BY_SUFFIX.items())
                raise UsageError(f"--output {path}: its suffix says no form.", f"Known are {known}.")
            make_writable(path)
        click.get_current_context().meta[_META] = _Asked("json" if as_json else stdout or "text", outputs)
        try:
            return function(*args, as_json=as_json or stdout == "json", **rest)
        finally:
            for path in outputs:  # the command ended before it had a result
                if path.is_file() and not path.stat().st_size:
                    path.unlink()

    decorated: Any = option(
        "--output",
        "outputs",
        type=click.Path(path_type=Path, dir_okay=False),
        multiple=True,
        metavar="FILE",
        help="Also write it here: .json, .xml, .sarif, .md, .html; repeatable.",
    )(wrapper)
    offered: F = option(
        "--format",
        "stdout",
        type=click.Choice(_STDOUT),
        default=None,
        metavar="FORM",
        help=f"Print as {', '.join(_STDOUT[:-1])} or {_STDOUT[-1]}.",
    )(decorated)
    return offered


def for_programs() -> bool:
    """Whether the result is for a program, so that a refusal is to be a report too."""
    asked = _asked()
    return asked is not None and (asked.stdout != "text" or bool(asked.files))


def deliver(report: Report, text: str, code: int, places: Places = NOWHERE) -> NoReturn:
    """Write the files that were asked for, print the report (`text` where text or JSON is), end with its code."""
    asked = _asked()
    if asked is not None:
        for path in asked.files:
            write_file(path, _RENDERED[_BY_SUFFIX[path.suffix]](report, places))
        if asked.stdout not in {"text", "json"}:
            text = _RENDERED[asked.stdout](report, places)
    conclude(text, code)


def _asked() -> _Asked | None:
    context = click.get_current_context(silent=True)
    return context.meta.get(_META) if context is not None else None
