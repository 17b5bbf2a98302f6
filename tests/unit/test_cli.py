"""The last boundary: whatever happens below, a person reads words and a program a documented exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from toolkit import cli
from toolkit.migrate.ledger import Runner


def run(monkeypatch: pytest.MonkeyPatch, raises: BaseException) -> int:
    """The exit code of `toolkit` when a command raises."""

    @click.command()
    def broken() -> None:
        raise raises

    monkeypatch.setattr(cli._Commands, "get_command", lambda *_: broken)
    monkeypatch.setattr(sys, "argv", ["toolkit", "up"])
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


def test_a_crash_leaves_a_report_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli.tempfile, "tempdir", str(tmp_path))
    assert run(monkeypatch, KeyError("postgresql://me:s3cret@db/app")) == 4
    (report,) = tmp_path.iterdir()
    assert str(report) in capsys.readouterr().err
    assert "KeyError" in report.read_text()
    assert "s3cret" not in report.read_text()


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


def test_a_runner_without_a_user_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("toolkit.migrate.ledger.getpass.getuser", nobody)
    assert Runner.of_this_process().who.startswith(f"{os.getuid()}@")
