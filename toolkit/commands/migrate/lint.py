"""`toolkit migrate lint`: mistakes that can be seen in the files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from toolkit.commands._click import json_option, option, toolkit_command
from toolkit.commands._run import run_async
from toolkit.commands.migrate._shared import finish, folder_option
from toolkit.migrate.lint import report as reports
from toolkit.migrate.lint.reading.findings import LIMITS, severity_of
from toolkit.migrate.lint.run import lint
from toolkit.report.frame import Frame
from toolkit.report.record import tool_version


@toolkit_command("lint", examples=("toolkit migrate lint", "toolkit migrate lint --severity error"))
@click.argument(
    "files",
    nargs=-1,
    type=click.Path(path_type=Path),
    metavar="[FILE]...",
    help="Tell only what is found in these files; the whole folder is read in any case.",
)
@folder_option
@option(
    "--severity",
    "limit",
    type=click.Choice(LIMITS),
    default=LIMITS[0],
    show_default=True,
    help="Fail on findings that are at least as bad as this.",
)
@option(
    "--disable", "disabled", multiple=True, metavar="RULE", help="Do not look for this rule; may be given repeatedly."
)
@option("--list-rules", is_flag=True, help="Show every rule with its severity, and end.")
@json_option
def lint_command(
    *, files: tuple[Path, ...], folder: Path, limit: str, disabled: tuple[str, ...], list_rules: bool, as_json: bool
) -> None:
    """Find mistakes in migrations and rollbacks by reading them; no database is asked.

    Every file of the folder is read, since one file can open or close what another made. Exit codes: 0 nothing as bad
    as --severity, 1 findings, 2 a request that makes no sense, 4 squawk cannot be used.
    """
    frame = Frame("migrate lint", datetime.now(UTC), str(folder), tool_version())
    if list_rules:
        finish(reports.of_rules(frame), {"rules": reports.rules_as_dicts()} if as_json else {}, as_json)

    async def work() -> None:
        linted = await lint(folder, only=files, disabled=disabled)
        report = reports.of_lint(frame, linted, severity_of(limit))
        finish(report, {"limit": limit, "findings": reports.as_dicts(linted.findings)}, as_json)

    run_async(work())
