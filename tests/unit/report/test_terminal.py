"""What a terminal is shown: colour where it is wanted, on one screen where that is promised."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest

from tests.unit.report.test_report import sample
from toolkit.rehearse.stage.progress import Live, PlainLines, progress_on
from toolkit.report import as_terminal
from toolkit.report.record import Verdict

ESCAPE = "\x1b["


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "stream", "coloured"),
    [
        ({}, Terminal(), True),
        ({"NO_COLOR": ""}, Terminal(), True),  # set and empty means nothing, says no-color.org
        ({"NO_COLOR": "1"}, Terminal(), False),
        ({"TERM": "dumb"}, Terminal(), False),
        ({}, io.StringIO(), False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], stream: io.StringIO, coloured: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert as_terminal.wants_colour(stream) is coloured
    assert (ESCAPE in as_terminal.render(sample(), colour=as_terminal.wants_colour(stream))) is coloured


def told(stream: io.StringIO) -> str:
    progress = progress_on(stream)
    progress.phase(1, 2, "The legacy system")
    progress.say("starting")
    progress.close()
    return stream.getvalue()


def test_a_dumb_terminal_gets_lines_and_no_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_on(Terminal()), PlainLines)
    assert ESCAPE not in told(Terminal())


def test_without_colour_the_spinner_moves_and_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    colours = re.compile(r"\x1b\[[0-9;]+m")
    assert isinstance(progress_on(Terminal()), Live)
    assert colours.search(told(Terminal()))
    monkeypatch.setenv("NO_COLOR", "1")
    assert isinstance(progress_on(Terminal()), Live)
    assert not colours.search(told(Terminal()))


def test_a_clean_result_is_one_line() -> None:
    clean = replace(sample(), title="6 files: nothing found", verdict=Verdict.PASS)
    assert as_terminal.line(clean) == "✔ 6 files: nothing found: PASS · 4.2 s · embedded (http://127.0.0.1:8000)\n"
    assert ESCAPE in as_terminal.line(clean, colour=True)
