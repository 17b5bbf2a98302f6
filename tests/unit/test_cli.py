"""The last boundary: whatever happens below, a person reads words and a program a documented exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from toolkit import cli
from toolkit.errors import EnvironmentError_, RefusalError, UsageError
from toolkit.migrate.run.history import Runner
from toolkit.report.record import Verdict


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


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["scenarios", "list"]])
@pytest.mark.parametrize("redirected", [">/dev/full", ">&-"])
def test_an_output_that_cannot_be_written_is_told_and_is_no_verdict(words: list[str], redirected: str) -> None:
    command = " ".join([sys.executable, "-m", "toolkit.cli", *words, redirected])
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4, done.stderr
    assert "output" in done.stderr
    assert "toolkit-crash" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_went_away_gives_neither_pass_nor_fail() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "toolkit.cli", "--help"], stdout=closed, stderr=subprocess.PIPE, check=False
        )
        assert b"Traceback" not in done.stderr
        shown = subprocess.run(
            [sys.executable, "-m", "toolkit.cli", "token", "--help"], stdout=closed, stderr=subprocess.PIPE, check=False
        )
    assert shown.returncode == 128 + 13, shown.stderr


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


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_outlives_its_reader(verdict: Verdict) -> None:
    """`toolkit … | head -1` must not turn a fail into something else."""
    program = "from toolkit.commands._output import conclude; import sys; sys.argv = ['toolkit', 'up']\n"
    program += "import click; from toolkit import cli\n"
    callback = f"lambda: conclude('x', {verdict_code(verdict)})"
    program += f"cli._Commands.get_command = lambda *_: click.Command('up', callback={callback})\n"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-c", program + "cli.main()"], stdout=closed, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (verdict_code(verdict), b"")


def verdict_code(verdict: Verdict) -> int:
    return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 3}[verdict]


def test_a_runner_without_a_user_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("toolkit.migrate.run.history.getpass.getuser", nobody)
    assert Runner.of_this_process().who.startswith(f"{os.getuid()}@")
