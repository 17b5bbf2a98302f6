"""`toolkit migrate`: status, plan, up, down, verify."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from toolkit.commands._options import TargetChoice, confirm_change, target_options
from toolkit.commands._output import conclude, with_more
from toolkit.commands._run import run_async
from toolkit.errors import ExitCode
from toolkit.migrate import report as reports
from toolkit.migrate.api import migrate_down, migrate_plan, migrate_status, migrate_up
from toolkit.migrate.execute import OnProgress, Options, Progress
from toolkit.migrate.locks import LockPolicy
from toolkit.migrate.plan import Down, MigrationRefused, Up
from toolkit.migrate.verify import verify
from toolkit.report import as_terminal
from toolkit.report.model import Report, Verdict, tool_version
from toolkit.resources import migrations_dir
from toolkit.targets.target import Target

F = TypeVar("F", bound=Callable[..., Any])
_QUIET_S, _REPEAT_S = 2.0, 10.0


@click.group("migrate")
def command() -> None:
    """Apply, verify and roll back migrations; the history is the Supabase CLI's own."""


def _common(function: F) -> F:
    """Adds --migrations, --json and the target's options."""
    decorated: Any = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")(function)
    decorated = click.option(
        "--migrations",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        default=migrations_dir,
        show_default="those of this project",
        help="Folder of <version>_<name>.sql, with rollbacks/ and verify/ beneath it.",
    )(decorated)
    offered: F = target_options(decorated)
    return offered


def _patience(function: F) -> F:
    """Adds how long to wait for locks; the command receives `locks: LockPolicy`."""

    @functools.wraps(function)
    def wrapper(*args: Any, lock_timeout: int, lock_deadline: float, runner_deadline: float, **rest: Any) -> Any:
        policy = LockPolicy(lock_timeout_ms=lock_timeout, deadline_s=lock_deadline, runner_deadline_s=runner_deadline)
        return function(*args, locks=policy, **rest)

    default = LockPolicy()
    decorated: Any = wrapper
    decorated = click.option("--lock-timeout", type=click.IntRange(1, 60_000), default=default.lock_timeout_ms,
        show_default=True, help="Milliseconds a statement may wait for a table lock before the file is taken back "
        "and tried again. Queries behind it stall that long.")(decorated)  # fmt: skip
    decorated = click.option("--lock-deadline", type=click.FloatRange(0), default=default.deadline_s,
        show_default=True, help="Seconds after which to stop trying.")(decorated)  # fmt: skip
    offered: F = click.option("--runner-deadline", type=click.FloatRange(0), default=default.runner_deadline_s,
        show_default=True, help="Seconds to wait for another migration runner.")(decorated)  # fmt: skip
    return offered


@command.command("status")
@_common
def status_command(*, choice: TargetChoice, folder: Path, as_json: bool) -> None:
    """Which versions are applied, pending, edited or missing."""

    async def work() -> None:
        started = datetime.now(UTC)
        async with choice.open(schema="bare", server=False) as target:
            found = await migrate_status(target.get("DATABASE_URL"), folder)
            frame = _frame("migrate status", started, target)
        _finish(reports.of_status(frame, found), {"versions": [asdict(v) for v in found.versions]}, as_json)

    run_async(work())


@command.command("plan")
@_common
@click.option("--to", default=None, help="Last version to apply; with --down the one that stays.")
@click.option("--last", type=click.IntRange(1), default=None, help="With --down: how many to roll back.")
@click.option("--down", "downwards", is_flag=True, help="Plan a rollback.")
@click.option("--include-all", is_flag=True, help="Also what is older than an applied version.")
def plan_command(
    *, choice: TargetChoice, folder: Path, as_json: bool, to: str | None, last: int | None, downwards: bool,
    include_all: bool,
) -> None:  # fmt: skip
    """What `up` (or, with --down, `down`) would run, and what that destroys; changes nothing."""
    if last is not None and not downwards:
        raise click.UsageError("--last goes with --down.")
    request = Down(to, last) if downwards else Up(to, include_all)

    async def work() -> None:
        started = datetime.now(UTC)
        async with choice.open(schema="bare", server=False) as target:
            frame = _frame("migrate plan", started, target)
            with _refusals(frame, as_json):
                found = await migrate_plan(target.get("DATABASE_URL"), folder, request)
                _finish(reports.of_plan(frame, found), {"plan": reports.plan_as_dict(found)}, as_json)

    run_async(work())


