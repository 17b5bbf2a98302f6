"""`toolkit scenarios`: list, run, judge again, and the schema of scenario files."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from toolkit.commands._options import TargetChoice, confirm_change, target_options
from toolkit.commands._output import conclude, shown, with_more, write_file
from toolkit.commands._run import run_async
from toolkit.report import as_html, as_json, as_junit
from toolkit.report.links import seen_from
from toolkit.report.record import Check, Link, Report, Table, Verdict, tool_version, worst
from toolkit.targets.target import Target


@click.group("scenarios")
def command() -> None:
    """End-to-end scenarios: run them against a system, and judge what was recorded.

    Each run leaves a folder with its whole history; `check` judges it again without a system.
    """


@command.command("list")
@click.option("--judges", is_flag=True, help="List the judges instead: what a scenario can have checked.")
@click.option("--json", "as_data", is_flag=True, help="As JSON.")
def list_(judges: bool, as_data: bool) -> None:
    """The scenarios that ship with the toolkit."""
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
    if as_data:
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


@command.command("schema")
def schema_() -> None:
    """The JSON Schema of a scenario file, for editors."""
    from toolkit.scenarios.model.scenario_file import schema

    click.echo(json.dumps(schema(), ensure_ascii=False, indent=2))


@command.command("run")
@click.argument("names", nargs=-1)
@target_options
@click.option("--transport", type=click.Choice(["realtime", "websocket"]), default="realtime", show_default=True)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Run each so often, with seeds that count up.",
)
@click.option("--seed", type=int, help="Instead of the scenario's own.")
@click.option("--runs-dir", type=click.Path(path_type=Path), default=Path("reports"), show_default=True)
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML to this file.")
@click.option("--html", type=click.Path(path_type=Path), help="Write one page over all runs to this file.")
@click.option("--json", "as_data", is_flag=True, help="The report as JSON on stdout.")
def run(names: tuple[str, ...], choice: TargetChoice, transport: str, **options: Any) -> None:
    """Run scenarios (all that fit the transport when no NAME is given; a NAME may be a .yaml file).

    On an embedded target everything is started and stopped for the run. On another one, articles are
    really generated, by users whose tokens are minted with SUPABASE_JWT_SECRET.
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


@command.command("check")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML to this file.")
@click.option("--html", type=click.Path(path_type=Path), help="Write the page to this file.")
@click.option("--json", "as_data", is_flag=True, help="The report as JSON on stdout.")
def check(run_dir: Path, **options: Any) -> None:
    """Judge a stored run again; no system is needed."""
    from toolkit.scenarios import verdicts
    from toolkit.scenarios.model.reading import load
    from toolkit.scenarios.recorded import history

    records = history.load(run_dir / "history.jsonl")
    scenario = load(run_dir / "scenario.yaml")
    target = next((str(r.value.get("target")) for r in records if r.op == "scenario" and r.kind == "note"), "unknown")
    _show(verdicts.report(scenario, records, target=target), options)


async def _run_all(chosen: list[Any], target: Target | None, transport: str, options: dict[str, Any]) -> Report:
    from toolkit.scenarios.faults.control import embedded_system
    from toolkit.scenarios.run import run_scenario

    def say(line: str) -> None:
        click.echo(line, err=True)

    begun = datetime.now(UTC)
    results = []
    async with AsyncExitStack() as stack:
        system = None
        if target is None:
            data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toolkit-scenarios-")))
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
                        runs_dir=options["runs_dir"],
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
    return _merged([result.report for result in results], begun, [(r.scenario.scenario, r.folder) for r in results])


def _merged(reports: list[Report], begun: datetime, folders: list[tuple[str, Path]]) -> Report:
    """One report over several runs; runs of the same scenario are told apart by their number."""
    seen: dict[str, int] = {}
    checks, measurements, timelines, distributions = [], [], [], []
    for report in reports:
        group = report.checks[0].group if report.checks else report.title
        seen[group] = seen.get(group, 0) + 1
        name = group if seen[group] == 1 else f"{group} run {seen[group]}"
        checks += [replace(check, group=name) for check in report.checks]
        measurements += [replace(measurement, group=name) for measurement in report.measurements]
        timelines += [replace(picture, group=name) for picture in report.timelines]
        distributions += [replace(picture, group=name) for picture in report.distributions]
    return Report(
        name="scenarios",
        title="Scenarios",
        verdict=worst(report.verdict for report in reports),
        started_at=begun,
        finished_at=datetime.now(UTC),
        target=reports[0].target,
        tool_version=tool_version(),
        checks=tuple(checks),
        tables=(_tally(reports),),
        measurements=tuple(measurements),
        timelines=tuple(timelines),
        distributions=tuple(distributions),
        links=tuple(Link(name, str(folder / "report.html")) for name, folder in folders),
        notes=tuple(note for report in reports for note in report.notes),
    )


def _tally(reports: list[Report]) -> Table:
    """How often each scenario ran, and how its runs ended."""
    counted: dict[str, Counter[Verdict]] = {}
    for report in reports:
        name = report.checks[0].group if report.checks else report.title
        counted.setdefault(name, Counter())[report.verdict] += 1
    rows = (
        (name, str(found.total()), *(str(found[verdict]) for verdict in Verdict)) for name, found in counted.items()
    )
    return Table("Runs", ("scenario", "runs", *map(str, Verdict)), tuple(rows))


def _show(report: Report, options: dict[str, Any]) -> None:
    for path, render in ((options["junit"], as_junit.render), (options["html"], as_html.render)):
        if path is not None:
            write_file(path, render(seen_from(report, path.parent)))
    text = as_json.render(report) if options["as_data"] else shown(report)
    conclude(text, report.exit_code)
