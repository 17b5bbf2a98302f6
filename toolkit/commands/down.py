"""`toolkit down`: stop what `toolkit up` keeps running."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import click

from toolkit.commands._options import data_option
from toolkit.errors import EnvironmentError_, UsageError
from toolkit.targets.data_dir import DataDir
from toolkit.targets.postgres import PostgresCluster

STOP_DEADLINE_S = 60.0


@click.command("down")
@data_option
@click.option("--delete-data", is_flag=True, help="Also delete the folder with the database, keys and logs.")
@click.option("--yes", "-y", is_flag=True, help="Delete without asking.")
def command(data_dir: Path, delete_data: bool, yes: bool) -> None:
    """Stop the embedded target; the data stays unless --delete-data is given."""
    data = DataDir(data_dir)
    if not data.path.exists():
        click.echo(f"Nothing is running in {data.path}: the folder does not exist.")
        return
    if delete_data and not yes:
        if not sys.stdin.isatty():
            raise UsageError("--delete-data was not confirmed.", "Add --yes, or run it from a terminal.")
        click.confirm(f"Delete {data.path} with its database and keys?", abort=True, err=True)
    stopped = _stop(data)
    ended = _sweep(data)
    if stopped:
        click.echo(f"Stopped; the data stays in {data.path}" if not delete_data else "Stopped.")
    elif ended:
        click.echo(f"Ended what a crashed run had left: {', '.join(ended)}.")
    else:
        click.echo(f"Nothing was running in {data.path}")
    if delete_data:
        data.delete()
        click.echo(f"Deleted {data.path}")


def _stop(data: DataDir) -> bool:
    holder = data.holder()
    if holder is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(holder, signal.SIGTERM)
    if not _gone(data, STOP_DEADLINE_S):
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder, signal.SIGKILL)
        if not _gone(data, 10):
            raise EnvironmentError_(
                f"Process {holder} still uses {data.path}.", f"Find out what it does: ps -fp {holder}"
            )
    return True


def _gone(data: DataDir, deadline_s: float) -> bool:
    deadline = time.monotonic() + deadline_s
    while data.holder() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _sweep(data: DataDir) -> list[str]:
    """End what is left of a run that was killed."""
    with data:
        ended = data.end_leftovers()
        postgres = PostgresCluster(data.postgres)
        if postgres.running:
            postgres.stop()
            ended.append("postgres")
    return ended
