"""`toolkit migrate status | plan | up | down | verify`: what runs migrations and sees that they hold."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click

from toolkit.commands._options import TargetChoice, confirm_change
from toolkit.commands._run import run_async
from toolkit.commands.migrate._shared import (
    common,
    confirm,
    finish,
    frame_of,
    patience,
    progress,
    refusals,
    rehearsable,
)
from toolkit.migrate.dry_run.report import dry_run_as_dict, of_dry_run
from toolkit.migrate.dry_run.run import dry_run
from toolkit.migrate.folder.files import Folder, read_folder
from toolkit.migrate.run import report as reports
from toolkit.migrate.run.api import migrate_down, migrate_plan, migrate_status, migrate_up
from toolkit.migrate.run.locks import LockPolicy
from toolkit.migrate.run.plan import Down, Up
from toolkit.migrate.run.run_model import OnProgress, Options
from toolkit.migrate.verify.report import of_verify
from toolkit.migrate.verify.run import migrate_verify
from toolkit.probes import probes_of
from toolkit.report.frame import Frame
from toolkit.targets.target import Target


@click.command("status")
@common
def status_command(*, choice: TargetChoice, folder: Path, as_json: bool) -> None:
    """Which versions are applied, pending, edited or missing."""

    async def work() -> None:
        started = datetime.now(UTC)
        async with choice.open(schema="bare", server=False) as target:
            found = await migrate_status(target.get("DATABASE_URL"), read_folder(folder))
            frame = frame_of("migrate status", started, target)
        finish(reports.of_status(frame, found), {"versions": [asdict(v) for v in found.versions]}, as_json)

    run_async(work())


@click.command("plan")
@common
@click.option("--to", default=None, help="Last version to apply; with --down the one that stays.")
@click.option("--last", type=click.IntRange(1), default=None, help="With --down: how many to roll back.")
@click.option("--down", "downwards", is_flag=True, help="Plan a rollback.")
@click.option("--include-all", is_flag=True, help="Also what is older than an applied version.")
def plan_command(
    *,
    choice: TargetChoice,
    folder: Path,
    as_json: bool,
    to: str | None,
    last: int | None,
    downwards: bool,
    include_all: bool,
) -> None:
    """What `up` (or, with --down, `down`) would run, and what that destroys; changes nothing."""
    if last is not None and not downwards:
        raise click.UsageError("--last goes with --down.")
    request = Down(to, last) if downwards else Up(to, include_all)

    async def work() -> None:
        started = datetime.now(UTC)
        async with choice.open(schema="bare", server=False) as target:
            frame = frame_of("migrate plan", started, target)
            with refusals(frame, as_json):
                found = await migrate_plan(target.get("DATABASE_URL"), read_folder(folder), request)
                finish(reports.of_plan(frame, found), {"plan": reports.plan_as_dict(found)}, as_json)

    run_async(work())


@click.command("up")
@common
@patience
@click.option("--to", default=None, help="Last version to apply. Default: all.")
@click.option("--include-all", is_flag=True, help="Also what is older than an applied version.")
@rehearsable
def up_command(
    *,
    choice: TargetChoice,
    folder: Path,
    as_json: bool,
    locks: LockPolicy,
    to: str | None,
    include_all: bool,
    dry: float | None,
) -> None:
    """Apply what is pending, each file in one transaction with its history row."""

    async def work() -> None:
        started = datetime.now(UTC)
        async with choice.open(schema="bare", server=False) as target, progress() as tell:
            dsn, frame = target.get("DATABASE_URL"), frame_of("migrate up", started, target)
            with refusals(frame, as_json):
                contents = read_folder(folder)
                if dry is not None:
                    await _rehearse(
                        target,
                        frame,
                        contents,
                        Up(to, include_all),
                        options=Options(locks=locks),
                        deadline_s=dry,
                        tell=tell,
                        as_json=as_json,
                    )
                plan = await migrate_plan(dsn, contents, Up(to, include_all))
                if plan.steps:
                    confirm(choice, target, "toolkit migrate up", reports.of_plan(frame, plan))
                result = await migrate_up(
                    dsn, contents, to=to, include_all=include_all, options=Options(locks=locks), on_progress=tell
                )
        finish(reports.of_run(frame, result), {"run": reports.run_as_dict(result)}, as_json)

    run_async(work())


async def _rehearse(
    target: Target,
    frame: Frame,
    folder: Folder,
    request: Up | Down,
    *,
    options: Options,
    deadline_s: float,
    tell: OnProgress,
    as_json: bool,
) -> NoReturn:
    """Ends the command, as every report does."""
    found = await dry_run(
        target.get("DATABASE_URL"),
        folder,
        request,
        options=options,
        deadline_s=deadline_s,
        may_copy_rows=target.kind == "embedded",
        on_progress=tell,
    )
    finish(of_dry_run(frame, found), {"dry_run": dry_run_as_dict(found)}, as_json)


@click.command("down")
@common
@patience
@click.option("--to", default=None, help="The version that stays; 0 rolls back everything.")
@click.option("--last", type=click.IntRange(1), default=None, help="How many to roll back. Default: 1.")
@click.option(
    "--export-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Options().export_dir,
    show_default=True,
    help="Where rows that a rollback destroys are written first.",
)
@rehearsable
def down_command(
    *,
    choice: TargetChoice,
    folder: Path,
    as_json: bool,
    locks: LockPolicy,
    to: str | None,
    last: int | None,
    export_dir: Path,
    dry: float | None,
) -> None:
    """Roll back, newest first; rows that this destroys are exported before."""

    async def work() -> None:
        started = datetime.now(UTC)
        async with choice.open(schema="bare", server=False) as target, progress() as tell:
            dsn, frame = target.get("DATABASE_URL"), frame_of("migrate down", started, target)
            with refusals(frame, as_json):
                contents = read_folder(folder)
                if dry is not None:
                    await _rehearse(
                        target,
                        frame,
                        contents,
                        Down(to, last),
                        options=Options(locks=locks),
                        deadline_s=dry,
                        tell=tell,
                        as_json=as_json,
                    )
                plan = await migrate_plan(dsn, contents, Down(to, last))
                if plan.steps:
                    confirm(choice, target, "toolkit migrate down", reports.of_plan(frame, plan))
                options = Options(locks=locks, export_dir=export_dir)
                result = await migrate_down(dsn, contents, to=to, last=last, options=options, on_progress=tell)
        finish(reports.of_run(frame, result), {"run": reports.run_as_dict(result)}, as_json)

    run_async(work())


@click.command("verify")
@common
@click.option("--to", default=None, help="Last version to verify. Default: all applied.")
@click.option("--no-probes", is_flag=True, help="Only what changes nothing: the verify files and the LIVE checks.")
@click.option("--no-live", is_flag=True, help="Without the read-only checks of any database, LIVE-1 and following.")
def verify_command(
    *, choice: TargetChoice, folder: Path, as_json: bool, to: str | None, no_probes: bool, no_live: bool
) -> None:
    """See that applied migrations hold: their shape, their behaviour, each role, concurrent writers.

    Verify files run in a transaction that is rolled back. Probes commit rows of a user called toolkit_probe_… for
    a moment and remove them. The checks LIVE-1 and following read the catalog, and the first rows of each table as each
    role, of any folder and database; they write nothing.

    RT-51 needs tasks that only its own workers claim. The reference server's workers leave them alone, since they claim
    the types they know. Workers of another make that claim every type may take some and fail them: RT-51 is then
    unknown, no other result changes, and the tasks are removed with the rest. Stop such workers, or use --no-probes.
    """

    async def work() -> None:
        started = datetime.now(UTC)
        async with choice.open(schema="bare", server=False) as target, progress() as tell:
            frame, contents = frame_of("migrate verify", started, target), read_folder(folder)
            probes = {} if no_probes else probes_of(contents)
            if probes:
                confirm_change(
                    target, "toolkit migrate verify (its probe rows; --no-probes leaves them out)", choice.yes
                )
            with refusals(frame, as_json):
                found = await migrate_verify(
                    target.get("DATABASE_URL"),
                    contents,
                    to=to,
                    probes=probes,
                    generic=not no_live,
                    on_progress=tell,
                )
        finish(of_verify(frame, found), {"versions": list(found.versions)}, as_json)

    run_async(work())
