"""What the commands of `toolkit migrate` share: options, refusals, progress and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from toolkit.commands._click import Duration, json_option, option
from toolkit.commands._formats import deliver, for_programs
from toolkit.commands._options import DATABASE, TargetChoice, confirm_change, target_options
from toolkit.commands._output import shown, with_more
from toolkit.commands.migrate._folder import described, folder_options
from toolkit.errors import ExitCode, ToolkitError
from toolkit.migrate import read_folder
from toolkit.migrate.dry_run.run import DEADLINE_S
from toolkit.migrate.folder.project_mode import mode_of_folder
from toolkit.migrate.run import report as reports
from toolkit.migrate.run.locks import LockPolicy
from toolkit.migrate.run.plan import MigrationRefused
from toolkit.migrate.run.run_model import OnProgress, Progress
from toolkit.migrate.scratch.needs import extensions_of
from toolkit.report import as_terminal
from toolkit.report.frame import Frame
from toolkit.report.places import NOWHERE, Places
from toolkit.report.record import Report, Verdict, tool_version
from toolkit.targets.target import Target

F = TypeVar("F", bound=Callable[..., Any])
_QUIET_S, _REPEAT_S = 2.0, 10.0


def common(*, changes: bool) -> Callable[[F], F]:
    """Adds --migrations, --bundled, --json and the options of a target's database; with `changes` also --yes."""

    def decorate(function: F) -> F:
        offered: F = json_option(target_options(*DATABASE, changes=changes)(folder_options(function)))
        return offered

    return decorate


def patience(function: F) -> F:
    """Adds how long to wait for locks; the command receives `locks: LockPolicy`."""

    @functools.wraps(function)
    def wrapper(*args: Any, lock_timeout: float, lock_deadline: float, runner_deadline: float, **rest: Any) -> Any:
        policy = LockPolicy(
            lock_timeout_ms=round(lock_timeout * 1000), deadline_s=lock_deadline, runner_deadline_s=runner_deadline
        )
        return function(*args, locks=policy, **rest)

    default = LockPolicy()
    decorated: Any = wrapper
    decorated = option(
        "--runner-deadline",
        type=Duration(0),
        default=default.runner_deadline_s,
        show_default=True,
        help="Wait this long for another migration runner to end.",
    )(decorated)
    decorated = option(
        "--lock-deadline",
        type=Duration(0),
        default=default.deadline_s,
        show_default=True,
        help="Give up a file that has not had its locks after this time.",
    )(decorated)
    offered: F = option(
        "--lock-timeout",
        type=Duration(0.001, 60),
        default=default.lock_timeout_ms / 1000,
        show_default=True,
        help="Take a file back and try it again when a statement waits this long for a lock; queries behind it "
        "stall as long.",
    )(decorated)
    return offered


def rehearsable(function: F) -> F:
    """Adds --dry-run and its deadline; the command receives `dry`: None, or that deadline in seconds."""

    @functools.wraps(function)
    def wrapper(*args: Any, dry_run: bool, dry_run_deadline: float, **rest: Any) -> Any:
        return function(*args, dry=dry_run_deadline if dry_run else None, **rest)

    decorated: Any = wrapper
    decorated = option(
        "--dry-run-deadline",
        type=Duration(0.1),
        default=DEADLINE_S,
        show_default=True,
        help="Take a dry run back after this time, finished or not.",
    )(decorated)
    offered: F = option(
        "--dry-run",
        is_flag=True,
        help="Run everything for real, show its locks and what it changes, and take it back.",
    )(decorated)
    return offered


def database_for(choice: TargetChoice, folder: Path) -> AbstractAsyncContextManager[Target]:
    """The target's database; an embedded one that is new is on a Postgres with the extensions that the files create."""

    def extensions() -> frozenset[str]:
        with contextlib.suppress(ToolkitError):  # the command reads the folder too, and tells
            return extensions_of(read_folder(folder))
        return frozenset()

    return choice.open(schema="bare", server=False, extensions=extensions, project_mode=mode_of_folder(folder) or "old")


def frame_of(name: str, started: datetime, target: Target, folder: Path | None = None) -> Frame:
    where = target.describe() if folder is None else f"{target.describe()}, migrations: {described(folder)}"
    return Frame(name, started, where, tool_version())


def confirm(choice: TargetChoice, target: Target, what: str, plan: Report) -> None:
    if target.kind != "embedded" and not choice.yes:
        click.echo(as_terminal.render(plan), err=True)
    confirm_change(target, what, choice.yes)


@contextlib.contextmanager
def refusals(frame: Frame, as_json: bool) -> Iterator[None]:
    """For programs (--json, --format, --output) a refusal is a report like others; else the command line words it."""
    try:
        yield
    except MigrationRefused as refused:
        if not as_json and not for_programs():
            raise
        refusals = [asdict(refusal) for refusal in refused.refusals]
        verdict = Verdict.FAIL if refused.exit_code is ExitCode.FAIL else Verdict.UNKNOWN
        report = reports.of_refusals(frame, refused.refusals, verdict)
        finish(report, {"refusals": refusals}, as_json, code=refused.exit_code)


def finish(
    report: Report, more: dict[str, Any], as_json: bool, *, code: ExitCode | None = None, places: Places = NOWHERE
) -> NoReturn:
    text = with_more(report, more) if as_json else shown(report)
    deliver(report, text, report.exit_code if code is None else code, places)


@asynccontextmanager
async def progress() -> AsyncIterator[OnProgress]:
    """Tells on stderr what goes on, once it has gone on for two seconds; waiting and retrying at once."""
    started, last = time.monotonic(), [""]

    def tell(progress: Progress) -> None:
        position = f" {progress.index}/{progress.total}" if progress.phase == "statement" and progress.total else ""
        last[0] = f"{progress.label}{position}: {progress.message}"
        if progress.phase in {"waiting", "retry", "export"} or time.monotonic() - started > _QUIET_S:
            click.echo(last[0], err=True)

    async def remind() -> None:
        await asyncio.sleep(_QUIET_S)
        while True:
            if last[0]:
                click.echo(f"{last[0]} … {time.monotonic() - started:.0f} s", err=True)
            await asyncio.sleep(_REPEAT_S)

    reminder: asyncio.Task[None] = asyncio.create_task(remind())
    try:
        yield tell
    finally:
        reminder.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reminder
