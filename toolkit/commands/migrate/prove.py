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
from toolkit.commands._formats import deliver, format_options
from toolkit.commands._options import reports_dir_option
from toolkit.commands._output import headline, shown, with_more
from toolkit.commands._run import run_async
from toolkit.commands.migrate._folder import described, folder_options
from toolkit.commands.migrate._shared import progress, refusals
from toolkit.commands.migrate._start import START, start_options
from toolkit.errors import UsageError
from toolkit.report.frame import Frame
from toolkit.report.record import Check, Report, Verdict, shortened, tool_version

if TYPE_CHECKING:
    from toolkit.migrate.folder.files import Folder
    from toolkit.migrate.folder.since import Since
    from toolkit.migrate.prove.subject.claims import ProveOptions
    from toolkit.migrate.run.history import History
    from toolkit.migrate.run.run_model import OnProgress, Options
    from toolkit.migrate.scratch.earlier import Begun
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
    since: str | None
    new: bool
    cached: bool
    only: tuple[str, ...]
    skip: tuple[str, ...]
    options: ProveOptions


@toolkit_command(
    "prove",
    examples=("toolkit migrate prove --since origin/main",),
)
@folder_options
@option("--version", "versions", multiple=True, metavar="V", help="Prove this version only; repeatable.")
@option("--last", type=click.IntRange(1), default=None, metavar="N", help="Prove only this many of the last versions.")
@option(
    "--since",
    metavar="REV",
    default=None,
    help="Prove what was added or edited since this commit.",
)
@option("--new", is_flag=True, help="Prove what the main branch does not have so.")
@option("--no-cache", is_flag=True, help="Use and keep no state of an earlier run.")
@option(
    "--only",
    type=click.Choice(NAMES),
    multiple=True,
    metavar="PROOF",
    help="Make only this proof of those above; repeatable.",
)
@option(
    "--skip",
    type=click.Choice(NAMES),
    multiple=True,
    metavar="PROOF",
    help="Make all proofs but this one; repeatable.",
)
@option("--no-endpoint", is_flag=True, help="Start no Realtime endpoint for the delivery proof.")
@option(
    "--expectations",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=None,
    metavar="FILE",
    help="Read what roles may do here, not in the folder's expectations.yaml.",
)
@reports_dir_option
@json_option
@format_options
@start_options("by extensions")
@option(
    "--seed-data",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=None,
    group=START,
    metavar="FILE",
    help="Run this SQL of inserts before each version.",
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
    help="Kill the backend at so many moments; 0: each.",
)
@option(
    "--stall-budget",
    type=Duration(0.001),
    default=0.5,
    show_default=True,
    group=LIMITS,
    help="Refute a file that holds others up for longer.",
)
def prove_command(
    *,
    folder: Path,
    origin: Origin,
    seed_data: Path | None,
    rows: int,
    versions: tuple[str, ...],
    last: int | None,
    since: str | None,
    new: bool,
    no_cache: bool,
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

    Exit codes: 0 all is proved, 1 something is refuted, 3 something is not checked, 4 there is no start.
    """
    ways = {"--version": versions, "--last": last is not None, "--since": since is not None, "--new": new}
    if len(given := [name for name, is_given in ways.items() if is_given]) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other.", "Give one of them.")
    if not set(only or NAMES) - set(skip):
        raise UsageError("Every proof is left out.", "Name fewer with --skip.")
    from toolkit.migrate.folder.files import read_folder
    from toolkit.migrate.prove.subject.claims import ProveOptions
    from toolkit.report import files
    from toolkit.report.places import places_in

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
    request = _Request(folder, origin, seed_data, versions, last, since, new, not no_cache, only, skip, options)
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
    files_of = {migration.version: migration.up.path for migration in read_folder(folder).migrations}
    deliver(report, text, report.exit_code, places_in(report, folder, of_versions=files_of))


async def _work(request: _Request, as_json: bool) -> tuple[Any, list[dict[str, object]]]:
    from toolkit.migrate.folder.files import read_folder
    from toolkit.migrate.prove.report import claims_as_dicts, of_proof
    from toolkit.migrate.prove.run import prove
    from toolkit.migrate.prove.subject.claims import Subject
    from toolkit.migrate.prove.subject.states import States
    from toolkit.migrate.run.run_model import Options
    from toolkit.migrate.scratch.start import read_sql
    from toolkit.probes.chosen import probes_of

    started = datetime.now(UTC)
    folder = await asyncio.to_thread(read_folder, request.folder)
    since = await asyncio.to_thread(_since, request)
    if since is not None and not since.versions:
        return _nothing_new(request, since, started), []
    if request.origin.scratch_url is None:
        server = request.origin.server_named(await request.origin.wanted(folder))
        click.echo(f"Starting a Postgres to prove on: {server}.", err=True)
    seed_data = await asyncio.to_thread(read_sql, request.seed_data) if request.seed_data else ()
    async with contextlib.AsyncExitStack() as stack:
        tell = await stack.enter_async_context(progress())
        # What rollbacks destroy on scratch databases is exported as anywhere else; nobody needs it afterwards.
        exports = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toolkit-prove-")))
        chosen, begun = await _begin(
            request, folder, since, stack=stack, options=Options(export_dir=exports), tell=tell
        )
        start, versions = begun.start, chosen.pending[chosen.first :] if begun.applied else chosen.pending
        where = f"scratch databases from {start.described}, migrations: {described(request.folder)}"
        frame = Frame("migrate prove", started, where, tool_version())
        with refusals(frame, as_json):
            chosen.refuse()
        options = replace(request.options, probes=probes_of(chosen.folder))
        states = States(
            begun.scratch,
            start.template,
            chosen.folder,
            versions,
            rows_each=options.rows_each,
            seed_data=seed_data,
            options=Options(export_dir=exports),
            earlier=len(chosen.pending) - len(versions),
        )
        subject = Subject(chosen.folder, chosen.versions, states, options, tell)
        found = await prove(subject, request.only, request.skip)
    notes = (*chosen.notes(), *(since.notes() if since else ()), *start.notes)
    return of_proof(frame, subject, found, notes), claims_as_dicts(found)


def _since(request: _Request) -> Since | None:
    from toolkit.migrate.folder.since import changed_since, main_branch

    if request.new:
        return changed_since(request.folder, main_branch(request.folder))
    return changed_since(request.folder, request.since) if request.since is not None else None


def _nothing_new(request: _Request, since: Since, started: datetime) -> Report:
    frame = Frame("migrate prove", started, f"migrations: {described(request.folder)}", tool_version())
    title = f"No version is new or edited since {since.revision}, so there is nothing to prove"
    looked = Check("prove-new", title, Verdict.PASS, f"every file of the folder, compared with {since.revision} by git")
    return replace(frame.report(title, Verdict.PASS, (looked,)), notes=since.notes())


async def _begin(
    request: _Request,
    folder: Folder,
    since: Since | None,
    *,
    stack: contextlib.AsyncExitStack,
    options: Options,
    tell: OnProgress,
) -> tuple[_Chosen, Begun]:
    """The state before the first version that is proved, and which versions those are."""
    from toolkit.migrate.run.history import History, read_history
    from toolkit.migrate.run.run_model import Progress
    from toolkit.migrate.scratch.earlier import after_earlier, begun_empty
    from toolkit.postgres.connection import connected

    def say(what: str) -> None:
        tell(Progress("waiting", "start", what))

    if request.origin.from_empty:  # which has no history, so that what is pending is known before there is a server
        chosen = _choose(request, folder, since, History())
        begin = begun_empty(request.origin, chosen.folder, chosen.earlier, options, cached=request.cached, say=say)
        return chosen, await stack.enter_async_context(begin)
    wanted = await request.origin.wanted(folder)
    scratch = await stack.enter_async_context(request.origin.server(wanted))
    start = await request.origin.start(scratch, wanted.mode)
    async with connected(scratch.dsn(start.template)) as conn:
        chosen = _choose(request, folder, since, await read_history(conn))
    return chosen, await after_earlier(scratch, start, chosen.folder, chosen.earlier, options)


@dataclass(frozen=True)
class _Chosen:
    """The folder as the start state has it, the versions that this lacks, and those of them that are proved."""

    folder: Folder
    history: History
    pending: tuple[str, ...]
    versions: tuple[str, ...]

    @property
    def first(self) -> int:
        return self.pending.index(self.versions[0])

    @property
    def earlier(self) -> tuple[str, ...]:
        return self.pending[: self.first]

    def refuse(self) -> None:
        """Raises MigrationRefused for what keeps every version from running."""
        from toolkit.migrate.run.plan import OF_ONE_FILE, MigrationRefused, Up, make_plan

        try:
            make_plan(self.folder, self.history, Up(include_all=True))
        except MigrationRefused as refused:
            # What cannot be run is not checked, nor what comes after it; the versions before it are.
            if not {refusal.code for refusal in refused.refusals} <= OF_ONE_FILE:
                raise

    def notes(self) -> tuple[str, ...]:
        """Which versions were looked at, where those are not all."""
        if self.versions == self.pending:
            return ()
        looked = (
            f"Looked at {len(self.versions)} of {len(self.pending)} versions: {', '.join(shortened(self.versions, 8))}"
        )
        return (f"{looked}; the others are only applied.",)


def _choose(request: _Request, folder: Folder, since: Since | None, history: History) -> _Chosen:
    from toolkit.migrate.run.plan import as_applied

    folder = as_applied(folder, history)
    folder = replace(folder, doubles=tuple(m for m in folder.doubles if history.row(m.version) is None))
    pending = tuple(m.version for m in folder.migrations if history.row(m.version) is None)
    if not pending:
        raise UsageError(
            "Every version is applied in the start state already, so there is nothing to prove.",
            "Start earlier: from a dump taken before, or without --from-database from an empty project.",
        )
    asked = request.versions or (sorted(since.versions) if since else pending)
    if unknown := [version for version in asked if version not in pending]:
        raise UsageError(
            f"Version {', '.join(unknown)} is not pending in the start state.", f"Pending are: {', '.join(pending)}."
        )
    chosen = tuple(version for version in pending if version in asked)
    return _Chosen(folder, history, pending, chosen[-request.last :] if request.last else chosen)