@command.command("up")
@_common
@_patience
@click.option("--to", default=None, help="Last version to apply. Default: all.")
@click.option("--include-all", is_flag=True, help="Also what is older than an applied version.")
def up_command(
    *, choice: TargetChoice, folder: Path, as_json: bool, locks: LockPolicy, to: str | None, include_all: bool
) -> None:
    """Apply what is pending, each file in one transaction with its history row."""

    async def work() -> None:
        started = datetime.now(UTC)
        async with choice.open(schema="bare", server=False) as target, _progress() as tell:
            dsn, frame = target.get("DATABASE_URL"), _frame("migrate up", started, target)
            with _refusals(frame, as_json):
                plan = await migrate_plan(dsn, folder, Up(to, include_all))
                if plan.steps:
                    _confirm(choice, target, "toolkit migrate up", reports.of_plan(frame, plan))
                result = await migrate_up(
                    dsn, folder, to=to, include_all=include_all, options=Options(locks=locks), on_progress=tell
                )
        _finish(reports.of_run(frame, result), {"run": reports.run_as_dict(result)}, as_json)

    run_async(work())


@command.command("down")
@_common
@_patience
@click.option("--to", default=None, help="The version that stays; 0 rolls back everything.")
@click.option("--last", type=click.IntRange(1), default=None, help="How many to roll back. Default: 1.")
@click.option(
    "--export-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Options().export_dir,
    show_default=True,
    help="Where rows that a rollback destroys are written first.",
)
def down_command(
    *, choice: TargetChoice, folder: Path, as_json: bool, locks: LockPolicy, to: str | None, last: int | None,
    export_dir: Path,
) -> None:  # fmt: skip
    """Roll back, newest first; rows that this destroys are exported before."""

    async def work() -> None:
        started = datetime.now(UTC)
        async with choice.open(schema="bare", server=False) as target, _progress() as tell:
            dsn, frame = target.get("DATABASE_URL"), _frame("migrate down", started, target)
            with _refusals(frame, as_json):
                plan = await migrate_plan(dsn, folder, Down(to, last))
                if plan.steps:
                    _confirm(choice, target, "toolkit migrate down", reports.of_plan(frame, plan))
                options = Options(locks=locks, export_dir=export_dir)
                result = await migrate_down(dsn, folder, to=to, last=last, options=options, on_progress=tell)
        _finish(reports.of_run(frame, result), {"run": reports.run_as_dict(result)}, as_json)

    run_async(work())


@command.command("verify")
@_common
@click.option("--to", default=None, help="Last version to verify. Default: all applied.")
@click.option("--no-probes", is_flag=True, help="Only the verify files, which change nothing at all.")
def verify_command(*, choice: TargetChoice, folder: Path, as_json: bool, to: str | None, no_probes: bool) -> None:
    """See that applied migrations hold: their shape, their behaviour, each role, concurrent writers.

    Verify files run in a transaction that is rolled back. Probes commit rows of a user called toolkit_probe_… for
    a moment and remove them.

    RT-51 needs tasks that only its own workers claim. The reference server's workers leave them alone, since they claim
    the types they know. Workers of another make that claim every type may take some and fail them: RT-51 is then
    unknown, no other result changes, and the tasks are removed with the rest. Stop such workers, or use --no-probes.
    """

    async def work() -> None:
        started = datetime.now(UTC)
        async with choice.open(schema="bare", server=False) as target, _progress() as tell:
            frame = _frame("migrate verify", started, target)
            if not no_probes:
                confirm_change(
                    target, "toolkit migrate verify (its probe rows; --no-probes leaves them out)", choice.yes
                )
            with _refusals(frame, as_json):
                found = await verify(
                    target.get("DATABASE_URL"), folder, to=to, probes=not no_probes, on_progress=tell
                )  # fmt: skip
        _finish(reports.of_verify(frame, found), {"versions": list(found.versions)}, as_json)

    run_async(work())


# -- output -------------------------------------------------------------------------------------------------------


def _frame(name: str, started: datetime, target: Target) -> reports.Frame:
    return reports.Frame(name, started, target.describe(), tool_version())


def _confirm(choice: TargetChoice, target: Target, what: str, plan: Report) -> None:
    if target.kind != "embedded" and not choice.yes:
        click.echo(as_terminal.render(plan), err=True)
    confirm_change(target, what, choice.yes)


@contextlib.contextmanager
def _refusals(frame: reports.Frame, as_json: bool) -> Iterator[None]:
    """With --json a refusal is a report like any other; without, the command line words it."""
    try:
        yield
    except MigrationRefused as refused:
        if not as_json:
            raise
        refusals = [asdict(refusal) for refusal in refused.refusals]
        verdict = Verdict.FAIL if refused.exit_code is ExitCode.FAIL else Verdict.UNKNOWN
        report = reports.of_refusals(frame, refused.refusals, verdict)
        _finish(report, {"refusals": refusals}, as_json=True, code=refused.exit_code)


def _finish(report: Report, more: dict[str, Any], as_json: bool, *, code: ExitCode | None = None) -> None:
    text = with_more(report, more) if as_json else as_terminal.render(report, colour=sys.stdout.isatty())
    conclude(text, report.exit_code if code is None else code)


@asynccontextmanager
async def _progress() -> AsyncIterator[OnProgress]:
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
