"""`toolkit doctor`: named checks of a target, with remedies."""

from __future__ import annotations

import sys

import click

from toolkit.commands._options import TargetChoice, target_options
from toolkit.commands._output import conclude, shown
from toolkit.commands._run import run_async
from toolkit.monitor.doctor import PROBE_DEADLINE_S, doctor
from toolkit.report import as_json
from toolkit.report.record import Report
from toolkit.targets.target import Target, refuse_change


@click.command("doctor")
@target_options
@click.option(
    "--probe/--no-probe",
    "probe",
    default=None,
    help="Write events to a process of its own, which is removed afterwards, and see who receives them. "
    "Default: yes on the embedded target; elsewhere when you say so or give --yes.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(0.5, 120),
    default=PROBE_DEADLINE_S,
    show_default=True,
    help="Seconds within which Realtime has to answer and to deliver.",
)
@click.option("--json", "as_data", is_flag=True, help="Print the report as JSON.")
def command(choice: TargetChoice, probe: bool | None, deadline: float, as_data: bool) -> None:
    """Look for what is wrong: settings, database, schema, events, tasks, processes, API, Realtime.

    Nothing is changed but by the probe. What cannot be looked at is unknown, with what is missing.
    """

    def say(line: str) -> None:
        if sys.stderr.isatty():
            click.echo(line, err=True)

    async def work() -> Report:
        async with choice.open() as target:
            return await doctor(target, may_write=may_probe(target, choice.yes, probe), deadline_s=deadline, say=say)

    report = run_async(work())
    text = as_json.render(report) if as_data else shown(report)
    conclude(text, report.exit_code)


def may_probe(target: Target, yes: bool, wanted: bool | None) -> bool:
    """Whether probes may write: on our own target unless forbidden; on others when --yes or a person says so.

    Nobody to ask means no, without an error unless it was asked for: the rest can still be looked at.
    Raises UsageError.
    """
    if wanted is False:
        return False
    if target.kind == "embedded" or yes:
        return True
    if not sys.stdin.isatty():
        if wanted:
            raise refuse_change(target, "The probe")
        return False
    return click.confirm(
        f"The probe writes a process of user toolkit_probe_… to {target.describe()} and removes it. May it?",
        default=False,
        err=True,
    )
