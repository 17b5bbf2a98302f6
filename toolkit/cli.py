"""The `toolkit` command: the group, its error boundary and nothing else.

Each subcommand lives in `toolkit/commands/<name>.py` as a click command called `command`, and is
imported only when it is asked for, so that `toolkit --help` stays quick.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import itertools
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from typing import NoReturn

import click
import orjson

from toolkit import extras
from toolkit.commands._click import Group
from toolkit.commands._stdout import forget_stdout
from toolkit.errors import ExitCode, ToolkitError
from toolkit.redact import redact
from toolkit.report.record import Check, Report, Verdict, tool_version
from toolkit.report.visible import visible

# The order of work, which is that of `toolkit --help`: try it, have a system to look at, migrate, see that it holds.
COMMANDS: tuple[str, ...] = (
    "rehearse",
    "up",
    "token",
    "down",
    "bootstrap",
    "keys",
    "migrate",
    "init",
    "doctor",
    "scenarios",
    "load",
    "signoff",
    "monitor",
)
# What a command needs beyond the base; those not named here run or examine a whole system.
_WRITABLE = "Send it to a file or a pipe that can be written, and see that the disk has room."
_EXTRAS = {"migrate": "migrate", "bootstrap": "migrate", "keys": "migrate", "init": "migrate", "load": "load"}


class _Commands(Group):
    """Finds subcommands by name in `toolkit.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        extra = _EXTRAS.get(cmd_name, "scenarios")
        if extras.missing(extra):
            return _NotInstalled(cmd_name, extra)
        with _importing():
            loaded = import_module(f"toolkit.commands.{cmd_name}").command
        assert isinstance(loaded, click.Command)
        return loaded

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader of our output (head, less) went away before the verdict: not a pass, not a failure. Caught
            # here since click would make an exit code of 1 of it.
            forget_stdout()
            raise click.exceptions.Exit(128 + signal.SIGPIPE) from None


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """What is imported stays till the end: looking through it for garbage was a third of a command's start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _NotInstalled(click.Command):
    """Stands for a command whose extra is not installed: listed with how to get it, and refused with the same."""

    def __init__(self, name: str, extra: str) -> None:
        super().__init__(
            name,
            params=[click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)],
            short_help=f"Not installed: it needs the extra `{extra}`.",
            context_settings={"ignore_unknown_options": True},
            add_help_option=False,
        )
        self._extra = extra

    def invoke(self, ctx: click.Context) -> object:
        extras.require(self._extra, f"`toolkit {self.name}`")
        raise AssertionError("unreachable: something of the extra is missing")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="realtime-migration-toolkit", prog_name="toolkit")
def toolkit() -> None:
    """Migrate a live generation system to Supabase Realtime, and prove that it worked.

    The commands are listed in the order of work. Exit codes of every command: 0 pass, 1 fail, 2 usage, 3 unknown
    (could not be determined), 4 environment (a server, a machine or a permission is missing). A DURATION is a number
    with its unit: 500ms, 10s, 5m, 1h or 7d.
    """


def main() -> None:
    """Run the command line; every failure ends in words and a documented exit code."""
    started = datetime.now(UTC)
    # A secret that is too short is told in our words, once, where a command reads it.
    warnings.filterwarnings("ignore", message="The HMAC key is .* bytes long")
    if sys.stdout is None:  # closed by the caller: the next file or socket to be opened would take its place
        _told("There is no standard output.", _WRITABLE, ExitCode.ENVIRONMENT, started)
    try:
        result = toolkit.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        click.echo(visible(told.getvalue()), err=True, nl=False)
        _json_error(error.format_message(), "See --help.", ExitCode.USAGE, started)
        sys.exit(ExitCode.USAGE)
    except ToolkitError as error:
        _told(error.what, error.remedy, error.exit_code, started)
    except OSError as error:
        if error.filename is None and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EBADF, errno.EIO, errno.EFBIG}:
            forget_stdout()
            _told(f"The output cannot be written: {error.strerror}.", _WRITABLE, ExitCode.ENVIRONMENT, started)
        if error.filename is None:
            _crashed(error, started)
        what = f"{os.fsdecode(error.filename)}: {error.strerror}."
        _told(what, "Check that it exists, whose it is, and that the disk has room.", ExitCode.ENVIRONMENT, started)
    except Exception as error:  # noqa: BLE001 - the last boundary: a person never sees a traceback
        _crashed(error, started)
    sys.exit(result if isinstance(result, int) else ExitCode.PASS)


def _crashed(error: Exception, started: datetime) -> NoReturn:
    with tempfile.NamedTemporaryFile("w", prefix="toolkit-crash-", suffix=".txt", delete=False) as report:
        report.write(redact("".join(traceback.format_exception(error))))
    what = f"an unexpected {type(error).__name__}; this is a defect of the toolkit."
    _told(what, f"Please report it with the details in {report.name}.", ExitCode.ENVIRONMENT, started)


def _told(what: str, remedy: str, code: ExitCode, started: datetime) -> NoReturn:
    click.echo(f"Error: {visible(what)}", err=True)
    click.echo(f"  → {visible(remedy)}", err=True)
    _json_error(what, remedy, code, started)
    sys.exit(code)


def _json_error(what: str, remedy: str, code: ExitCode, started: datetime) -> None:
    """With --json an error is a report too, in one line, so that a stream of reports stays one a line."""
    if "--json" not in sys.argv[1:]:
        return
    verdict = Verdict.FAIL if code is ExitCode.FAIL else Verdict.UNKNOWN
    check = Check("error", what, verdict, remedy=remedy)
    report = Report(_command_name(), "Error", verdict, started, datetime.now(UTC), "", tool_version(), (check,))
    told = asdict(report) | {"error": {"what": what, "remedy": remedy}, "exit_code": int(code)}
    try:
        click.echo(orjson.dumps(told))
    except OSError:
        forget_stdout()


def _command_name() -> str:
    words = [*itertools.takewhile(lambda word: not word.startswith("-"), sys.argv[1:])]
    found = toolkit.get_command(click.Context(toolkit), words[0]) if words else None
    return " ".join(words[: 2 if isinstance(found, click.Group) else 1])


if __name__ == "__main__":
    main()
