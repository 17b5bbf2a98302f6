"""`toolkit doctor`: named checks of a target, with remedies."""

from __future__ import annotations

import sys

import click

from toolkit.commands._click import json_option, toolkit_command
from toolkit.commands._options import EVERYTHING, TargetChoice, deadline_option, probe_option, target_options
from toolkit.commands._output import conclude, rendered
from toolkit.commands._run import run_async
from toolkit.monitor.doctor import doctor
from toolkit.report.record import Report
from toolkit.targets.target import Target, refuse_change


@toolkit_command("doctor", examples=("toolkit doctor", "toolkit doctor --deadline 20s --json"))
@probe_option
@deadline_option
@json_option
@target_options(*EVERYTHING, changes=True)
def command(choice: TargetChoice, probe: bool | None, deadline: float, as_json: bool) -> None:
    """Look for what is wrong with a system, and say what to do about each thing.

    It looks at settings, database, schema, events, tasks, processes, API and Realtime.

    Nothing is changed but by the probe. What cannot be looked at is unknown, with what is missing.
    """

    def say(line: str) -> None:
        if sys.stderr.isatty():
            click.echo(line, err=True)

    async def work() -> Report:
        async with choice.open() as target:
            return await doctor(target, may_write=may_probe(target, choice.yes, probe), deadline_s=deadline, say=say)

    report = run_async(work())
    conclude(rendered(report, as_json), report.exit_code)


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
