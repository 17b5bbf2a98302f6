"""Options shared by every command that works on a target, and the question before data is changed."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from toolkit.commands._click import TARGET, Duration, option
from toolkit.errors import UsageError
from toolkit.targets.data_dir import DEFAULT_DATA_DIR, DataDir
from toolkit.targets.embedded import EmbeddedTarget, Schema, named_target, running_target
from toolkit.targets.settings import TargetSettings, load_settings
from toolkit.targets.target import Kind, Target, refuse_change
from toolkit.tokens import too_short

if TYPE_CHECKING:
    from toolkit.migrate.folder.project_mode import ProjectMode

_SETTINGS = "DATABASE_URL, API_URL or SUPABASE_URL in the environment or, under [target], in toolkit.toml"
_WAYS = (
    f"Start one here with `toolkit up`; or set {_SETTINGS}; or give an option, such as --database-url. "
    "--target embedded makes one for this command alone."
)
_WAYS_IN_CI = f"Set {_SETTINGS}; is a secret missing? Or say that you mean the embedded one: --target embedded."
DEFAULT_REPORTS_DIR = Path("reports")
F = TypeVar("F", bound=Callable[..., Any])

# What a command may be told of its target, by what it uses of it.
DATABASE = ("database_url",)
SYSTEM = (*DATABASE, "api_url", "supabase_url", "anon_key", "jwt_secret")
EVERYTHING = (*SYSTEM, "service_role_key")

_PLAIN = {
    "api_url": "Use the article generation API here",
    "supabase_url": "Use the Supabase project here",
}
_SECRET = {
    "database_url": "Use this Postgres database",
    "anon_key": "Use this anon key",
    "service_role_key": "Use this key",
    "jwt_secret": "Make users' tokens with this",
}
_SETTING = {
    "anon_key": "supabase_anon_key",
    "service_role_key": "supabase_service_role_key",
    "jwt_secret": "supabase_jwt_secret",
}


@dataclass(frozen=True)
class TargetChoice:
    """What the user asked to work on; `open` makes it a Target."""

    kind: Kind
    settings: TargetSettings
    data_dir: Path
    yes: bool
    asked: bool = False  # for the embedded target, by --target embedded

    def external(self) -> Target:
        """The target behind the URLs that were given, ours if `toolkit up` gave them.

        Raises UsageError when the choice is embedded, EnvironmentError_ when ours is stopped.
        """
        if self.kind == "embedded":
            raise UsageError("This needs a target given by URLs.", "Give --database-url or --api-url.")
        return named_target(self.settings, self.data_dir)

    @asynccontextmanager
    async def open(
        self,
        *,
        schema: Schema = "realtime",
        server: bool = True,
        transport: str = "realtime",
        extensions: Callable[[], Iterable[str]] = tuple,
        project_mode: ProjectMode = "old",
    ) -> AsyncIterator[Target]:
        """The target, ready to use: the one behind the URLs; or the embedded one that `toolkit up` keeps running;
        or, where it was asked for, an embedded one for the length of the block (with a server unless `server` is
        false; on a Postgres that has these `extensions`, as a
        project of `project_mode`). Raises UsageError where none of them is meant: what passes
        on a system made a moment ago says nothing about any other."""
        if self.kind == "external":
            yield self.external()
        elif (running := running_target(self.data_dir)) is not None:
            yield running
        elif not self.asked and DataDir(self.data_dir).holder() is None:
            raise UsageError(
                f"There is no target to work on: none is named, and none is running in {self.data_dir}.", _WAYS
            )
        else:
            async with EmbeddedTarget(
                self.data_dir, schema=schema, extensions=extensions(), project_mode=project_mode
            ) as embedded:
                if server:
                    await embedded.start_server("api", transport=transport)
                yield embedded.target


def name_it_in_ci(target_kind: str | None) -> None:
    """Raises UsageError for an embedded target that nobody named in a pipeline: there a secret that is missing must not
    go unnoticed."""
    if target_kind is None and os.environ.get("CI", "").lower() not in {"", "0", "false"}:
        raise UsageError("No target is named, and where CI is set one has to be.", _WAYS_IN_CI)


def target_options(*names: str, changes: bool) -> Callable[[F], F]:
    """Adds --target, --data and the URLs and keys called `names`; with `changes` also --yes.

    The command receives `choice: TargetChoice`. What it cannot be told by an option is still read from the environment
    and from toolkit.toml.
    """
    return functools.partial(_with_target_options, names=names, changes=changes)


def _with_target_options(function: F, names: tuple[str, ...], changes: bool) -> F:
    @functools.wraps(function)
    def wrapper(*args: Any, target_kind: str | None, data_dir: Path, yes: bool = False, **rest: Any) -> Any:
        given = {name: rest.pop(name) for name in names}
        _warn_of_process_titles(given)
        settings = load_settings(**{_SETTING.get(name, name): value for name, value in given.items()})
        if "jwt_secret" in names:
            _warn_of_short_secret(settings.value("SUPABASE_JWT_SECRET"))
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
        if kind == "embedded":
            name_it_in_ci(target_kind)
        return function(*args, choice=TargetChoice(kind, settings, data_dir, yes, target_kind == "embedded"), **rest)

    decorated: Any = wrapper
    if changes:
        decorated = option(
            "--yes",
            "-y",
            is_flag=True,
            group=TARGET,
            help="Change data on a target of your own without asking.",
        )(decorated)
    for name in reversed(names):
        variable = _SETTING.get(name, name).upper()
        text = f"{_PLAIN[name]}; or set {variable}." if name in _PLAIN else f"{_SECRET[name]}; better, set {variable}."
        decorated = option(
            "--" + name.replace("_", "-"),
            name,
            default=None,
            group=TARGET,
            metavar="URL" if name.endswith("url") else "SECRET" if name.endswith("secret") else "KEY",
            help=text,
        )(decorated)
    decorated = data_option(group=TARGET)(decorated)
    offered: F = option(
        "--target",
        "target_kind",
        type=click.Choice(["embedded", "external"]),
        default=None,
        group=TARGET,
        help="Work on the embedded target, made for the command unless it runs, or on the external one that URLs name.",
    )(decorated)
    return offered


def data_option(
    *, group: str = "Options", help: str = "Look for the embedded target in this folder."
) -> Callable[[F], F]:
    """Adds --data, the folder of the embedded target."""
    return option(
        "--data",
        "data_dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_DATA_DIR,
        show_default=True,
        group=group,
        metavar="FOLDER",
        help=help,
    )


html_option = option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    help="Also write the page to this file.",
)
junit_option = option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    help="Also write JUnit XML to this file.",
)
probe_option = option(
    "--probe/--no-probe",
    "probe",
    default=None,
    help="Write events to a process of its own, removed afterwards, and see who gets them; by default on the "
    "embedded target, and elsewhere with --yes.",
)
deadline_option = option(
    "--deadline",
    type=Duration(0.5, 120),
    default=10.0,
    show_default=True,
    help="Give Realtime this long to answer and to deliver.",
)
reports_dir_option = option(
    "--reports-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_REPORTS_DIR,
    show_default=True,
    metavar="FOLDER",
    help="Make a folder for each run in this one.",
)


def confirm_change(target: Target, what: str, yes: bool) -> None:
    """Return when `what` may change data on `target`: it is ours, or --yes was given, or the user agrees now.

    Raises UsageError when nobody can be asked, click.Abort when the answer is no.
    """
    if target.kind == "embedded" or yes:
        return
    if not sys.stdin.isatty():
        raise refuse_change(target, what)
    click.confirm(f"{what} changes data on {target.describe()}. Continue?", abort=True, err=True)


def _warn_of_short_secret(secret: str | None) -> None:
    if secret is not None and (told := too_short(secret)):
        click.echo(f"Warning: {told} `toolkit keys --new-secret` makes a longer one.", err=True)


def _warn_of_process_titles(given: dict[str, str | None]) -> None:
    flags = ["--" + name.replace("_", "-") for name in _SECRET if given.get(name)]
    if flags:
        click.echo(
            f"Warning: {', '.join(flags)} can be read by every user of this machine in the list of processes; "
            "the environment or toolkit.toml cannot.",
            err=True,
        )
