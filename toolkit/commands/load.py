"""`toolkit load`: many whole generations at once, judged and measured."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from toolkit.commands._click import LIMITS, Duration, Group, json_option, option
from toolkit.commands._options import (
    SYSTEM,
    TargetChoice,
    confirm_change,
    junit_option,
    reports_dir_option,
    target_options,
)
from toolkit.commands._output import conclude, shown
from toolkit.commands._run import run_async
from toolkit.errors import UsageError
from toolkit.report import as_html, as_json, as_junit
from toolkit.report.record import Report

if TYPE_CHECKING:
    from toolkit.load.run import LoadResult, Plan

F = TypeVar("F", bound=Callable[..., Any])


@click.group("load", cls=Group)
def command() -> None:
    """Load a system with many users, each a whole generation, every history judged.

    It runs on Locust.
    """


@command.command("locustfile", examples=('locust -f "$(toolkit load locustfile)" --headless --users 2 --spawn-rate 2',))
def locustfile() -> None:
    """Print the path of the locustfile, for runs by Locust itself.

    Settings then come from the environment. Those of the target are API_URL, SUPABASE_URL, SUPABASE_ANON_KEY,
    SUPABASE_JWT_SECRET and DATABASE_URL, as `toolkit up --env` prints them. Those of the run are LOAD_TRANSPORT,
    LOAD_CLIENT (light or official), LOAD_GENERATIONS, LOAD_GENERATION_DEADLINE_S in seconds, LOAD_MAX_FAILURES,
    LOAD_REPORTS_DIR, and LOAD_P95_START, LOAD_P95_FIRST_EVENT, LOAD_P95_ANSWER, LOAD_P95_DELIVERY and
    LOAD_P95_GENERATION in milliseconds.
    """
    from toolkit.load.run import LOCUSTFILE

    click.echo(LOCUSTFILE)


def _p95(name: str, seconds: float, what: str) -> Callable[[F], F]:
    return option(
        f"--p95-{name}",
        type=Duration(0),
        default=seconds,
        show_default=True,
        group=LIMITS,
        help=f"Limit the p95 of {what}; 0s for none.",
    )


def _how_users_work(command: F) -> F:
    """What a run and a comparison have in common: the users' client and pace, and where the report goes."""
    options = (
        option(
            "--step-latency",
            type=Duration(0, 60),
            default=1.0,
            show_default=True,
            help="Let the embedded target's writer take this long a step.",
        ),
        option(
            "--client",
            type=click.Choice(["light", "official"]),
            default="light",
            show_default=True,
            metavar="NAME",
            help="Subscribe by a light client, or by the official one, which costs the generator more.",
        ),
        reports_dir_option,
        option(
            "--html",
            type=click.Path(path_type=Path),
            default=None,
            metavar="PATH",
            help="Also write the page to this file, or all pages to this folder.",
        ),
        junit_option,
        json_option,
        option(
            "--generation-deadline",
            type=Duration(0.001, 86_400),
            default=120.0,
            show_default=True,
            group=LIMITS,
            help="Count a generation that takes longer as failed.",
        ),
    )
    for one in reversed(options):  # a decorator that stands first is applied last
        command = one(command)
    return command


@command.command(
    "run", examples=("toolkit load run --users 2", "toolkit load run --users 50 --transport websocket --ramp 10s")
)
@option(
    "--users",
    type=click.IntRange(1, 10_000),
    default=10,
    show_default=True,
    metavar="N",
    help="Let this many users work at once.",
)
@option(
    "--transport",
    type=click.Choice(["realtime", "websocket"]),
    default="realtime",
    show_default=True,
    metavar="NAME",
    help="Use realtime or websocket; `toolkit load compare` runs both.",
)
@option("--ramp", type=Duration(0), default=None, help="Start the users over this time, 10s for example, not at once.")
@option(
    "--generations",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    metavar="N",
    help="Let each user run this many, one after the other.",
)
@option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Spread the users over this many Locust workers.",
)
@_how_users_work
@option(
    "--max-failures",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    group=LIMITS,
    metavar="N",
    help="Fail when more generations than this fail.",
)
@_p95("start", 2.0, "starts")
@_p95("first-event", 3.0, "first events")
@_p95("answer", 2.0, "answers")
@_p95("delivery", 1.0, "deliveries")
@_p95("generation", 0.0, "generations")
@target_options(*SYSTEM, changes=True)
def run(choice: TargetChoice, **options: Any) -> None:
    """Let users generate articles at once, and judge what each of them saw.

    Passes when every generation was completed, nothing was lost, doubled, disordered or leaked, and every limit is
    kept; what could not be measured is unknown. An embedded system is made for the run and removed; on yours, articles
    are really generated, by users whose tokens are made with SUPABASE_JWT_SECRET.
    """
    from toolkit.load.run import run_load

    plan = _plan(options)
    target = choice.external() if choice.kind == "external" else None
    if target is not None:
        confirm_change(target, f"Generating {plan.users * plan.generations} articles", choice.yes)

    def say(line: str) -> None:
        click.echo(line, err=True)

    result = run_async(run_load(plan, target, reports_dir=options["reports_dir"], say=say))
    _show(result, options)


