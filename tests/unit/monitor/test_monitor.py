"""Thresholds and the report over literal samples: within, beyond, and not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from toolkit.checks.absent import Absent
from toolkit.checks.facts import Answer, Slot
from toolkit.monitor import report
from toolkit.monitor.figures import (
    Application,
    Connections,
    Database,
    Delivered,
    Growth,
    Index,
    LaggingSlot,
    Queue,
    Realtime,
    Reconnections,
    Sample,
    StepOutcome,
    StepTimes,
    TableSize,
    TaskTimes,
)
from toolkit.monitor.thresholds import Thresholds, judge, percentile
from toolkit.report import as_json
from toolkit.report.record import Report, Verdict

GONE = Absent("DATABASE_URL is not set", "Set it.")
DATABASE = Database(
    active={"in_progress": 2},
    recent_events=(("step_started", "3", "1", "2026-01-01 00:00:00"),),
    queue_health=(("pending", "5", "1", "1.0 s", "1.0 s"),),
    failed=(),
    tables=(TableSize("process_events", 2 * 1024**2, 100, 3, 100, 10, 50, 90, None),),
    indexes=(Index("process_events", "process_events_pkey", 90, 8192),),
    growth=Growth(60, 1024**2),
    queue=Queue(1, 1, 2.0),
    slots=(LaggingSlot(Slot("live", True, True, 100, "reserved"), 100),),
)
REALTIME = Realtime(
    connections=Connections(3, 3, (10.0, 20.0, 30.0)),
    delivered=Delivered(4, (5.0, 6.0, 7.0, 8.0)),
    reconnections=Reconnections(2, 120.0),
    health=Answer(200, "{}"),
    server={"realtime_connections": 1.0},
)
APPLICATION = Application(
    tasks=(TaskTimes("generation_start", 99, 1, 0.1, 0.2),),
    durations=(StepTimes("editing", 3, 0.1, 0.2),),
    steps=(StepOutcome("editing", 10, 6, 2, 2),),
)
GOOD = Sample(100.0, 3600.0, DATABASE, REALTIME, APPLICATION)


def of(sample: Sample, before: Sample | None = None, limits: Thresholds | None = None) -> Report:
    return report.of(sample, before, limits or Thresholds(), target="x", started_at=datetime.now(UTC))


def figures(found: Report) -> dict[str, float]:
    return {m.name: m.value for m in found.measurements}


BEYOND = {
    "pending-age": replace(GOOD, database=replace(DATABASE, queue=Queue(9, 0, 61.0))),
    "slot-retained": replace(
        GOOD,
        database=replace(DATABASE, slots=(LaggingSlot(Slot("left", False, False, 2 * 1024**3, "extended"), None),)),
    ),
    "dead-rows": replace(
        GOOD, database=replace(DATABASE, tables=(TableSize("process_events", 9, 10_000, 20_000, 9, 0, 0, 0, None),))
    ),
    "connections": replace(GOOD, realtime=replace(REALTIME, connections=Connections(3, 2, (1.0, 1.0), "refused"))),
    "delivery-p95": replace(GOOD, realtime=replace(REALTIME, delivered=Delivered(2, (5.0, 1001.0)))),
    "failed-rate": replace(GOOD, application=replace(APPLICATION, tasks=(TaskTimes("t", 9, 1, 0.1, 0.2),))),
}


def test_a_good_sample_is_within_and_every_limit_can_be_crossed() -> None:
    assert of(GOOD).verdict is Verdict.PASS
    assert {check.id for check in judge(GOOD, Thresholds())} == set(BEYOND)


@pytest.mark.parametrize("limit", BEYOND)
def test_beyond_a_limit_fails_with_a_remedy(limit: str) -> None:
    found = of(BEYOND[limit])
    failing = [check for check in found.checks if check.verdict is Verdict.FAIL]
    assert [check.id for check in failing] == [limit]
    assert failing[0].detail
    assert failing[0].remedy
    assert (found.exit_code, limit in found.title) == (1, True)


def test_a_limit_is_what_the_caller_says() -> None:
    assert of(GOOD, limits=Thresholds(failed_rate=0.001)).verdict is Verdict.FAIL
    assert of(BEYOND["pending-age"], limits=Thresholds(pending_age_s=100)).verdict is Verdict.PASS


def test_an_event_that_did_not_arrive_is_no_fast_event() -> None:
    found = of(replace(GOOD, realtime=replace(REALTIME, delivered=Delivered(2, (1.0,)))))
    assert next(c for c in found.checks if c.id == "delivery-p95").verdict is Verdict.FAIL


def test_what_cannot_be_had_is_unknown_and_never_a_figure() -> None:
    nothing = replace(
        GOOD,
        database=Database(*([GONE] * 9)),
        application=Application(GONE, GONE, GONE),
        realtime=Realtime(GONE, GONE, GONE, GONE, GONE),
    )
    found = of(nothing)
    assert (found.verdict, found.exit_code, found.measurements) == (Verdict.UNKNOWN, 3, ())
    (unknown,) = [table for table in found.tables if table.title == "Unknown"]
    assert {row[2] for row in unknown.rows} == {"DATABASE_URL is not set"}
    assert len(unknown.rows) == 9 + 5 + 3
    assert all(check.remedy == "Set it." for check in found.checks)
    assert "pending=?" in report.line(found)


def test_a_group_that_was_not_asked_for_is_not_missed() -> None:
    found = of(Sample(0, 60, None, None, APPLICATION))
    assert ([c.id for c in found.checks], found.verdict) == (["failed-rate"], Verdict.PASS)


def test_growth_is_measured_between_two_samples() -> None:
    assert "growth of process_events" not in figures(of(GOOD))
    assert isinstance(DATABASE.tables, tuple)
    later = replace(DATABASE.tables[0], bytes=3 * 1024**2, inserted=150)
    found = figures(of(replace(GOOD, at_s=110.0, database=replace(DATABASE, tables=(later,))), before=GOOD))
    assert (found["growth of process_events"], found["rows added to process_events"]) == (360.0, 5.0)


def test_the_figures_of_each_group() -> None:
    found = figures(of(GOOD))
    assert (found["tasks pending"], found["oldest due task"], found["event log growth"]) == (1, 2.0, 60)
    assert found["index scans of process_events"] == 0.9
    assert (found["delivery p50"], found["delivery p95"], found["connection success rate"]) == (6.0, 8.0, 1.0)
    assert found["reconnection frequency"] == 60.0
    assert (found["task failure rate"], found["generation_start p95"]) == (0.01, 0.2)
    # Ten began, two are still at it: six of eight completed, two of eight failed.
    assert (found["completion rate of editing"], found["error rate of editing"]) == (0.75, 0.25)


def test_nothing_happened_is_not_a_rate_of_zero() -> None:
    quiet = of(replace(GOOD, application=Application((), (), ())))
    assert quiet.verdict is Verdict.PASS
    assert "task failure rate" not in figures(quiet)
    assert StepOutcome("s", 2, 0, 0, 2).completion_rate is None
    assert StepOutcome("s", 2, 0, 0, 2).error_rate is None


def test_frequencies_need_time() -> None:
    short = of(replace(GOOD, realtime=replace(REALTIME, reconnections=Reconnections(1, 2.0))))
    assert figures(short)["reconnections"] == 1
    assert "reconnection frequency" not in figures(short)


def test_the_plain_line_and_the_json() -> None:
    found = of(BEYOND["pending-age"])
    text = report.line(found)
    assert "\n" not in text
    assert " fail pending=9 " in text
    assert "pending-age: the oldest waits for 61.0 s" in text
    assert as_json.load(as_json.render(found)) == found


def test_percentiles_are_values_that_were_seen() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(range(1, 101), 0.95) == 95
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
