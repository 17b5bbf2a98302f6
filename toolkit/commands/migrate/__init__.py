"""`toolkit migrate`: a group; its commands are in the modules beside this one."""

from __future__ import annotations

import click

from toolkit.commands.migrate import apply, catalog, lint, prove, repair


@click.group("migrate")
def command() -> None:
    """Apply, verify and roll back migrations; the history is the Supabase CLI's own."""


for _command in (
    apply.status_command,
    apply.plan_command,
    apply.up_command,
    apply.down_command,
    apply.verify_command,
    catalog.snapshot_command,
    catalog.diff_command,
    catalog.drift_command,
    lint.lint_command,
    repair.command,
    prove.prove_command,
):
    command.add_command(_command)
