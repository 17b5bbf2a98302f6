"""`toolkit migrate snapshot | diff | drift`: what a database is, and how that differs from what it was or should be."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import click

from toolkit.commands._click import json_option, option, toolkit_command
from toolkit.commands._formats import format_options
from toolkit.commands._options import DATABASE, TargetChoice, target_options
from toolkit.commands._output import make_writable, write_file
from toolkit.commands._run import run_async
from toolkit.commands.migrate._shared import common, database_for, finish, frame_of, progress
from toolkit.commands.migrate._start import start_options
from toolkit.errors import UsageError
from toolkit.migrate.catalog import document
from toolkit.migrate.catalog.compare import compare, compare_dumps_of, document_of, why_no_dump
from toolkit.migrate.catalog.document import Document
from toolkit.migrate.catalog.report import as_dict, of_comparison, of_snapshot
from toolkit.migrate.drift import Drift, drift_from_file, drift_from_folder
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.run.run_model import Progress
from toolkit.migrate.scratch.origin import Origin
from toolkit.postgres.connection import redact
from toolkit.report.frame import Frame
from toolkit.report.places import Place, relative
from toolkit.report.record import Link, Report, tool_version, worst

_DIFFERENT = "Decide which side is right, and write a migration that makes the other like it."
_DRIFTED = (
    "Put what was changed by hand into a migration, or undo it. After a change that was meant, take a new snapshot."
)
_positions = option("--positions", is_flag=True, help="Also compare where sequences stand, which rows move.")
_no_dump = option("--no-dump", is_flag=True, help="Do not ask pg_dump for a second opinion.")


@toolkit_command("snapshot", examples=("toolkit migrate snapshot -o before.json",))
@option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    help="Write the snapshot to this file: canonical JSON, fit for version control.",
)
@json_option
@target_options(*DATABASE, changes=False)
def snapshot_command(*, choice: TargetChoice, as_json: bool, output: Path | None) -> None:
    """Take down what the catalog says, as facts by name; nothing is changed.

    What exists and is no fact is listed. `diff` and `drift --snapshot` compare with the file.
    """
    make_writable(output)

    async def work() -> None:
        started = datetime.now(UTC)
        async with choice.open(schema="bare", server=False) as target:
            found = await document_of(target.get("DATABASE_URL"))
            frame = frame_of("migrate snapshot", started, target)
        report = of_snapshot(frame, found)
        if output is not None:
            write_file(output, document.as_text(found))
            report = replace(report, links=(Link("Snapshot", str(output)),))
        finish(report, {"snapshot": document.to_json(found)}, as_json)

    run_async(work())


@toolkit_command("diff", examples=("toolkit migrate diff before.json env:DATABASE_URL",))
@click.argument("before", help="Give a snapshot file, a database URL, or env:NAME for a variable that holds one.")
@click.argument("after", help="Give the other side in the same way.")
@_positions
@_no_dump
@json_option
def diff_command(*, before: str, after: str, positions: bool, no_dump: bool, as_json: bool) -> None:
    """Show what differs between two catalogs: every fact by name, before and after.

    Between two databases pg_dump gives a second opinion, and where the two part, that is a finding. Exit codes: 0
    equal, 1 different.
    """
    sides = [_side("BEFORE", before), _side("AFTER", after)]
    _warn_of_passwords([text for text in (before, after) if _has_password(text)])

    async def work() -> None:
        started = datetime.now(UTC)
        async with progress() as tell:
            tell(Progress("file", "diff", "reading both catalogs"))
            one, other = await asyncio.gather(*(side.read() for side in sides))
            dumps = None
            notes: tuple[str, ...] = ()
            addresses = [side.dsn for side in sides if side.dsn is not None]
            if len(addresses) == 2 and not no_dump:
                notes = tuple(filter(None, [why_no_dump(one, other)]))
                if not notes:
                    tell(Progress("file", "diff", "asking pg_dump"))
                    dumps = await compare_dumps_of(addresses[0], addresses[1], one.snapshot.major)
            elif not no_dump:
                notes = ("pg_dump was not asked: a snapshot file holds nothing that it could read.",)
        found = compare(one, other, dumps, positions=positions)
        frame = Frame("migrate diff", started, f"{sides[0].label} and {sides[1].label}", tool_version())
        report = of_comparison(frame, found, "Two catalogs", _DIFFERENT)
        finish(replace(report, notes=(*notes, *report.notes)), {"diff": as_dict(found)}, as_json)

    run_async(work())


@toolkit_command("drift", examples=("toolkit migrate drift", "toolkit migrate drift --snapshot before.json"))
@option(
    "--snapshot",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    help="Compare with this file of `toolkit migrate snapshot` instead of with the migrations.",
)
@_positions
@_no_dump
@start_options("the target's, or the next newer one")
@common(changes=False)
@format_options
def drift_command(
    *,
    choice: TargetChoice,
    folder: Path,
    as_json: bool,
    file: Path | None,
    origin: Origin,
    positions: bool,
    no_dump: bool,
) -> None:
    """Compare the live database with a snapshot file, or with what its migrations make.

    Without --snapshot the files of the versions that the target says are applied are replayed on a scratch database,
    an empty Supabase project unless it starts elsewhere, and what the platform owns (schemas such as auth and storage)
    is left out on both sides.
    """
    if file is not None and origin != Origin():
        raise UsageError(
            "--snapshot replays nothing, so --from, --from-database, --postgres and --scratch-url have nothing to do.",
            "Leave them out, or --snapshot.",
        )
    if positions and file is None:
        raise UsageError(
            "--positions goes with --snapshot: on a database without rows no sequence has moved.", "Leave one out."
        )

    async def work() -> None:
        started = datetime.now(UTC)
        async with database_for(choice, folder) as target, progress() as tell:
            dsn, frame = (
                target.get("DATABASE_URL"),
                frame_of("migrate drift", started, target, None if file is not None else folder),
            )
            tell(Progress("file", "drift", "reading the catalog, and what it should be"))
            if file is not None:
                found = await drift_from_file(dsn, file, positions=positions)
            else:
                found = await drift_from_folder(dsn, read_folder(folder), origin=origin, dump=not no_dump)
        more = {"diff": as_dict(found.comparison) if found.comparison is not None else None}
        report = _of_drift(frame, found, str(file or folder))
        finish(report, more, as_json, places={check: Place(relative(file or folder)) for check in report.checks})

    run_async(work())


def _of_drift(frame: Frame, found: Drift, origin: str) -> Report:
    if found.comparison is None:
        verdict = worst(check.verdict for check in found.checks)
        title = f"Drift from {origin}: not everything could be compared"
        return replace(frame.report(title, verdict, found.checks), notes=found.notes)
    report = of_comparison(frame, found.comparison, f"Drift from {origin}", _DRIFTED, found.checks)
    return replace(report, notes=(*found.notes, *report.notes))


@dataclass(frozen=True)
class _Side:
    """One of the two: the address of a database (never shown), or a file."""

    label: str
    dsn: str | None = None
    file: Path | None = None

    async def read(self) -> Document:
        if self.dsn is not None:
            return await document_of(self.dsn)
        assert self.file is not None
        return replace(await asyncio.to_thread(document.read, self.file), source=str(self.file))


def _side(name: str, text: str) -> _Side:
    if text.startswith("env:"):
        variable = text.removeprefix("env:")
        address = os.environ.get(variable)
        if not address:
            raise UsageError(
                f"{name}: the environment has no variable {variable}.", f"export {variable}=postgresql://…"
            )
        if not _is_address(address):
            raise UsageError(
                f"{name}: the variable {variable} holds no database address.",
                "Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE into it.",
            )
        return _Side(redact(address), dsn=address)
    return _Side(redact(text), dsn=text) if _is_address(text) else _Side(text, file=Path(text))


def _is_address(text: str) -> bool:
    return text.startswith(("postgres://", "postgresql://"))


def _has_password(text: str) -> bool:
    if not _is_address(text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.password) or "password" in dict(parse_qsl(parts.query))
    except ValueError:
        return True


def _warn_of_passwords(addresses: Sequence[str]) -> None:
    if addresses:
        click.echo(
            "Warning: a password in an argument can be read by every user of this machine in the list of processes; "
            "env:NAME, with the address in that variable, cannot.",
            err=True,
        )
