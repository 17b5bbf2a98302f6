"""Which kind of Supabase project a command works with: an option, the same for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from toolkit.commands._click import option

F = TypeVar("F", bound=Callable[..., Any])


def project_mode_option(function: F, **where: Any) -> F:
    """Adds --project-mode; the command receives `project_mode`, None where nothing is said."""
    offered: F = option(
        "--project-mode",
        type=click.Choice(["old", "new"]),
        metavar="old|new",
        default=None,
        help="Open what is new in public to the API (old) or not (from 30 May 2026).",
        **where,
    )(function)
    return offered
