"""Database addresses given as an option's value: `env:NAME`, or the address itself with a warning."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import click

from toolkit.errors import UsageError


def address_of(given: str, option: str) -> str:
    """The address that `given` means: that of an environment variable (`env:NAME`), or `given` itself.

    A password in the option can be read in the list of processes: that is warned of. Raises UsageError for a variable
    that is not set.
    """
    if given.startswith("env:"):
        name = given.removeprefix("env:")
        if not (found := os.environ.get(name)):
            raise UsageError(f"{option} names the variable {name}, which is not set.", f"Set {name} to the address.")
        return found
    try:
        secret = urlsplit(given).password
    except ValueError:
        secret = None
    if secret:
        click.echo(
            f"Warning: the password in {option} can be read by every user of this machine in the list of processes; "
            f"`{option} env:NAME` takes the address from the environment.",
            err=True,
        )
    return given
