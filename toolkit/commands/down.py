"""`toolkit down`: stop what `toolkit up` keeps running."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click

from toolkit.commands._click import json_option, option, toolkit_command
from toolkit.commands._options import data_option
from toolkit.commands._output import conclude, with_more
from toolkit.errors import EnvironmentError_, ExitCode, ToolkitError, UsageError
from toolkit.postgres.cluster import PostgresCluster
from toolkit.report.record import Check, Report, Verdict, tool_version, worst
from toolkit.targets.data_dir import DataDir

STOP_DEADLINE_S = 60.0


@toolkit_command("down", examples=("toolkit down", "toolkit down --delete-data --yes"))
@option("--delete-data", is_flag=True, help="Also delete the folder with the database, keys and logs.")
@option("--yes", "-y", is_flag=True, help="Delete without asking.")
@json_option
@data_option()
def command(data_dir: Path, delete_data: bool, yes: bool, as_json: bool) -> None:
    """Stop the embedded target that `toolkit up` keeps running; the data stays.

    With --delete-data the data goes, too.
    """
    started, data = datetime.now(UTC), DataDir(data_dir)
    if not data.path.exists():
        _tell(_Done(data, existed=False), started, as_json)
    if delete_data and not yes:
        if not sys.stdin.isatty():
            raise UsageError("--delete-data was not confirmed.", "Add --yes, or run it from a terminal.")
        click.confirm(f"Delete {data.path} with its database and keys?", abort=True, err=True)
    stopped = _stop(data)
    ended = _sweep(data)
    if delete_data:
        try:
            data.delete()
        except ToolkitError:
            click.echo(_Done(data, stopped=stopped, ended=tuple(ended)).words(), err=True)
            raise
    _tell(_Done(data, stopped=stopped, ended=tuple(ended), deleted=delete_data), started, as_json)


@dataclass(frozen=True)
class _Done:
    data: DataDir
    existed: bool = True
    stopped: bool = False
    ended: tuple[str, ...] = ()
    deleted: bool = False

    def words(self) -> str:
        path = self.data.path
        if not self.existed:
            return f"Nothing is running in {path}: the folder does not exist."
        if self.stopped:
            said = "Stopped." if self.deleted else f"Stopped; the data stays in {path}"
        elif self.ended:
            said = f"Ended what a crashed run had left: {', '.join(self.ended)}."
        else:
            said = f"Nothing was running in {path}"
        return f"{said}\nDeleted {path}" if self.deleted else said


def _tell(done: _Done, started: datetime, as_json: bool) -> NoReturn:
    if not as_json:
        conclude(done.words() + "\n", ExitCode.PASS)
    path = done.data.path
    checks = [Check("stopped", f"Nothing runs in {path}", Verdict.PASS, done.words())]
    if done.deleted:
        checks.append(Check("deleted", f"{path} is gone", Verdict.FAIL if path.exists() else Verdict.PASS))
    report = Report(
        "down",
        "Stopped" if done.stopped else "Nothing was running",
        worst(check.verdict for check in checks),
        started,
        datetime.now(UTC),
        f"embedded ({path})",
        tool_version(),
        tuple(checks),
    )
    facts = {"data": str(path), "stopped": done.stopped, "ended": done.ended, "deleted": done.deleted}
    conclude(with_more(report, facts), report.exit_code)


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
            ended.append("postgres")
        postgres.stop()
    return ended
