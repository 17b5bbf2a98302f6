"""`toolkit bootstrap`: what the generation system needs, on a Postgres that is no Supabase project."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from toolkit.commands._click import json_option, option, toolkit_command
from toolkit.commands._options import DATABASE, TargetChoice, confirm_change, target_options
from toolkit.commands._output import conclude, shown, with_more
from toolkit.commands._project_mode import project_mode_option
from toolkit.commands._run import run_async
from toolkit.migrate.bootstrap import report as reports
from toolkit.migrate.bootstrap.run import look, prepare
from toolkit.report import as_terminal
from toolkit.report.frame import Frame
from toolkit.report.record import Report, tool_version

if TYPE_CHECKING:
    from toolkit.migrate.folder.project_mode import ProjectMode


@toolkit_command("bootstrap", examples=("toolkit bootstrap --dry-run", "toolkit bootstrap --yes"))
@option("--dry-run", is_flag=True, help="Show what is missing and the statements that would make it; change nothing.")
@project_mode_option
@json_option
@target_options(*DATABASE, changes=True)
def command(*, choice: TargetChoice, dry_run: bool, project_mode: ProjectMode | None, as_json: bool) -> None:
    """Prepare a plain Postgres for the generation system; refused on a Supabase project.

    It makes the roles anon, authenticated and service_role, schema auth with the functions that tell a request's
    claims, their privileges, and the publication supabase_realtime: in one transaction, after showing it. What is
    there stays as it is. What only the server's administrator can change, wal_level for example, is told. Exit code 1
    while something is missing that Realtime needs.
    """

    mode = project_mode or "old"

    async def work() -> None:
        started = datetime.now(UTC)
        async with choice.open(schema="bare", server=False, project_mode=mode) as target:
            dsn, frame = target.get("DATABASE_URL"), Frame("bootstrap", started, target.describe(), tool_version())
            found = await look(dsn, mode)
            if dry_run:
                _finish(reports.of_plan(frame, found), reports.as_dict(found), as_json)
            if found.missing:
                if target.kind != "embedded" and not choice.yes:
                    click.echo(as_terminal.render(reports.of_plan(frame, found)), err=True)
                confirm_change(target, "toolkit bootstrap", choice.yes)
            after = await prepare(dsn, mode)
        _finish(reports.of_prepared(frame, found, after), reports.as_dict(found, after), as_json)

    run_async(work())


def _finish(report: Report, more: dict[str, Any], as_json: bool) -> NoReturn:
    conclude(with_more(report, {"bootstrap": more}) if as_json else shown(report), report.exit_code)
