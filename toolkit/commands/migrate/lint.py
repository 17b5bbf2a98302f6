"""`toolkit migrate lint`: mistakes that can be seen in the files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from toolkit.commands._run import run_async
from toolkit.commands.migrate._shared import finish
from toolkit.migrate.lint import report as reports
from toolkit.migrate.lint.reading.findings import LIMITS, severity_of
from toolkit.migrate.lint.run import lint
from toolkit.report.frame import Frame
from toolkit.report.record import tool_version
from toolkit.resources import migrations_dir


@click.command("lint")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option(
    "--migrations",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=migrations_dir,
    show_default="those of this project",
    help="Folder of <version>_<name>.sql, with rollbacks/ beneath it.",
)
@click.option(
    "--severity",
    "limit",
    type=click.Choice(LIMITS),
    default=LIMITS[0],
    show_default=True,
    help="The mildest finding that fails.",
)
@click.option("--disable", "disabled", multiple=True, metavar="RULE", help="Do not look for this. Repeatable.")
@click.option("--list-rules", is_flag=True, help="Show every rule and its severity, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def lint_command(
    *, files: tuple[Path, ...], folder: Path, limit: str, disabled: tuple[str, ...], list_rules: bool, as_json: bool
) -> None:
    """Find mistakes in migrations and rollbacks by reading them; no database is asked.

    Every file of the folder is read, since one file can open or close what another made. With FILEs, only what is found
    in these is told. Exit codes: 0 nothing as bad as --severity, 1 findings, 2 a request that makes no sense, 4 squawk
    cannot be used.
    """
    frame = Frame("migrate lint", datetime.now(UTC), str(folder), tool_version())
    if list_rules:
        finish(reports.of_rules(frame), {"rules": reports.rules_as_dicts()} if as_json else {}, as_json)

    async def work() -> None:
        linted = await lint(folder, only=files, disabled=disabled)
        report = reports.of_lint(frame, linted, severity_of(limit))
        finish(report, {"limit": limit, "findings": reports.as_dicts(linted.findings)}, as_json)

    run_async(work())
