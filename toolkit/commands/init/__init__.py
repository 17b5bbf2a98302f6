"""`toolkit init`: files with which a project begins."""

from __future__ import annotations

import click

from toolkit.commands._click import Group
from toolkit.commands.init.ci import ci_command


@click.group("init", cls=Group)
def command() -> None:
    """Write files with which a project begins; what is there already is never written over."""


command.add_command(ci_command)
