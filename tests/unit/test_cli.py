"""The last boundary: whatever happens below, a person reads words and a program a documented exit code."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click
import pytest

from toolkit import cli
from toolkit.errors import EnvironmentError_, RefusalError, UsageError
from toolkit.migrate.run.history import Runner


def run(monkeypatch: pytest.MonkeyPatch, raises: BaseException, *options: str) -> int:
    """The exit code of `toolkit` when a command raises."""

    @click.command()
    @click.option("--json", is_flag=True)
    def broken(json: bool) -> None:
        raise raises

    monkeypatch.setattr(cli._Commands, "get_command", lambda *_: broken)
    monkeypatch.setattr(sys, "argv", ["toolkit", "up", *options])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_a_file_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, PermissionError(13, "Permission denied", "/data/lock")) == 4
    said = capsys.readouterr().err
    assert "/data/lock: Permission denied" in said
    assert "defect" not in said


def test_a_wrong_word_does_not_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, click.UsageError("No such command 'pl\x07an'.")) == 2
    assert "No such command 'pl\\x07an'." in capsys.readouterr().err


def test_a_crash_leaves_a_report_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli.tempfile, "tempdir", str(tmp_path))
    assert run(monkeypatch, KeyError("postgresql://me:s3cret@db/app")) == 4
    (report,) = tmp_path.iterdir()
    assert str(report) in capsys.readouterr().err
    assert "KeyError" in report.read_text()
    assert "s3cret" not in report.read_text()


@pytest.mark.parametrize(
    ("error", "code", "verdict"),
    [
        (RefusalError("what", "remedy"), 1, "fail"),
        (UsageError("what", "remedy"), 2, "unknown"),
        (EnvironmentError_("what", "remedy"), 4, "unknown"),
        (click.UsageError("what"), 2, "unknown"),
        (PermissionError(13, "what", "/data/lock"), 4, "unknown"),
    ],
)
def test_with_json_an_error_is_a_report_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int, verdict: str
) -> None:
    assert run(monkeypatch, error, "--json") == code
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    told = json.loads(line)
    assert told.keys() >= {"started_at", "finished_at", "target", "measurements"}
    assert (told["name"], told["verdict"], told["exit_code"]) == ("up", verdict, code)
    assert "what" in told["error"]["what"]
    assert "what" in err
    assert [(check["id"], check["verdict"]) for check in told["checks"]] == [("error", verdict)]
    assert run(monkeypatch, error) == code
    assert not capsys.readouterr().out


def test_a_runner_without_a_user_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("toolkit.migrate.run.history.getpass.getuser", nobody)
    assert Runner.of_this_process().who.startswith(f"{os.getuid()}@")
