"""Which folder of migrations a command works with: the one that is named, or the project's own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from toolkit.commands._click import option
from toolkit.errors import UsageError
from toolkit.resources import migrations_dir
from toolkit.targets.settings import CONFIG_FILE, read_config

F = TypeVar("F", bound=Callable[..., Any])
_PROJECTS = (Path("supabase/migrations"), Path("migrations"))


def choose(named: Path | None, bundled: bool, *, embedded: bool) -> Path:
    """The folder: `named`; with `bundled` the toolkit's own; what toolkit.toml says; `supabase/migrations` or
    `migrations` of the working directory; on an embedded target (`embedded`) at last the toolkit's own.

    Raises UsageError with every way to name one.
    """
    if named is not None and bundled:
        raise UsageError("--migrations and --bundled exclude each other.", "Give one of them.")
    if named is not None or bundled:
        return named or migrations_dir()
    if (configured := _configured()) is not None:
        return configured
    found = next((folder for folder in _PROJECTS if folder.is_dir()), None)
    if found is None and not embedded:
        raise UsageError(
            "There is no folder of migrations here: neither supabase/migrations nor migrations, and "
            f"{CONFIG_FILE} names none.",
            f'Name it with --migrations FOLDER, or in {CONFIG_FILE}: `migrations = "FOLDER"` in the first lines. '
            "--bundled takes the toolkit's own; `toolkit migrate eject FOLDER` copies those into a project.",
        )
    return found or migrations_dir()


def _configured() -> Path | None:
    value = read_config(CONFIG_FILE).get("migrations")
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise UsageError(f"{CONFIG_FILE}: migrations is not the name of a folder.", 'Write migrations = "FOLDER".')
    return CONFIG_FILE.parent / value


def described(folder: Path) -> str:
    """As a report names it."""
    return f"the toolkit's own ({folder})" if folder == migrations_dir() else str(folder)


def folder_options(function: F) -> F:
    """Adds --migrations and --bundled. The command receives `folder: Path`, chosen with its target in mind if it has a
    `choice`."""

    @functools.wraps(function)
    def wrapper(*args: Any, named: Path | None, bundled: bool, **rest: Any) -> Any:
        choice = rest.get("choice")
        # With these the folder is not looked at.
        unread = rest.get("list_rules", False) or rest.get("file") is not None
        embedded = unread or (choice is not None and choice.kind == "embedded")
        return function(*args, folder=choose(named, bundled, embedded=embedded), **rest)

    decorated: Any = option(
        "--bundled", is_flag=True, help="Read the migrations that come with the toolkit instead of the project's."
    )(wrapper)
    offered: F = option(
        "--migrations",
        "named",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        show_default="toolkit.toml, supabase/migrations or migrations",
        metavar="FOLDER",
        help="Read the migrations of this folder.",
    )(decorated)
    return offered
