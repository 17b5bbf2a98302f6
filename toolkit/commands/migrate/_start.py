"""Where commands that work on scratch databases start: options, the same for each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from toolkit.commands._address import address_of
from toolkit.commands._click import option
from toolkit.commands._project_mode import project_mode_option
from toolkit.errors import UsageError
from toolkit.migrate.folder.project_mode import ProjectMode
from toolkit.migrate.scratch.origin import Origin

F = TypeVar("F", bound=Callable[..., Any])
START = "Where to start"


def start_options(embedded: str) -> Callable[[F], F]:
    """Adds --from, --from-database, --postgres, --scratch-url and --project-mode; the command receives
    `origin: Origin`. `embedded` says which embedded version is taken where none is named."""
    return functools.partial(_with_start_options, embedded=embedded)


def _with_start_options(function: F, embedded: str) -> F:
    @functools.wraps(function)
    def wrapper(
        *args: Any,
        schema: Path | None,
        database: str | None,
        postgres: str | None,
        scratch_url: str | None,
        project_mode: ProjectMode | None,
        **rest: Any,
    ) -> Any:
        if schema is not None and database is not None:
            raise UsageError("--from and --from-database exclude each other.", "Give one of them.")
        origin = Origin(
            schema,
            database and address_of(database, "--from-database"),
            postgres,
            scratch_url and address_of(scratch_url, "--scratch-url"),
            project_mode,
        )
        return function(*args, origin=origin, **rest)

    decorated: Any = option(
        "--scratch-url",
        metavar="URL",
        default=None,
        group=START,
        help="Make the scratch databases on this server; env:NAME names a variable.",
    )(wrapper)
    decorated = option(
        "--postgres",
        metavar="VERSION|DIR",
        default=None,
        show_default=embedded,
        group=START,
        help="On this embedded Postgres, or a folder's.",
    )(decorated)
    decorated = option(
        "--from-database",
        "database",
        metavar="URL",
        default=None,
        group=START,
        help="Start as this database is, only read; env:NAME names a variable.",
    )(decorated)
    decorated = project_mode_option(decorated, group=START)
    offered: F = option(
        "--from",
        "schema",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        default=None,
        group=START,
        metavar="FILE",
        help="Start from this schema, a dump, on top of a bare Supabase project.",
    )(decorated)
    return offered
