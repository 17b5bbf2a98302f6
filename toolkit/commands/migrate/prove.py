"""`toolkit migrate prove`: a folder's migrations and rollbacks, proved on scratch databases."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands._click import LIMITS, Duration, json_option, option, toolkit_command
from toolkit.commands._options import reports_dir_option
from toolkit.commands._output import conclude, headline, shown, with_more
from toolkit.commands._run import run_async
from toolkit.commands.migrate._folder import described, folder_options
from toolkit.commands.migrate._shared import progress, refusals
from toolkit.commands.migrate._start import START, start_options
from toolkit.errors import UsageError
from toolkit.postgres.cluster import EMBEDDED_VERSION
from toolkit.report.frame import Frame
from toolkit.report.record import Verdict, tool_version

if TYPE_CHECKING:
    from toolkit.migrate.folder.files import Folder
    from toolkit.migrate.prove.subject.claims import ProveOptions
    from toolkit.migrate.scratch.origin import Origin

NAMES = ("replay", "round-trip", "data", "crash", "locks", "security", "behaviour", "delivery")


@dataclass(frozen=True)
class _Request:
    """What was asked for, the paths checked by click."""

    folder: Path
    origin: Origin
    seed_data: Path | None
    versions: tuple[str, ...]
    last: int | None
    only: tuple[str, ...]
    skip: tuple[str, ...]
    options: ProveOptions


@toolkit_command(
    "prove",
    examples=(
        "toolkit migrate prove --last 1 --skip crash",
        "toolkit migrate prove --migrations migrations --only round-trip",
    ),
)
@folder_options
@option("--version", "versions", multiple=True, metavar="V", help="Prove this version only; may be given repeatedly.")
@option("--last", type=click.IntRange(1), default=None, metavar="N", help="Prove only this many of the last versions.")
@option(
    "--only",
    type=click.Choice(NAMES),
    multiple=True,
    metavar="PROOF",
    help="Make only this proof of those above; may be given repeatedly.",
)
@option(
    "--skip",
    type=click.Choice(NAMES),
    multiple=True,
    metavar="PROOF",
    help="Make all proofs but this one; may be given repeatedly.",
)
@option("--no-endpoint", is_flag=True, help="Do not start a Realtime endpoint for the delivery proof.")
@option(
    "--expectations",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=None,
    metavar="FILE",
    help="Read what each role may do from this file instead of from expectations.yaml of the folder.",
)
@reports_dir_option
@json_option
@start_options(str(EMBEDDED_VERSION))
@option(
    "--seed-data",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=None,
    group=START,
    metavar="FILE",
    help="Run this SQL, which inserts rows of your own, before each version.",
)
@option(
    "--rows",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    group=START,
    metavar="N",
    help="Make up this many rows in each table.",
)
@option(
    "--crash-points",
    type=click.IntRange(0),
    default=12,
    show_default=True,
    group=LIMITS,
    metavar="N",
    help="Kill the backend at this many moments of a file; 0 means every one.",
)
@option(
    "--stall-budget",
    type=Duration(0.001),
    default=0.5,
    show_default=True,
    group=LIMITS,
    help="Refute a file whose locks hold up a reader or writer for longer.",
)
def prove_command(
    *,
    folder: Path,
    origin: Origin,
    seed_data: Path | None,
    rows: int,
    versions: tuple[str, ...],
    last: int | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    crash_points: int,
    stall_budget: float,
    expectations: Path | None,
    no_endpoint: bool,
    reports_dir: Path,
    as_json: bool,
) -> None:
    """Prove migrations and their rollbacks, before they touch anything of value.

    \b
    replay      every file applies, in order, with rows and without
    round-trip  up, down, up: the catalog is what it was, for two oracles
    data        rows that were there survive, also those written in between
    crash       the backend killed at each statement: one state or the other
    locks       what is locked, for how long, and who is held up by it
    security    every role, claim and verb on every table, view, function
    behaviour   functions called, triggers fired
    delivery    no event lost on its way to Realtime, in any phase

    Each claim is proved, sampled or not checked; what refutes it is shown. Exit codes: 0 nothing refuted and nothing
    unchecked, 1 something is refuted, 3 something could not be checked, 4 the start state cannot be rebuilt here.
    """
    if versions and last is not None:
        raise UsageError("--version and --last exclude each other.", "Give one of them.")
    if not set(only or NAMES) - set(skip):
        raise UsageError("Every proof is left out.", "Name fewer with --skip.")
    from toolkit.migrate.prove.subject.claims import ProveOptions
    from toolkit.report import files

    default = folder / "expectations.yaml"
    chosen = expectations or (default if default.is_file() else None)
    run_dir = files.new_folder(reports_dir, "prove")
    options = ProveOptions(
        rows_each=rows,
        crash_points=crash_points,
        stall_budget_ms=stall_budget * 1000,
        expectations=chosen,
        endpoint=not no_endpoint,
    )
    request = _Request(folder, origin, seed_data, versions, last, only, skip, options)
    if origin.scratch_url is None:
        click.echo(
            f"Starting a Postgres to prove on: {origin.postgres or f'the embedded {EMBEDDED_VERSION}'}.", err=True
        )
    try:
        report, claims = run_async(_work(request, as_json))
        files.write(report, run_dir)
    finally:
        with contextlib.suppress(OSError):  # not empty: there is something to keep
            run_dir.rmdir()
    click.echo(f"Report: {run_dir / files.PAGE}", err=True)
    text = with_more(report, {"claims": claims}) if as_json else shown(report)
    if not as_json and report.verdict is not Verdict.PASS:  # its first lines have scrolled away by now
        text += f"\n{headline(report)}"
    conclude(text, report.exit_code)


async def _work(request: _Request, as_json: bool) -> tuple[Any, list[dict[str, object]]]:
    from toolkit.migrate.folder.files import read_folder
    from toolkit.migrate.prove.report import claims_as_dicts, of_proof
    from toolkit.migrate.prove.run import prove
    from toolkit.migrate.prove.subject.claims import Subject
    from toolkit.migrate.prove.subject.states import States
    from toolkit.migrate.run.run_model import Options
    from toolkit.migrate.scratch.start import read_sql
    from toolkit.probes import probes_of

    started = datetime.now(UTC)
    folder = await asyncio.to_thread(read_folder, request.folder)
    seed_data = await asyncio.to_thread(read_sql, request.seed_data) if request.seed_data else ()
    async with contextlib.AsyncExitStack() as stack:
        scratch = await stack.enter_async_context(request.origin.server())
        tell = await stack.enter_async_context(progress())
        # What rollbacks destroy on scratch databases is exported as anywhere else; nobody needs it afterwards.
        exports = stack.enter_context(tempfile.TemporaryDirectory(prefix="toolkit-prove-"))
        start = await request.origin.start(scratch)
        where = f"scratch databases from {start.described}, migrations: {described(request.folder)}"
        frame = Frame("migrate prove", started, where, tool_version())
        with refusals(frame, as_json):
            folder, pending, chosen = await _versions(request, folder, scratch.dsn(start.template))
        options = replace(request.options, probes=probes_of(folder))
        states = States(
            scratch,
            start.template,
            folder,
            pending,
            rows_each=options.rows_each,
            seed_data=seed_data,
            options=Options(export_dir=Path(exports)),
        )
        subject = Subject(folder, chosen, states, options, tell)
        found = await prove(subject, request.only, request.skip)
    return of_proof(frame, subject, found, start.notes), claims_as_dicts(found)


async def _versions(request: _Request, folder: Folder, dsn: str) -> tuple[Folder, tuple[str, ...], tuple[str, ...]]:
    """The folder as the start state has it, the versions that this lacks, and those of them that were asked for."""
    from toolkit.migrate.run.history import read_history
    from toolkit.migrate.run.plan import OF_ONE_FILE, MigrationRefused, Up, as_applied, make_plan
    from toolkit.postgres.connection import connected

    async with connected(dsn) as conn:
        history = await read_history(conn)
    folder = as_applied(folder, history)
    folder = replace(folder, doubles=tuple(m for m in folder.doubles if history.row(m.version) is None))
    try:
        make_plan(folder, history, Up(include_all=True))
    except MigrationRefused as refused:
        # What cannot be run is not checked, nor what comes after it; the versions before it are.
        if not {refusal.code for refusal in refused.refusals} <= OF_ONE_FILE:
            raise
    pending = tuple(m.version for m in folder.migrations if history.row(m.version) is None)
    if not pending:
        raise UsageError(
            "Every version is applied in the start state already, so there is nothing to prove.",
            "Start earlier: from a dump taken before, or without --from-database from an empty project.",
        )
    if unknown := [version for version in request.versions if version not in pending]:
        raise UsageError(
            f"Version {', '.join(unknown)} is not pending in the start state.", f"Pending are: {', '.join(pending)}."
        )
    chosen = tuple(version for version in pending if not request.versions or version in request.versions)
    return folder, pending, chosen[-request.last :] if request.last else chosen
