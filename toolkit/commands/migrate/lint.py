"""`toolkit migrate lint`: mistakes that can be seen in the files."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from toolkit.commands._click import json_option, option, toolkit_command
from toolkit.commands._formats import deliver, format_options
from toolkit.commands._output import shown
from toolkit.commands._project_mode import project_mode_option
from toolkit.commands._run import run_async
from toolkit.commands.migrate._folder import described, folder_options
from toolkit.commands.migrate._shared import finish
from toolkit.migrate.folder.project_mode import ProjectMode
from toolkit.migrate.lint import report as reports
from toolkit.migrate.lint.reading.findings import LIMITS, severity_of
from toolkit.migrate.lint.run import Linted, lint
from toolkit.report import as_terminal
from toolkit.report.frame import Frame
from toolkit.report.record import Report, Verdict, tool_version


@toolkit_command("lint", examples=("toolkit migrate lint", "toolkit migrate lint --severity error"))
@click.argument(
    "files",
    nargs=-1,
    type=click.Path(path_type=Path),
    metavar="[FILE]...",
    help="Tell only what is found in these files; the whole folder is read in any case.",
)
@folder_options
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
@option("--show-accepted", is_flag=True, help="Also list the findings that the files accept, with their reasons.")
@option("--list-rules", is_flag=True, help="Show every rule with its severity, and end.")
@project_mode_option
@json_option
@format_options
def lint_command(
    *,
    files: tuple[Path, ...],
    folder: Path,
    limit: str,
    disabled: tuple[str, ...],
    show_accepted: bool,
    list_rules: bool,
    project_mode: ProjectMode | None,
    as_json: bool,
) -> None:
    """Find mistakes in migrations and rollbacks by reading them; no database is asked.

    Every file of the folder is read, since one file can open or close what another made. Exit codes: 0 nothing as bad
    as --severity, 1 findings, 2 a request that makes no sense, 4 squawk cannot be used.
    """
    frame = Frame("migrate lint", datetime.now(UTC), described(folder), tool_version())
    if list_rules:
        finish(reports.of_rules(frame), {"rules": reports.rules_as_dicts()} if as_json else {}, as_json)

    async def work() -> None:
        linted = await lint(folder, only=files, disabled=disabled, mode=project_mode)
        report = reports.of_lint(frame, linted, severity_of(limit))
        places = reports.places_of(linted, severity_of(limit), folder)
        if as_json:
            finish(report, {"limit": limit, "findings": reports.as_dicts(linted.findings)}, as_json, places=places)
        deliver(report, _calm(report, linted, show_accepted), report.exit_code, places)

    run_async(work())


def _calm(report: Report, linted: Linted, show_accepted: bool) -> str:
    """What a reader has to look at: findings and what could not be read; of a clean folder one line."""
    if show_accepted:
        return shown(report)
    accepted = f", {len(linted.accepted)} accepted" if linted.accepted else ""
    report = replace(report, title=f"{report.title}{accepted}")
    if not linted.open and not linted.notices and report.verdict is Verdict.PASS:
        return as_terminal.line(report, colour=as_terminal.wants_colour(sys.stdout))
    checks = tuple(check for check in report.checks if check.id != reports.FILE_CHECK) or report.checks
    tables = tuple(table for table in report.tables if table.title != reports.BY_FILE)
    return shown(replace(report, checks=checks, tables=tables))
