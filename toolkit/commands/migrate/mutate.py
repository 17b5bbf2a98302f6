"""`toolkit migrate mutate`: which wrong versions of a folder's migrations would nobody notice?"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from toolkit.commands.migrate._shared import refusals
from toolkit.commands.migrate._start import start_options
from toolkit.durations import format_duration
from toolkit.errors import UsageError
from toolkit.report.frame import Frame
from toolkit.report.record import Report, Verdict, tool_version

if TYPE_CHECKING:
    from toolkit.migrate.folder.files import Folder
    from toolkit.migrate.mutate.derive import Derived
    from toolkit.migrate.mutate.judges import Judge
    from toolkit.migrate.mutate.mutant import Mutant
    from toolkit.migrate.mutate.outcome import Outcome
    from toolkit.migrate.mutate.run import Judged
    from toolkit.migrate.scratch.databases import Scratch
    from toolkit.migrate.scratch.origin import Origin

_JUDGES = ("verify", "prove", "pgtap")
# Those that judge what a file says of rows, roles and rollbacks; the others measure, or kill backends.
_PROOFS = ("round-trip", "data", "security")
_EVERY_S = 10.0


@dataclass(frozen=True)
class _Request:
    folder: Path
    origin: Origin
    versions: tuple[str, ...]
    only: tuple[str, ...]
    ids: tuple[str, ...]
    number: int | None
    seed: int
    budget_s: float
    deadline_s: float
    judges: tuple[str, ...]
    commands: tuple[str, ...]
    pgtap: tuple[Path, ...]
    workers: int
    min_score: int | None
    cached: bool


def _named_judges(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(word.strip() for word in value.split(",") if word.strip())
    if unknown := [name for name in names if name not in _JUDGES]:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(_JUDGES)}.")
    return names


@toolkit_command(
    "mutate",
    examples=(
        "toolkit migrate mutate --sample 100",
        "toolkit migrate mutate --judges '' --judge 'pytest tests/db'",
    ),
)
@folder_options
@option("--version", "versions", multiple=True, metavar="V", help="Mutate this version only; repeatable.")
@option("--only", multiple=True, metavar="KIND", help="Only mutants of this kind; repeatable. --list shows them.")
@option("--mutant", "ids", multiple=True, metavar="ID", help="Only this mutant, or those of this pattern; repeatable.")
@option("--sample", "number", type=click.IntRange(1), default=None, metavar="N", help="Only so many.")
@option("--seed", type=int, default=0, show_default=True, metavar="S", help="Which ones a sample takes.")
@option(
    "--judges",
    default="verify",
    show_default=True,
    callback=_named_judges,
    metavar="NAMES",
    help="Who looks: verify, prove, pgtap; separated by commas.",
)
@option("--judge", "commands", multiple=True, metavar="COMMAND", help="A command, given DATABASE_URL; repeatable.")
@option(
    "--pgtap",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=None,
    show_default="supabase/tests",
    metavar="FOLDER",
    help="Where the pgTAP files are.",
)
@option("--min-score", type=click.IntRange(0, 100), default=None, metavar="P", help="Fail below P percent only.")
@option("--list", "listing", is_flag=True, help="List the mutants and judge none.")
@option("--no-cache", is_flag=True, help="Use and keep no outcome of an earlier run.")
@reports_dir_option
@json_option
@format_options
@start_options("by the extensions that the files create")
@option(
    "--budget",
    type=Duration(1),
    default=None,
    group=LIMITS,
    help="Take no new mutant after this time, 600s for example.",
)
@option(
    "--deadline",
    type=Duration(1),
    default=60.0,
    show_default=True,
    group=LIMITS,
    help="Give up a mutant that is not judged after this time.",
)
@option(
    "--workers",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    group=LIMITS,
    metavar="N",
    help="Look at so many side by side.",
)
def mutate_command(
    *,
    folder: Path,
    origin: Origin,
    versions: tuple[str, ...],
    only: tuple[str, ...],
    ids: tuple[str, ...],
    number: int | None,
    seed: int,
    judges: tuple[str, ...],
    commands: tuple[str, ...],
    pgtap: Path | None,
    min_score: int | None,
    listing: bool,
    no_cache: bool,
    reports_dir: Path,
    as_json: bool,
    budget: float | None,
    deadline: float,
    workers: int,
) -> None:
    """Make the migrations wrong, one thing at a time, and see who would notice.

    Every condition, comparison, lock, constant, grant, policy, trigger, constraint and statement of the files is
    changed in turn, each on a scratch database of its own, and shown to your verify files, proofs and tests. What
    nobody notices is shown as a difference, with the place where a check belongs. Outcomes are kept: a run that was
    stopped goes on where it was.

    Exit codes: 0 everything that counts is noticed or has a reason in mutants.yaml (or reaches --min-score), 1
    something lives, 3 something could not be judged, 4 the start state cannot be rebuilt here.
    """
    from toolkit.migrate.folder.files import read_folder
    from toolkit.migrate.mutate.derive import derive
    from toolkit.report import files
    from toolkit.report.places import places_in

    contents = read_folder(folder)
    if unknown := [one for one in versions if contents.get(one) is None]:
        raise UsageError(
            f"{folder} holds no version {', '.join(unknown)}.",
            f"It holds: {', '.join(one.version for one in contents.migrations)}.",
        )
    tests = tuple(sorted((pgtap or Path("supabase/tests")).rglob("*.sql"))) if "pgtap" in judges else ()
    if "pgtap" in judges and not tests:
        raise UsageError(f"There are no pgTAP files in {pgtap or 'supabase/tests'}.", "Name their folder with --pgtap.")
    request = _Request(
        folder=folder,
        origin=origin,
        versions=versions,
        only=only,
        ids=ids,
        number=number,
        seed=seed,
        budget_s=budget or float("inf"),
        deadline_s=deadline,
        judges=judges,
        commands=commands,
        pgtap=tests,
        workers=workers,
        min_score=min_score,
        cached=not no_cache,
    )
    derived = derive(contents, versions)
    chosen = _choose(request, derived)
    if listing:
        _list(chosen, as_json)
    if not judges and not commands:
        raise UsageError("Nobody is to look.", f"Name --judges ({', '.join(_JUDGES)}) or a --judge COMMAND.")
    report = run_async(_work(request, contents, derived, chosen, as_json))
    run_dir = files.new_folder(reports_dir, "mutate")
    files.write(report, run_dir)
    click.echo(f"Report: {run_dir / files.PAGE}", err=True)
    text = with_more(report, {}) if as_json else shown(report)
    if not as_json and report.verdict is not Verdict.PASS:
        text += f"\n{headline(report)}"
    of_versions = {migration.version: migration.up.path for migration in contents.migrations}
    deliver(report, text, report.exit_code, places_in(report, folder, of_versions=of_versions))


def _choose(request: _Request, derived: Derived) -> list[Mutant]:
    import fnmatch

    from toolkit.migrate.mutate.derive import sample
    from toolkit.migrate.mutate.operators import KINDS

    if unknown := [kind for kind in request.only if kind not in KINDS]:
        raise UsageError(f"There is no kind {', '.join(unknown)}.", f"There are: {', '.join(KINDS)}.")
    found = [
        one
        for one in derived.mutants
        if (not request.only or one.kind in request.only)
        and (not request.ids or any(fnmatch.fnmatchcase(one.id, pattern) for pattern in request.ids))
    ]
    if not found:
        raise UsageError(
            f"{described(request.folder)} has no such mutant.", "Leave --only and --mutant out, or see --list."
        )
    return found if request.number is None else sample(found, request.number, request.seed)


def _list(chosen: Sequence[Mutant], as_json: bool) -> None:
    if as_json:
        import json

        keys = ("id", "kind", "told", "file", "line", "object")
        click.echo(json.dumps([{key: getattr(one, key) for key in keys} for one in chosen], indent=2))
    else:
        for one in chosen:
            click.echo(f"{one.id}  {one.file}:{one.line} {one.object}: {one.told}")
    raise click.exceptions.Exit(0)


async def _work(request: _Request, folder: Folder, derived: Derived, chosen: Sequence[Mutant], as_json: bool) -> Report:
    from toolkit.migrate.mutate.outcome import outcomes_of
    from toolkit.migrate.mutate.reasons import FILE, read_reasons
    from toolkit.migrate.mutate.report import of_mutants
    from toolkit.migrate.mutate.run import Settings, judge_mutants
    from toolkit.migrate.run.run_model import Options

    started = datetime.now(UTC)
    reasons = read_reasons(request.folder / FILE)
    click.echo(f"{len(chosen)} of {len(derived.mutants)} mutants are looked at.", err=True)
    async with contextlib.AsyncExitStack() as stack:
        exports = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toolkit-mutate-")))
        wanted = await request.origin.wanted(folder)
        scratch = await stack.enter_async_context(request.origin.server(wanted))
        start = await request.origin.start(scratch, wanted.mode)
        frame = Frame(
            "migrate mutate", started, f"scratch databases, migrations: {described(request.folder)}", tool_version()
        )
        settings = Settings(
            lambda version: _judges(request, scratch, start.template, version),
            Options(export_dir=exports),
            deadline_s=request.deadline_s,
            budget_s=request.budget_s,
            workers=request.workers,
        )
        names = [*request.judges, *request.commands, *map(str, request.pgtap)]
        key = f"{request.origin!r} {wanted} {start.described}"
        outcomes = outcomes_of(folder, key, names, kept=request.cached and not request.commands)
        with refusals(frame, as_json):
            judged = await judge_mutants(
                scratch,
                start.template,
                folder,
                chosen,
                settings=settings,
                outcomes=outcomes,
                on_outcome=_teller(len(chosen)),
            )
    return of_mutants(frame, derived, chosen, judged, reasons, min_score=request.min_score)


def _judges(request: _Request, scratch: Scratch, template: str, version: str) -> list[Judge]:
    from toolkit.migrate.mutate.judges import Command, LiveChecks, PgTap, ProbeChecks, Proofs, VerifyFiles
    from toolkit.migrate.prove.subject.claims import ProveOptions
    from toolkit.probes.chosen import probes_of

    found: list[Judge] = []
    if "verify" in request.judges:
        found += [VerifyFiles(), LiveChecks(), ProbeChecks(probes_of)]
    if request.pgtap:
        found.append(PgTap(request.pgtap))
    found += [Command(line) for line in request.commands]
    if "prove" in request.judges:
        expectations = request.folder / "expectations.yaml"
        options = ProveOptions(expectations=expectations if expectations.is_file() else None, endpoint=False)
        found.append(Proofs(scratch, template, version, _PROOFS, options))
    return found


def _teller(total: int) -> Callable[[Judged, Outcome], Any]:
    """Tells every ten seconds how far it is, on stderr."""
    started = last = time.monotonic()
    first: list[int] = []

    def tell(judged: Judged, _outcome: Outcome) -> None:
        nonlocal last
        first[:] = first or [judged.from_before]
        if time.monotonic() - last < _EVERY_S:
            return
        last = time.monotonic()
        done = len(judged.outcomes)
        fates: dict[str, int] = {}
        for one in judged.outcomes.values():
            fates[one.fate.value] = fates.get(one.fate.value, 0) + 1
        left = (last - started) / max(1, done - first[0]) * (total - done)
        told = ", ".join(f"{number} {fate}" for fate, number in sorted(fates.items(), key=lambda item: -item[1]))
        click.echo(f"{done} of {total}: {told}; about {format_duration(round(left))} left", err=True)

    return tell
