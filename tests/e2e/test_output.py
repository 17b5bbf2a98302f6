"""A command whose output cannot be written, or whose reader has gone: neither becomes a verdict, nor changes one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from toolkit.report.record import Verdict


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
