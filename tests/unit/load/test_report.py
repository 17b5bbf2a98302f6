"""What workers found becomes one verdict; nothing that was not seen is a pass."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from toolkit.load.figures import Thresholds
from toolkit.load.outcome import Outcome, from_plain, together
from toolkit.load.report import Planned, report
from toolkit.report import as_json
from toolkit.report.record import Check, Verdict

BEGAN = datetime(2025, 7, 27, tzinfo=UTC)
FIGURES = ("start", "first event", "answer", "reaction", "event delivery", "generation")


def outcome(worker="0", users=10, ms=10.0, **changes):
    good = Outcome(
        worker=worker,
        users=users,
        finished_users=users,
        started=users,
        completed=users,
        samples={name: [ms] * users for name in FIGURES},
        moments={name: [BEGAN.timestamp() + n for n in range(users)] for name in FIGURES},
        counts={"lost": 0, "delivered": 100},
        checks=(Check("load.no-loss", "Every event arrived", Verdict.PASS, "100 events", "", "realtime"),),
        histories=(f"history-{worker}.jsonl",),
    )
    return replace(good, **changes)


def planned(transport="realtime", users=10, workers=1):
    return Planned(transport, users, 1, workers, "embedded")


def judged(*outcomes, workers=1, **limits):
    users = sum(o.users for o in outcomes) or 10
    return report(planned(users=users, workers=workers), outcomes, Thresholds(**limits), began=BEGAN)


def test_what_users_waited_for_is_shown_over_time():
    (alone,) = judged(outcome(ms=10.0)).timelines
    assert {curve.name for curve in alone.curves} == {"first event, p95", "reaction, p95", "event delivery, p95"}
    assert alone.curves[0].points == tuple(
        (n + 0.25, 10.0) for n in range(10)
    )  # one sample a second, stretches of 0.5 s


def verdicts(found):
    return {check.id: check.verdict for check in found.checks}


def test_a_good_run_passes_and_is_read_back():
    found = judged(outcome())
    assert found.verdict is Verdict.PASS, [c for c in found.checks if c.verdict is not Verdict.PASS]
    assert as_json.load(as_json.render(found)) == found


@pytest.mark.parametrize(
    ("changes", "id", "verdict"),
    [
        ({"completed": 0, "started": 0, "users": 10, "finished_users": 0}, "load.completed", Verdict.UNKNOWN),
        ({"completed": 0, "failed": 10}, "load.completed", Verdict.FAIL),
        ({"completed": 9, "failed": 1}, "load.failures", Verdict.FAIL),
        ({"finished_users": 9}, "load.users", Verdict.UNKNOWN),
        ({"environment": "the API does not answer"}, "load.target", Verdict.UNKNOWN),
        ({"samples": {}, "moments": {}}, "load.p95-start", Verdict.UNKNOWN),
    ],
)
def test_what_is_wrong_or_missing_is_no_pass(changes, id, verdict):
    found = judged(outcome(**changes))
    assert verdicts(found)[id] is verdict
    assert found.verdict is not Verdict.PASS


def test_no_worker_reported():
    found = report(planned(workers=2), [], Thresholds(), began=BEGAN)
    assert found.verdict is Verdict.UNKNOWN
    assert Verdict.PASS not in {verdicts(found)[id] for id in ("load.workers", "load.users", "load.completed")}


def test_one_of_two_workers_vanished():
    found = report(planned(users=20, workers=2), [outcome()], Thresholds(), began=BEGAN)
    assert verdicts(found)["load.workers"] is Verdict.UNKNOWN
    assert verdicts(found)["load.users"] is Verdict.UNKNOWN


def test_allowed_failures_pass_if_something_completed():
    assert judged(outcome(completed=9, failed=1), max_failures=1).verdict is Verdict.PASS
    assert judged(outcome(completed=0, failed=10), max_failures=10).verdict is Verdict.FAIL


def test_two_workers_are_one_run_and_one_broken_rule_breaks_it():
    broken = Check(
        "load.no-loss", "Every event reached the application", Verdict.FAIL, "event 7", "look", "realtime", ("#7",)
    )
    whole = together([outcome("0"), outcome("1", users=5, checks=(broken,))])
    assert (whole.users, whole.completed, whole.counts["delivered"]) == (15, 15, 200)
    assert len(whole.samples["start"]) == 15
    (check,) = whole.checks
    assert check.verdict is Verdict.FAIL
    assert check.witness == ("#7",)
    assert "worker 1: event 7" in check.detail


def test_an_outcome_survives_the_way_to_the_master():
    sent = outcome(notes=("n",))
    assert from_plain(sent.plain()) == sent
