"""`toolkit scenarios`: list, run, judge again, and the schema of scenario files."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from toolkit.commands._click import Group, json_option, option
from toolkit.commands._options import (
    SYSTEM,
    TargetChoice,
    confirm_change,
    html_option,
    junit_option,
    reports_dir_option,
    target_options,
)
from toolkit.commands._output import conclude, rendered, with_more, write_file
from toolkit.commands._run import run_async
from toolkit.report import as_html, as_junit
from toolkit.report.links import seen_from
from toolkit.report.record import Check, Link, Report, Verdict, tool_version, worst
from toolkit.targets.target import Target


@click.group("scenarios", cls=Group)
def command() -> None:
    """Run end-to-end scenarios against a system, and judge what was recorded.

    Each run leaves a folder with its whole history; `check` judges it again without a system.
    """


@command.command("list", examples=("toolkit scenarios list", "toolkit scenarios list --judges"))
@option("--judges", is_flag=True, help="List the judges instead: what a scenario can have checked.")
@json_option
def list_(judges: bool, as_json: bool) -> None:
    """List the scenarios that come with the toolkit."""
    from toolkit.scenarios.judges import ALL
    from toolkit.scenarios.model.reading import load, shipped

    begun = datetime.now(UTC)
    if judges:
        rows: list[dict[str, Any]] = [
            {"name": rule.id, "title": rule.title, "transports": sorted(rule.transports)} for rule in ALL
        ]
    else:
        found = [load(path) for path in shipped().values()]
        rows = [
            {"name": s.scenario, "title": s.title, "transports": s.transports, "needs_control": s.control}
            for s in found
        ]
    if as_json:
        what = "judges" if judges else "scenarios"
        checks = tuple(Check(str(row["name"]), f"{row['title']}", Verdict.PASS, "can be read") for row in rows)
        report = Report(
            "scenarios list",
            f"{len(rows)} {what}",
            worst(check.verdict for check in checks),
            begun,
            datetime.now(UTC),
            "none",
            tool_version(),
            checks,
        )
        conclude(with_more(report, {what: rows}), report.exit_code)
    width = max(len(str(row["name"])) for row in rows)
    for row in rows:
        click.echo(f"{row['name']:<{width}}  {row['title']}  [{', '.join(map(str, row['transports']))}]")


@command.command("schema", examples=("toolkit scenarios schema > scenario.schema.json",))
def schema_() -> None:
    """Print the JSON Schema of a scenario file, for editors."""
    from toolkit.scenarios.model.scenario_file import schema

    click.echo(json.dumps(schema(), ensure_ascii=False, indent=2))


@command.command(
    "run",
    examples=(
        "toolkit scenarios run complete-generation-flow",
        "toolkit scenarios run process-recovery --repeat 3 --junit scenarios.xml",
    ),
)
@click.argument(
    "names",
    nargs=-1,
    metavar="[NAME]...",
    help="Run these scenarios or .yaml files instead of all that fit the transport.",
)
@option(
    "--transport",
    type=click.Choice(["realtime", "websocket"]),
    default="realtime",
    show_default=True,
    help="Listen over Realtime or over the legacy WebSocket.",
)
@option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="Run each scenario this many times, with seeds that count up.",
)
@option("--seed", type=int, metavar="N", help="Make random choices from this number instead of the scenario's own.")
@reports_dir_option
@junit_option
@html_option
@json_option
@target_options(*SYSTEM, changes=True)
def run(names: tuple[str, ...], choice: TargetChoice, transport: str, **options: Any) -> None:
    """Run scenarios against a system, and judge what was recorded.

    An embedded system is made for the run and removed. On one of yours, articles are really generated, by users whose
    tokens are made with SUPABASE_JWT_SECRET.
    """
    from toolkit.scenarios.model.reading import find, load, shipped
    from toolkit.scenarios.run import NEEDED, must_fit

    chosen = [load(find(name)) for name in names] or [
        scenario for path in shipped().values() if transport in (scenario := load(path)).transports
    ]
    # Everything that can be refused is refused before anything is asked or started.
    for scenario in chosen:
        must_fit(scenario, transport)
    target = choice.external() if choice.kind == "external" else None
    if target is not None:
        target.require(*NEEDED[transport])
        confirm_change(target, "Generating articles", choice.yes)
    report = run_async(_run_all(chosen, target, transport, options))
    _show(report, options)


@command.command("check", examples=("toolkit scenarios check reports",))
@click.argument(
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Judge the run in this folder, or every run below it.",
)
@junit_option
@html_option
@json_option
def check(folder: Path, **options: Any) -> None:
    """Judge stored runs again; no system is needed."""
    from toolkit.scenarios.stored import check_runs

    _show(check_runs(folder), options)


async def _run_all(chosen: list[Any], target: Target | None, transport: str, options: dict[str, Any]) -> Report:
    from toolkit.postgres.throwaway import throwaway_folder
    from toolkit.scenarios.faults.control import embedded_system
    from toolkit.scenarios.run import run_scenario
    from toolkit.scenarios.stored import merged

    def say(line: str) -> None:
        click.echo(line, err=True)

    begun = datetime.now(UTC)
    results = []
    async with AsyncExitStack() as stack:
        system = None
        if target is None:
            data_dir = stack.enter_context(throwaway_folder("toolkit-scenarios-"))
            say("starting an embedded system")
            system = await stack.enter_async_context(embedded_system(data_dir))
        for scenario in chosen:
            first = scenario.seed if options["seed"] is None else options["seed"]
            # Each repetition makes its own choices, and says with which seed.
            for seed in range(first, first + options["repeat"]):
                if system is not None:
                    await system.configure("both" if transport == "websocket" else "realtime", scenario.environment)
                    where = system.target
                else:
                    assert target is not None
                    where = target
                    if scenario.environment:
                        say(f"note: {scenario.scenario} is written for servers with {scenario.environment}")
                results.append(
                    await run_scenario(
                        scenario,
                        where,
                        runs_dir=options["reports_dir"],
                        transport=transport,
                        control=system,
                        seed=seed,
                        say=say,
                    )
                )
                say(f"{scenario.scenario}: {results[-1].verdict.upper()}")
    if len(results) == 1:
        only = results[0]
        return replace(only.report, links=(Link("Page of the run", str(only.folder / "report.html")),))
    return merged([result.report for result in results], begun, [(r.scenario.scenario, r.folder) for r in results])


def _show(report: Report, options: dict[str, Any]) -> None:
    for path, render in ((options["junit"], as_junit.render), (options["html"], as_html.render)):
        if path is not None:
            write_file(path, render(seen_from(report, path.parent)))
    conclude(rendered(report, options["as_json"]), report.exit_code)
