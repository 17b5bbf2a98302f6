"""`toolkit migrate status | plan | up | down | verify`: what runs migrations and sees that they hold."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click

from toolkit.commands._click import option, toolkit_command
from toolkit.commands._formats import format_options
from toolkit.commands._options import TargetChoice, confirm_change
from toolkit.commands._run import run_async
from toolkit.commands.migrate._shared import (
    common,
    confirm,
    database_for,
    finish,
    frame_of,
    patience,
    progress,
    refusals,
    rehearsable,
)
from toolkit.migrate.bootstrap.needs import missing_for
from toolkit.migrate.bootstrap.report import checks_of
from toolkit.migrate.dry_run.report import dry_run_as_dict, of_dry_run
from toolkit.migrate.dry_run.run import dry_run
from toolkit.migrate.folder.files import Folder, read_folder
from toolkit.migrate.run import report as reports
from toolkit.migrate.run.api import migrate_down, migrate_plan, migrate_status, migrate_up
from toolkit.migrate.run.locks import LockPolicy
from toolkit.migrate.run.plan import Down, Plan, Up
from toolkit.migrate.run.run_model import OnProgress, Options
from toolkit.migrate.verify.report import of_verify
from toolkit.migrate.verify.run import migrate_verify
from toolkit.probes.chosen import probes_of
from toolkit.report.frame import Frame
from toolkit.report.places import places_in
from toolkit.report.record import Report, Verdict
from toolkit.targets.target import Target

_include_all = option("--include-all", is_flag=True, help="Apply also what is older than an applied version.")


@toolkit_command("status", examples=("toolkit migrate status",))
@common(changes=False)
def status_command(*, choice: TargetChoice, folder: Path, as_json: bool) -> None:
    """Tell which versions are applied, pending, edited, or without their file."""

    async def work() -> None:
        started = datetime.now(UTC)
        async with database_for(choice, folder) as target:
            found = await migrate_status(target.get("DATABASE_URL"), read_folder(folder))
            frame = frame_of("migrate status", started, target, folder)
        finish(reports.of_status(frame, found), {"versions": [asdict(v) for v in found.versions]}, as_json)

    run_async(work())


@toolkit_command("plan", examples=("toolkit migrate plan", "toolkit migrate plan --down --last 1"))
@option("--down", "downwards", is_flag=True, help="Plan a rollback.")
@option("--to", default=None, metavar="VERSION", help="Apply up to this version; with --down, keep it.")
@option("--last", type=click.IntRange(1), default=None, metavar="N", help="With --down, roll back this many versions.")
@_include_all
@common(changes=False)
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
    """Show what `up`, or with --down `down`, would run and destroy; nothing is changed."""
    if last is not None and not downwards:
        raise click.UsageError("--last goes with --down.")
    request = Down(to, last) if downwards else Up(to, include_all)

    async def work() -> None:
        started = datetime.now(UTC)
        async with database_for(choice, folder) as target:
            frame = frame_of("migrate plan", started, target, folder)
            with refusals(frame, as_json):
                found = await migrate_plan(target.get("DATABASE_URL"), read_folder(folder), request)
                report = await _with_what_is_missing(reports.of_plan(frame, found), target, found)
                finish(report, {"plan": reports.plan_as_dict(found)}, as_json)

    run_async(work())


@toolkit_command("up", examples=("toolkit migrate up --dry-run", "toolkit migrate up"))
@option("--to", default=None, metavar="VERSION", help="Apply up to this version instead of all.")
@_include_all
@rehearsable
@patience
@common(changes=True)
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
    """Apply what is pending, each file in one transaction with its history row.

    A dry run takes the real locks on the target and holds all of them until it is taken back, so queries may stall up
    to --dry-run-deadline. It leaves nothing, except that sequences stay where nextval() moved them. Files that refuse a
    transaction are run on a copy instead: an embedded target is copied with its rows, of any other the schema alone,
    and the verdict is then unknown at best (exit code 3).
    """

    async def work() -> None:
        started = datetime.now(UTC)
        async with database_for(choice, folder) as target, progress() as tell:
            dsn, frame = target.get("DATABASE_URL"), frame_of("migrate up", started, target, folder)
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
                    shown = await _with_what_is_missing(reports.of_plan(frame, plan), target, plan)
                    confirm(choice, target, "toolkit migrate up", shown)
                result = await migrate_up(
                    dsn, contents, to=to, include_all=include_all, options=Options(locks=locks), on_progress=tell
                )
        finish(reports.of_run(frame, result), {"run": reports.run_as_dict(result)}, as_json)

    run_async(work())


async def _with_what_is_missing(report: Report, target: Target, plan: Plan) -> Report:
    """The plan, failed where files name what the database does not have."""
    if plan.direction == "down":
        return report
    missing = checks_of(await missing_for(target.get("DATABASE_URL"), [step.script for step in plan.steps]))
    if not missing:
        return report
    title = f"{len(missing)} missing, before {len(plan.steps)} can be applied"
    return replace(report, title=title, checks=missing, verdict=Verdict.FAIL)


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


@toolkit_command("down", examples=("toolkit migrate down --dry-run", "toolkit migrate down --last 2"))
@option("--to", default=None, metavar="VERSION", help="Roll back to this version and keep it; 0 keeps none.")
@option(
    "--last", type=click.IntRange(1), default=None, metavar="N", help="Roll back this many versions instead of one."
)
@option(
    "--export-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Options().export_dir,
    show_default=True,
    metavar="FOLDER",
    help="First write the rows that a rollback destroys to this folder.",
)
@rehearsable
@patience
@common(changes=True)
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
    """Roll back what is applied, newest first; rows that would be lost are exported.

    A dry run takes the real locks on the target and holds all of them until it is taken back; `toolkit migrate up
    --help` tells more.
    """

    async def work() -> None:
        started = datetime.now(UTC)
        async with database_for(choice, folder) as target, progress() as tell:
            dsn, frame = target.get("DATABASE_URL"), frame_of("migrate down", started, target, folder)
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


@toolkit_command("verify", examples=("toolkit migrate verify", "toolkit migrate verify --no-probes"))
@option("--to", default=None, metavar="VERSION", help="Verify up to this version instead of all that are applied.")
@option("--no-probes", is_flag=True, help="Run only what changes nothing: the verify files and the LIVE checks.")
@option("--no-live", is_flag=True, help="Leave out the read-only checks of any database, LIVE-1 and following.")
@common(changes=True)
@format_options
def verify_command(
    *, choice: TargetChoice, folder: Path, as_json: bool, to: str | None, no_probes: bool, no_live: bool
) -> None:
    """Verify that what is applied holds: shape, behaviour, roles, concurrent writers.

    Verify files run in a transaction that is rolled back. Probes commit rows of a user called toolkit_probe_… for
    a moment and remove them. The checks LIVE-1 and following read the catalog, and the first rows of each table as each
    role, of any folder and database; they write nothing.

    RT-51 needs tasks that only its own workers claim. The reference server's workers leave them alone, since they claim
    the types they know. Workers of another make that claim every type may take some and fail them: RT-51 is then
    unknown, no other result changes, and the tasks are removed with the rest. Stop such workers, or use --no-probes.
    """

    async def work() -> None:
        started = datetime.now(UTC)
        async with database_for(choice, folder) as target, progress() as tell:
            frame, contents = frame_of("migrate verify", started, target, folder), read_folder(folder)
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
        report = of_verify(frame, found)
        files = {one.version: (one.verify or one.up).path for one in contents.migrations}
        places = places_in(report, folder, of_versions=files)
        finish(report, {"versions": list(found.versions)}, as_json, places=places)

    run_async(work())
