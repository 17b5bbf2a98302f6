"""Each of the ten criteria: good evidence, bad evidence, no evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from toolkit.report.record import Verdict
from toolkit.signoff.criteria import CRITERIA, LEAST_OPERATIONS, judge_all
from toolkit.signoff.evidence import Evidence, Item

# What every criterion needs, said once more and by hand: a need that is dropped by mistake fails here.
NEEDS = {
    "criterion-1": ("migrate.apply", "migrate.verify", "again.apply", "again.verify"),
    "criterion-2": ("realtime.endpoints",),
    "criterion-3": ("realtime.events", "scenario.1", "scenario.4"),
    "criterion-4": ("realtime.tasks",),
    "criterion-5": ("scenario.1", "scenario.3", "scenario.4"),
    "criterion-6": ("scenario.2", "faults.2", "faults.4"),
    "criterion-7": ("load.comparison",),
    "criterion-8": (
        "migrate.rows",
        "migrate.writes",
        "migrate.inflight",
        "rollback.catalog",
        "rollback.rows",
        "rollback.later-rows",
    ),
    "criterion-9": (),
    "criterion-10": ("scenario.1", "load.compare.first-event", "load.compare.reaction"),
}
FIGURES = {
    "migrate: operations": 5000.0,
    "migrate: failed operations": 0.0,
    "realtime: operations": 300.0,
    "realtime: failed operations": 0.0,
    "realtime: prompts put": 12.0,
    "realtime: prompts answered": 12.0,
    "migrate: worst request": 300.0,
}
BAD_FIGURES = {
    "migrate: failed operations": 6.0,
    "realtime: failed operations": 6.0,
    "realtime: prompts answered": 11.0,
    "migrate: worst request": 2500.0,
}


def good() -> Evidence:
    items = {name: Item(Verdict.PASS, f"{name} was good", "r.json") for needs in NEEDS.values() for name in needs}
    return Evidence(items, FIGURES)


def verdict(evidence: Evidence, criterion: str) -> Verdict:
    return next(check for check in judge_all(evidence) if check.id == criterion).verdict


def with_item(name: str, state: Verdict | None) -> Evidence:
    items = dict(good().items)
    if state is None:
        del items[name]
    else:
        items[name] = Item(state, "what was seen", "r.json")
    return replace(good(), items=items)


def test_there_are_ten_in_the_guides_order_and_words():
    assert [criterion.id for criterion in CRITERIA] == [f"criterion-{n}" for n in range(1, 11)]
    assert [criterion.title for criterion in CRITERIA] == [
        "All database migrations applied successfully",
        "New HTTP endpoints are functional",
        "Realtime events are received correctly",
        "Background tasks execute without errors",
        "End-to-end article generation works",
        "Process recovery functions correctly",
        "Performance meets or exceeds WebSocket version",
        "No data loss during transition",
        "Error rates remain within acceptable limits",
        "User experience is maintained or improved",
    ]


@pytest.mark.parametrize("criterion", NEEDS)
def test_good_evidence_passes(criterion):
    assert verdict(good(), criterion) is Verdict.PASS


@pytest.mark.parametrize("criterion", NEEDS)
def test_no_evidence_at_all_is_unknown(criterion):
    assert verdict(Evidence(), criterion) is Verdict.UNKNOWN


@pytest.mark.parametrize(("criterion", "need"), [(c, need) for c, needs in NEEDS.items() for need in needs])
def test_every_need_counts(criterion, need):
    assert verdict(with_item(need, Verdict.FAIL), criterion) is Verdict.FAIL
    assert verdict(with_item(need, Verdict.UNKNOWN), criterion) is Verdict.UNKNOWN
    assert verdict(with_item(need, None), criterion) is Verdict.UNKNOWN
    check = next(check for check in judge_all(with_item(need, None)) if check.id == criterion)
    assert need in check.detail
    assert check.remedy


@pytest.mark.parametrize("figure", FIGURES)
def test_a_missing_figure_is_unknown(figure):
    figures = {name: value for name, value in FIGURES.items() if name != figure}
    concerned = "criterion-9" if "operations" in figure else "criterion-10"
    assert verdict(replace(good(), figures=figures), concerned) is Verdict.UNKNOWN


@pytest.mark.parametrize("figure", BAD_FIGURES)
def test_a_bad_figure_fails(figure):
    concerned = "criterion-9" if "operations" in figure else "criterion-10"
    bad = replace(good(), figures=FIGURES | {figure: BAD_FIGURES[figure]})
    assert verdict(bad, concerned) is Verdict.FAIL


def test_a_handful_of_operations_proves_no_error_rate():
    few = replace(
        good(), figures=FIGURES | {"migrate: operations": LEAST_OPERATIONS - 1.0, "realtime: operations": 0.0}
    )
    assert verdict(few, "criterion-9") is Verdict.UNKNOWN


def test_nobody_was_asked_anything():
    none = FIGURES | {"realtime: prompts put": 0.0, "realtime: prompts answered": 0.0}
    assert verdict(replace(good(), figures=none), "criterion-10") is Verdict.UNKNOWN


def test_a_further_run_under_faults_may_be_left_out_but_not_fail():
    assert verdict(with_item("faults.1", Verdict.PASS), "criterion-6") is Verdict.PASS
    assert verdict(with_item("faults.1", Verdict.FAIL), "criterion-6") is Verdict.FAIL
    assert verdict(with_item("faults.3", Verdict.UNKNOWN), "criterion-6") is Verdict.UNKNOWN
