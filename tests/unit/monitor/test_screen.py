"""A monitor's report fits one screen whatever the sample: each figure once, what failed and what is unknown by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.monitor.test_monitor import APPLICATION, DATABASE, GONE, GOOD, REALTIME, of
from toolkit.checks.absent import Absent
from toolkit.checks.facts import Slot
from toolkit.monitor.figures import (
    Application,
    Connections,
    Database,
    Delivered,
    Index,
    LaggingSlot,
    Queue,
    Realtime,
    Sample,
    StepOutcome,
    StepTimes,
    TableSize,
    TaskTimes,
)
from toolkit.monitor.screen import LINES, on_one_screen
from toolkit.report import as_terminal
from toolkit.report.record import Report

WIDTH = 100
NAMES = [f"name_{n:03}" for n in range(200)]
BIG = Sample(
    100.0,
    3600.0,
    replace(
        DATABASE,
        active=dict.fromkeys(NAMES, 3),
        recent_events=tuple((name, "3", "1", "2026-01-01 00:00:00") for name in NAMES),
        failed=tuple((name, "editing", "the model was away " * 9, "2026-01-01 00:00:00") for name in NAMES),
        tables=tuple(TableSize(name, 2 * 1024**2, 100, 3, 100, 10, 50, 90, None) for name in NAMES),
        indexes=tuple(Index("process_events", name, 90, 8192) for name in NAMES),
        slots=tuple(LaggingSlot(Slot(name, True, True, 100, "reserved"), 100) for name in NAMES),
    ),
    REALTIME,
    Application(
        tuple(TaskTimes(name, 99, 1, 0.1, 0.2) for name in NAMES),
        tuple(StepTimes(name, 3, 0.1, 0.2) for name in NAMES),
        tuple(StepOutcome(name, 10, 6, 2, 2) for name in NAMES),
    ),
)
BAD = replace(
    BIG,
    database=replace(
        DATABASE,
        queue=Queue(9, 0, 61.0),
        slots=tuple(LaggingSlot(Slot(name, False, False, 2 * 1024**3, "extended"), None) for name in NAMES),
        tables=tuple(TableSize(name, 9, 10_000, 20_000, 9, 0, 0, 0, None) for name in NAMES),
    ),
    realtime=replace(REALTIME, connections=Connections(3, 2, (1.0,), "refused"), delivered=Delivered(2, (5.0,))),
    application=replace(APPLICATION, tasks=(TaskTimes("t", 1, 9, 0.1, 0.2),)),
)
UNKNOWN = replace(
    GOOD,
    database=Database(*(Absent(f"reason {n} " * 12, f"Do {n}. " * 12) for n in range(9))),
    application=Application(GONE, GONE, GONE),
    realtime=Realtime(GONE, GONE, GONE, GONE, GONE),
)


def screen(sample: Sample, before: Sample | None = None) -> str:
    return on_one_screen(of(sample, before), as_text)


def as_text(report: Report) -> str:
    return as_terminal.render(report, width=WIDTH)


@pytest.mark.parametrize("sample", [GOOD, BIG, BAD, UNKNOWN], ids=["good", "big", "bad", "unknown"])
def test_everything_fits(sample: Sample) -> None:
    lines = screen(sample).splitlines()
    assert len(lines) <= LINES
    assert all(len(line) <= WIDTH for line in lines)
    assert as_text(of(sample)).count("\n") > LINES or sample is GOOD, "without it there would be too much"


def test_what_failed_is_there_and_what_was_left_out_is_said() -> None:
    text = screen(BAD)
    for check in ("pending-age", "slot-retained", "dead-rows", "connections", "delivery-p95", "failed-rate"):
        assert f"[{check}]" in text
    assert "--json tells the rest" in text or "more" in text
    assert "more" in screen(BIG)


def test_what_is_unknown_is_gathered_by_its_reason() -> None:
    nothing = replace(UNKNOWN, database=Database(*([GONE] * 9)))
    text = screen(nothing)
    assert text.count("\nunknown") == 1
    words = " ".join(text.split())
    assert "active processes, recent events, task queue, … and 14 more: DATABASE_URL is not set. Set it." in words


def test_each_figure_is_said_once() -> None:
    text = screen(GOOD)
    assert text.count("process_events") == 1
    assert text.count("editing") == 1
    assert text.count("generation_start") == 1
    assert "Measured" not in text
    for said in (
        "2 in_progress",
        "1 pending, 1 running, the oldest due for 2 s",
        "60 appended (60/h, 1 MiB/h)",
        "3 of 3 live (p50 20 ms)",
        "4 of 4 events, p50 6 ms, p95 8 ms",
        "2 in 120 s",
        "live: active, keeps 0 KiB",
        "generation_start: 99 completed, 1 failed, p95 0.200 s",
    ):
        assert said in text


def test_growth_is_a_column_once_there_are_two_samples() -> None:
    assert isinstance(DATABASE.tables, tuple)
    later = replace(DATABASE.tables[0], bytes=3 * 1024**2, inserted=150)
    text = screen(replace(GOOD, at_s=110.0, database=replace(DATABASE, tables=(later,))), before=GOOD)
    assert "360 MiB/h" in text
    assert "growth" not in screen(GOOD).replace("growth between samples", "")