@command.command(
    "compare",
    examples=(
        "toolkit load compare websocket realtime",
        "toolkit load compare websocket realtime --users 50 --rounds 8",
    ),
)
@click.argument(
    "old", type=click.Choice(["websocket", "realtime"]), metavar="OLD", help="Measure the others by this transport."
)
@click.argument("new", type=click.Choice(["websocket", "realtime"]), metavar="NEW", help="Judge this transport.")
@option(
    "--users",
    type=click.IntRange(1, 10_000),
    default=10,
    show_default=True,
    metavar="N",
    help="Let this many users work at once in each round.",
)
@option(
    "--rounds",
    type=click.IntRange(5, 1_000),
    default=5,
    show_default=True,
    metavar="N",
    help="Run this many rounds on each side; more make the intervals narrower.",
)
@option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="Draw arrivals and thinking from this seed.",
)
@option(
    "--arrivals",
    type=Duration(0),
    default=1.0,
    show_default=True,
    help="Let the users of a round arrive over this time.",
)
@option(
    "--think",
    type=Duration(0, 3600),
    default=0.5,
    show_default=True,
    help="Let users think this long before an answer, in the median.",
)
@_how_users_work
@target_options(*SYSTEM, changes=True)
def compare(choice: TargetChoice, **options: Any) -> None:
    """Compare two transports in interleaved rounds.

    The same users do the same work on both, in turns, on one system. Each figure is better, equal, worse or
    undecided, with the ratio, its interval and the rule in words. Twice the same transport compares a system with
    itself: it must be equal.
    """
    from toolkit.load.rounds import RoundsPlan
    from toolkit.load.run import run_compare

    plan = RoundsPlan(
        users=options["users"],
        rounds=options["rounds"],
        transports=(options["old"], options["new"]),
        arrivals_s=options["arrivals"],
        think_s=options["think"],
        seed=options["seed"],
        client=options["client"],
        generation_deadline_s=options["generation_deadline"],
    )
    target = choice.external() if choice.kind == "external" else None
    if target is not None:
        count = 2 * (plan.users * plan.rounds + 1)
        confirm_change(target, f"Generating {count} articles", choice.yes)

    def say(line: str) -> None:
        click.echo(line, err=True)

    work = run_compare(
        plan, target, step_latency_ms=options["step_latency"] * 1000, reports_dir=options["reports_dir"], say=say
    )
    _show(run_async(work), options)


def _plan(options: dict[str, Any]) -> Plan:
    from toolkit.load.figures import Thresholds
    from toolkit.load.run import Plan

    limits = {name: value * 1000 or None for name, value in options.items() if name.startswith("p95_")}
    return Plan(
        users=options["users"],
        transport=options["transport"],
        client=options["client"],
        ramp_s=options["ramp"] or 0.0,
        generations=options["generations"],
        processes=options["processes"],
        generation_deadline_s=options["generation_deadline"],
        step_latency_ms=options["step_latency"] * 1000,
        thresholds=Thresholds(max_failures=options["max_failures"], **limits),
    )


def _show(result: LoadResult, options: dict[str, Any]) -> None:
    page: Path | None = options["html"]
    if page is not None and page.suffix not in (".html", ".htm"):
        page = page / "report.html"
    try:
        if page is not None:
            _write(page, as_html.render(_seen_from(result, page.parent)))
            if page != options["html"]:
                for own in sorted(result.folder.rglob("locust.html")):
                    _write(page.parent / own.relative_to(result.folder), own.read_text())
        if options["junit"] is not None:
            _write(options["junit"], as_junit.render(result.report))
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}.", "Give another file.") from error
    if options["as_json"]:
        text = as_json.render(result.report)
    else:
        text = f"{shown(_seen_from(result, Path()))}\nPage: {result.folder / 'report.html'}\n"
    conclude(text, result.exit_code)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _seen_from(result: LoadResult, folder: Path) -> Report:
    """The report with links that lead from `folder` into the run's."""
    base = result.folder.resolve()
    links = tuple(
        replace(link, href=os.path.relpath(base / link.href, folder.resolve())) for link in result.report.links
    )
    return replace(result.report, links=links)
