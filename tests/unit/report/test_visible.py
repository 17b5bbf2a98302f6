"""A name that holds control characters neither steers the terminal nor turns the order of a page."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from toolkit.report import as_html, as_junit, as_terminal
from toolkit.report.record import Check, Report, Table, Verdict
from toolkit.report.visible import visible

NASTY = "a\x1b[2Jb\u202ec\x9bd\x07e\u2066f\rg"


def report() -> Report:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    check = Check("x", NASTY, Verdict.FAIL, detail=NASTY, witness=(NASTY,), remedy=NASTY)
    tables = (Table(NASTY, (NASTY,), ((NASTY,),)),)
    return Report("n", NASTY, Verdict.FAIL, now, now, NASTY, "1", (check,), tables=tables)


@pytest.mark.parametrize("render", [as_terminal.render, as_terminal.line, as_html.render, as_junit.render])
def test_what_steers_is_shown_as_its_escape(render: object) -> None:
    assert callable(render)
    text = render(report())
    assert not set(text) & set("\x1b\x9b\x07\u202e\u2066\r")
    assert "\\x1b[2J" in text


def test_lines_and_tabs_stay() -> None:
    assert visible("é\t\n日本 🎉") == "é\t\n日本 🎉"
