"""One way to write a duration, for options and for scenario files."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.commands._click import Duration
from toolkit.durations import format_duration, parse_duration
from toolkit.scenarios.model.conditions import seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500ms", 0.5), ("10s", 10), ("1.5s", 1.5), ("5m", 300), ("1h", 3600), ("7d", 604800), ("0s", 0), (" 2 m ", 120)],
)
def test_a_number_with_its_unit_is_read_everywhere_alike(text: str, expected: float) -> None:
    assert parse_duration(text) == seconds(text) == Duration(0).convert(text, None, None) == expected


@pytest.mark.parametrize("number", ["10", "0", "0.5"])
def test_a_number_without_a_unit_is_refused_with_both_readings(number: str) -> None:
    with pytest.raises(ValueError, match=rf"write {number}s for seconds or {number}ms for milliseconds"):
        parse_duration(number)
    with pytest.raises(click.BadParameter, match="it has no unit"):
        Duration().convert(number, None, None)


@pytest.mark.parametrize("text", ["", "h", "-3s", "1w", "soon", "1h30m", "1e3s", "9" * 5000, "9" * 5000 + "d", "٣s"])
def test_anything_else_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration") as refused:
        parse_duration(text)
    assert "500ms, 10s, 5m, 1h or 7d" in str(refused.value)
    assert len(str(refused.value)) < 200
    with pytest.raises(ValueError, match="a duration"):
        seconds(text)


@pytest.mark.parametrize(("text", "words"), [("99ms", "too short: at least 100ms"), ("2m", "too long: at most 1m")])
def test_a_duration_outside_its_range_is_refused_with_the_bound(text: str, words: str) -> None:
    with pytest.raises(click.BadParameter, match=words):
        Duration(0.1, 60).convert(text, None, None)


@given(st.integers(0, 10**12))
def test_what_is_written_reads_as_the_same(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds
