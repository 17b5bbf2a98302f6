"""`toolkit migrate repair`: folder and history that have come apart."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click
from click.core import ParameterSource

from toolkit.commands._click import option, toolkit_command
from toolkit.commands._options import TargetChoice
from toolkit.commands._run import run_async
from toolkit.commands.migrate._shared import common, confirm, database_for, finish, frame_of, progress, refusals
from toolkit.errors import UsageError
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.repair import report as reports
from toolkit.migrate.repair.mend import look, mend


@toolkit_command("repair", examples=("toolkit migrate repair", "toolkit migrate repair --apply"))
@option("--apply", "applied", is_flag=True, help="Carry out what is proposed; without it nothing is changed.")
@option(
    "--prefer",
    type=click.Choice(["files", "history"]),
    default="files",
    show_default=True,
    help="Where a row and a file are one migration under two versions, keep the file's (the row gets it) or the row's "
    "(the file and its companions are renamed).",
)
@option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="VERSION",
    help="Vouch for a file that is not as it was when it ran; may be given repeatedly.",
)
@common(changes=True)
@click.pass_context
def command(
    ctx: click.Context,
    *,
    choice: TargetChoice,
    folder: Path,
    as_json: bool,
    applied: bool,
    prefer: Literal["files", "history"],
    accepted: tuple[str, ...],
) -> None:
    """Find where folder and history have come apart, and propose how to mend them.

    Rows without a file and files without a row are matched by version, then by name, then by their statements; what
    is recorded as applied is looked for in the catalog. Each finding comes with its evidence and the exact changes.
    Where more than one reading is possible there is no proposal. Rows that are changed or removed are kept as they
    were in supabase_migrations.toolkit_repairs. No SQL of any migration is run. Exit code 1 while anything is out of
    step.
    """
    _refuse_guessing(ctx, choice)

    async def work() -> None:
        started = datetime.now(UTC)
        async with database_for(choice, folder) as target, progress() as tell:
            dsn, frame = target.get("DATABASE_URL"), frame_of("migrate repair", started, target, folder)
            with refusals(frame, as_json):
                contents = read_folder(folder)
                found = await look(dsn, contents, prefer, accepted)
                if not applied or not found.proposals:
                    finish(reports.of_triage(frame, found), {"repair": reports.triage_as_dict(found)}, as_json)
                confirm(choice, target, "toolkit migrate repair --apply", reports.of_triage(frame, found))
                mended = await mend(dsn, contents, found, prefer, accepted, on_progress=tell)
        finish(reports.of_mended(frame, found, mended), {"repair": reports.triage_as_dict(found, mended)}, as_json)

    run_async(work())


def _refuse_guessing(ctx: click.Context, choice: TargetChoice) -> None:
    """A repair of the wrong history is worse than none: where two targets could be meant, one must be named."""
    said = any(
        ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ("target_kind", "database_url")
    )
    if said or choice.kind == "embedded" or not choice.data_dir.is_dir():
        return
    if choice.external().kind == "external":
        raise UsageError(
            f"Two databases could be meant: the one by URL (from the environment or toolkit.toml) and the embedded one "
            f"in {choice.data_dir}.",
            "Say which: --target external or --target embedded.",
        )
