"""`toolkit load`: many whole generations at once, judged and measured."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands._options import TargetChoice, confirm_change, target_options
from toolkit.commands._output import conclude, shown
from toolkit.commands._run import run_async
from toolkit.errors import UsageError
from toolkit.report import as_html, as_json, as_junit
from toolkit.report.record import Report
from toolkit.tokens import parse_duration

if TYPE_CHECKING:
    from toolkit.load.run import LoadResult, Plan

_LIMIT = click.FloatRange(min=0)


@click.group("load")
def command() -> None:
    """Load on Locust: many users at once, each a whole generation with its prompts, every history judged."""


@command.command("locustfile")
def locustfile() -> None:
    """Print the path of the locustfile, for `locust -f "$(toolkit load locustfile)"`.

    Settings then come from the environment: LOAD_TRANSPORT, LOAD_GENERATIONS, LOAD_P95_START, … and the target's own.
    """
    from toolkit.load.run import LOCUSTFILE

    click.echo(LOCUSTFILE)


@command.command("run")
@target_options
@click.option("--users", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Users at once.")
@click.option(
    "--transport",
    type=click.Choice(["realtime", "websocket", "both"]),
    default="realtime",
    show_default=True,
    help="both: one after the other, and compared.",
)
@click.option(
    "--ramp",
    metavar="DURATION",
    default=None,
    help="Start the users over this time, 10s for example, instead of all at once.",
)
@click.option(
    "--generations",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="How many each user runs, one after the other.",
)
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Locust workers.")
@click.option(
    "--generation-deadline",
    metavar="DURATION",
    default="120s",
    show_default=True,
    help="A generation that takes longer has failed.",
)
@click.option(
    "--step-latency",
    type=click.FloatRange(0, 60_000),
    default=1000.0,
    show_default=True,
    help="Milliseconds the embedded target's writer takes for a step.",
)
@click.option(
    "--max-failures", type=click.IntRange(min=0), default=0, show_default=True, help="So many generations may fail."
)
@click.option("--p95-start", type=_LIMIT, default=2000.0, show_default=True, help="Limits of a p95, in ms; 0: none.")
@click.option("--p95-first-event", type=_LIMIT, default=3000.0, show_default=True)
@click.option("--p95-answer", type=_LIMIT, default=2000.0, show_default=True)
@click.option("--p95-delivery", type=_LIMIT, default=1000.0, show_default=True)
@click.option("--p95-generation", type=_LIMIT, default=0.0, show_default=True)
@click.option(
    "--reports-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports"),
    show_default=True,
    help="Each run makes a folder of its own here.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    default=None,
    help="Also write the page to this file, or with Locust's own into this folder.",
)
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Also write JUnit XML.")
@click.option("--json", "as_data", is_flag=True, help="The report as JSON on stdout.")
def run(choice: TargetChoice, **options: Any) -> None:
    """Let users generate articles at once, and judge what each of them saw.

    Passes when every user completed every generation, nothing was lost, doubled, disordered or leaked, and every p95
    keeps its limit. What could not be measured is unknown (exit code 3), never a pass. On the embedded target
    everything is started and stopped for the run; on another one, articles are really generated, by users whose tokens
    are minted with SUPABASE_JWT_SECRET.
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


def _plan(options: dict[str, Any]) -> Plan:
    from toolkit.load.figures import Thresholds
    from toolkit.load.run import Plan

    limits = {name: value or None for name, value in options.items() if name.startswith("p95_")}
    return Plan(
        users=options["users"],
        transports=("realtime", "websocket") if options["transport"] == "both" else (options["transport"],),
        ramp_s=float(parse_duration(options["ramp"])) if options["ramp"] else 0.0,
        generations=options["generations"],
        processes=options["processes"],
        generation_deadline_s=float(parse_duration(options["generation_deadline"])),
        step_latency_ms=options["step_latency"],
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
    if options["as_data"]:
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
