"""`toolkit migrate eject`: our migrations as files of a project's own."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import click

from toolkit.commands._click import json_option, toolkit_command
from toolkit.commands.migrate._shared import finish
from toolkit.migrate.eject import Ejected, eject
from toolkit.migrate.folder.files import read_folder
from toolkit.report.frame import Frame
from toolkit.report.record import Check, Report, Verdict, tool_version
from toolkit.resources import migrations_dir


@toolkit_command("eject", examples=("toolkit migrate eject supabase/migrations",))
@click.argument(
    "into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="The project's folder of migrations.",
)
@json_option
def command(*, into: Path, as_json: bool) -> None:
    """Copy the toolkit's own migrations into a project's folder.

    Each comes with its rollback and verify file, as it is, under a version later than every one in the folder; nothing
    else is written, and what the folder has already is left alone. From then on they are migrations of the project:
    `plan`, `up`, `verify` and `prove` work with that folder, beside what is applied already.
    """
    frame = Frame("migrate eject", datetime.now(UTC), str(into), tool_version())
    found = eject(read_folder(migrations_dir()), into, frame.started_at)
    finish(_report(frame, found, into), {"ejected": [asdict(one) for one in found]}, as_json)


def _report(frame: Frame, found: tuple[Ejected, ...], into: Path) -> Report:
    checks = [
        Check(
            one.becomes,
            f"{one.source} is {'copied' if one.files else 'there already'}",
            Verdict.PASS,
            ", ".join(one.files) or f"as {one.becomes}",
        )
        for one in found
    ]
    folder = f"--migrations {shlex.quote(str(into))}"
    notes = (
        "Read the first of them: it makes the tables of the system before the migration. Where the project has those, "
        "remove that file with its rollback and verify file.",
        f"Go on with `toolkit migrate prove {folder}`, `toolkit migrate plan {folder}`, then up and verify.",
    )
    copied = sum(bool(one.files) for one in found)
    title = f"{copied} migrations copied into {into}" if copied else f"{into} has every migration already"
    return replace(frame.report(title, Verdict.PASS, checks), notes=notes)
