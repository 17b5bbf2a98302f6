"""`toolkit migrate`: a group; its commands are in the modules beside this one."""

from __future__ import annotations

import click

from toolkit.commands._click import Group
from toolkit.commands.migrate import apply, catalog, eject, lint, mutate, prove, repair


@click.group("migrate", cls=Group)
def command() -> None:
    """Check, prove, apply, verify and roll back the migrations of any folder.

    The commands are listed in the order of work. A folder holds <version>_<name>.sql, with rollbacks/ and verify/
    beneath it. The history of what was applied is the Supabase CLI's own.
    """


for _command in (
    lint.lint_command,
    prove.prove_command,
    mutate.mutate_command,
    apply.plan_command,
    apply.up_command,
    apply.verify_command,
    apply.status_command,
    apply.down_command,
    catalog.snapshot_command,
    catalog.diff_command,
    catalog.drift_command,
    repair.command,
    eject.command,
):
    command.add_command(_command)
