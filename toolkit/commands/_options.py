"""Options shared by every command that works on a target, and the question before data is changed."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from toolkit.errors import UsageError
from toolkit.targets.data_dir import DEFAULT_DATA_DIR
from toolkit.targets.embedded import EmbeddedTarget, Schema, running_target
from toolkit.targets.settings import TargetSettings, load_settings
from toolkit.targets.target import Kind, Target, refuse_change

F = TypeVar("F", bound=Callable[..., Any])

_PLAIN = {
    "supabase_url": "Base URL of the Supabase project.",
    "api_url": "Base URL of the article generation API.",
    "jwks_url": "Where the project publishes its signing keys.",
}
_SECRET = {
    "database_url": "Postgres connection URL.",
    "anon_key": "The project's anon key.",
    "service_role_key": "The project's service_role key.",
    "jwt_secret": "The project's JWT secret, to mint test tokens.",
}
_SETTING = {
    "anon_key": "supabase_anon_key",
    "service_role_key": "supabase_service_role_key",
    "jwt_secret": "supabase_jwt_secret",
    "jwks_url": "supabase_jwks_url",
}


@dataclass(frozen=True)
class TargetChoice:
    """What the user asked to work on; `open` makes it a Target."""

    kind: Kind
    settings: TargetSettings
    data_dir: Path
    yes: bool

    def external(self) -> Target:
        """The target behind the URLs that were given. Raises UsageError when the choice is embedded."""
        if self.kind == "embedded":
            raise UsageError("This needs a target given by URLs.", "Give --database-url or --api-url.")
        return Target.from_settings(self.settings)

    @asynccontextmanager
    async def open(
        self, *, schema: Schema = "realtime", server: bool = True, transport: str = "realtime"
    ) -> AsyncIterator[Target]:
        """The target, ready to use: the one behind the URLs; or the embedded one that `toolkit up` keeps running;
        or an embedded one for the length of the block (with a server unless `server` is false)."""
        if self.kind == "external":
            yield Target.from_settings(self.settings)
        elif (running := running_target(self.data_dir)) is not None:
            yield running
        else:
            async with EmbeddedTarget(self.data_dir, schema=schema) as embedded:
                if server:
                    await embedded.start_server("api", transport=transport)
                yield embedded.target


def target_options(function: F) -> F:
    """Adds --target, the URLs and keys, --data and --yes; the command receives `choice: TargetChoice`."""

    @functools.wraps(function)
    def wrapper(*args: Any, target_kind: str | None, data_dir: Path, yes: bool, **rest: Any) -> Any:
        given = {name: rest.pop(name) for name in (*_PLAIN, *_SECRET)}
        _warn_of_process_titles(given)
        settings = load_settings(**{_SETTING.get(name, name): value for name, value in given.items()})
        kind: Kind = "external" if target_kind == "external" or (not target_kind and settings.any_given) else "embedded"
        if target_kind == "external" and not settings.any_given:
            raise UsageError(
                "--target external needs at least one URL.",
                "Set DATABASE_URL, SUPABASE_URL or API_URL (environment, option or toolkit.toml).",
            )
        if target_kind == "embedded" and (clash := [name for name, value in given.items() if value]):
            flags = ", ".join("--" + name.replace("_", "-") for name in clash)
            raise UsageError(
                f"--target embedded makes its own addresses and keys, so {flags} would be ignored.",
                "Leave these out, or use --target external.",
            )
        return function(*args, choice=TargetChoice(kind, settings, data_dir, yes), **rest)

    decorated: Any = wrapper
    for name, text in reversed((_PLAIN | _SECRET).items()):
        variable = _SETTING.get(name, name).upper()
        hint = f"{text} [{variable}]" if name in _PLAIN else f"{text} Prefer {variable} in the environment."
        decorated = click.option("--" + name.replace("_", "-"), name, default=None, help=hint)(decorated)
    decorated = click.option("--yes", "-y", is_flag=True, help="Change data on a target of yours without asking.")(
        decorated
    )
    decorated = data_option(decorated)
    offered: F = click.option(
        "--target",
        "target_kind",
        type=click.Choice(["embedded", "external"]),
        default=None,
        help="Where to run. Default: external when a URL is given, embedded otherwise.",
    )(decorated)
    return offered


def data_option(function: F) -> F:
    """Adds --data, the folder of the embedded target."""
    return click.option(
        "--data",
        "data_dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_DATA_DIR,
        show_default=True,
        help="Folder in which the embedded target keeps its data.",
    )(function)


def confirm_change(target: Target, what: str, yes: bool) -> None:
    """Return when `what` may change data on `target`: it is ours, or --yes was given, or the user agrees now.

    Raises UsageError when nobody can be asked, click.Abort when the answer is no.
    """
    if target.kind == "embedded" or yes:
        return
    if not sys.stdin.isatty():
        raise refuse_change(target, what)
    click.confirm(f"{what} changes data on {target.describe()}. Continue?", abort=True, err=True)


def _warn_of_process_titles(given: dict[str, str | None]) -> None:
    flags = ["--" + name.replace("_", "-") for name in _SECRET if given[name]]
    if flags:
        click.echo(
            f"Warning: {', '.join(flags)} can be read by every user of this machine in the list of processes; "
            "the environment or toolkit.toml cannot.",
            err=True,
        )
