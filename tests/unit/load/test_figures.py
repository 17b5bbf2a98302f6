"""Samples, percentiles and limits."""

import pytest

from toolkit.load.figures import DELIVERY, FIRST_EVENT, START, Samples, Thresholds, judge_figures, p
from toolkit.report.record import Verdict

FAST = {name: [1.0] * 20 for name in ("start", "first event", "answer", "event delivery", "generation")}


def by_id(checks):
    return {check.id: check for check in checks}


def test_percentiles_are_nearest_rank_and_need_no_order():
    values = [float(n) for n in range(100, 0, -1)]
    assert (p(values, 0.5), p(values, 0.95), p(values, 0.99)) == (50.0, 95.0, 99.0)
    assert p([7.0], 0.95) == 7.0


def test_every_default_limit_is_judged_and_kept_by_fast_answers():
    checks = judge_figures(FAST, Thresholds(), "realtime")
    assert {check.verdict for check in checks} == {Verdict.PASS}
    assert set(by_id(checks)) == {
        "load.p95-start",
        "load.p95-first-event",
        "load.p95-answer",
        "load.p95-event-delivery",
    }


def test_a_limit_is_broken_by_the_p95_and_not_by_one_straggler():
    limits = Thresholds(p95_start=100)
    one = judge_figures({**FAST, START: [1.0] * 99 + [5000.0]}, limits, "realtime")
    many = judge_figures({**FAST, START: [1.0] * 90 + [5000.0] * 10}, limits, "realtime")
    assert by_id(one)["load.p95-start"].verdict is Verdict.PASS
    assert by_id(many)["load.p95-start"].verdict is Verdict.FAIL


def test_what_was_not_measured_is_unknown():
    checks = by_id(judge_figures({**FAST, FIRST_EVENT: []}, Thresholds(), "realtime"))
    assert checks["load.p95-first-event"].verdict is Verdict.UNKNOWN


def test_the_old_socket_is_not_asked_for_what_it_cannot_tell():
    checks = by_id(judge_figures({START: [1.0], FIRST_EVENT: [1.0]}, Thresholds(), "websocket"))
    assert set(checks) == {"load.p95-start", "load.p95-first-event"}


def test_no_limit_is_no_check():
    assert (
        judge_figures(
            {}, Thresholds(p95_start=None, p95_first_event=None, p95_answer=None, p95_delivery=None), "realtime"
        )
        == []
    )
    assert DELIVERY in Thresholds().limits()


def test_a_reservoir_keeps_an_even_sample():
    samples = Samples(keep=1000)
    for n in range(100_000):
        samples.add(float(n), at=1000.0 + n)
    assert samples.count == 100_000
    assert len(samples.kept) == 1000
    assert p(samples.kept, 0.5) == pytest.approx(50_000, rel=0.1)
    assert [at - value for value, at in zip(samples.kept, samples.moments, strict=True)] == [1000.0] * 1000
