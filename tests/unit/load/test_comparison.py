"""The comparison of two systems over rounds: what is slower is found, what is equal is not accused."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from toolkit.load.compare import COMPARISON, compare, report_of
from toolkit.load.comparison import Outcome, compare_rounds, compare_samples, mean_interval
from toolkit.load.figures import FIGURES
from toolkit.load.instrument import Reading, figures_of, judge_instrument
from toolkit.load.rounds import RoundsPlan, Side, sides_of
from toolkit.report.record import Check, Report, Verdict
from toolkit.targets.target import Target

NOTHING = Reading(busy=0.1, cpu_s=1.0, lag_p95=1.0, control_p50=0.2, control_p95=1.0)


def rounds(median: float, *, number: int = 5, size: int = 200, noise: float = 0.02, seed: int = 0) -> list[list[float]]:
    """Samples of each round around `median` ms; `noise`: how far rounds differ among each other."""
    rng = random.Random(seed)
    return [
        [median * level * rng.lognormvariate(0, 0.15) for _ in range(size)]
        for level in (rng.lognormvariate(0, noise) for _ in range(number))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_slow_down_of_20_percent_is_worse_and_none_is_equal(seed):
    before = rounds(500, seed=seed)
    slower = rounds(600, seed=100 + seed)
    same = rounds(500, seed=200 + seed)
    assert compare_samples(before, slower)[0].outcome is Outcome.WORSE
    assert compare_samples(before, same)[0].outcome is Outcome.EQUAL
    assert compare_samples(slower, before)[0].outcome is Outcome.BETTER


def test_the_rule_stands_beside_the_verdict_with_its_interval():
    (p50, p95) = compare_samples(rounds(500, noise=0.01), rounds(500, noise=0.01, seed=3))
    assert str(p50).startswith("p50: equal: within 10%, interval ")
    assert p50.ratio is not None
    assert p50.ratio.low < p50.ratio.estimate < p50.ratio.high
    assert p95.what == "p95"


def test_few_or_noisy_rounds_decide_nothing():
    few = compare_rounds("p50", [100, 101, 99, 100], [130, 131, 129, 130])
    assert (few.outcome, few.outcome.verdict) == (Outcome.UNDECIDED, Verdict.UNKNOWN)
    assert "only 4 rounds" in few.rule
    noisy = compare_rounds("p50", [500, 900, 450, 700, 600], [700, 500, 800, 620, 560])
    assert noisy.outcome is Outcome.UNDECIDED
    assert "more rounds" in noisy.rule
    assert compare_rounds("p50", [], []).outcome is Outcome.UNDECIDED


def test_one_round_out_of_five_that_was_disturbed_is_no_proof_of_a_slow_down():
    assert compare_rounds("p50", [500] * 5, [500, 505, 495, 2000, 500]).outcome is Outcome.UNDECIDED


def test_a_p95_needs_twenty_samples_in_every_round():
    assert [one.what for one in compare_samples(rounds(10, size=19), rounds(10, size=40))] == ["p50"]


def test_what_nobody_perceives_is_equal_to_a_person_and_the_ratio_is_shown_all_the_same():
    felt = compare_rounds("p50", [12, 13, 12, 11, 12], [36, 37, 35, 36, 38], perceived=True)
    assert felt.outcome is Outcome.EQUAL
    assert "perceived as immediate" in felt.rule
    assert "by ratio worse" in felt.rule
    assert felt.ratio is not None
    assert felt.ratio.estimate == pytest.approx(3.03, abs=0.05)
    # The same ratio where nobody claims that people perceive it, and where they do.
    assert compare_rounds("p50", [12, 13, 12, 11, 12], [36, 37, 35, 36, 38]).outcome is Outcome.WORSE
    assert compare_rounds("p50", [95, 96, 94], [98, 99, 97], perceived=True).outcome is Outcome.UNDECIDED
    above = compare_rounds("p50", [40, 41, 42, 40, 41], [101, 99, 104, 102, 100], perceived=True)
    assert above.outcome is Outcome.WORSE, "the floor is for what lies below it with its whole interval"


def test_the_interval_of_few_rounds_is_wide():
    """Of twenty experiments with five equal rounds each, about one may miss the truth."""
    missed = 0
    for seed in range(60):
        rng = random.Random(seed)
        found = mean_interval([rng.lognormvariate(0, 0.1) for _ in range(5)])
        missed += not found.low <= 1 <= found.high
    assert missed <= 60 * 0.12


# -- the whole comparison ---------------------------------------------------------------------


def side(name: str, ms: dict[str, float], *, reading: Reading = NOTHING, checks: tuple[Check, ...] = ()) -> Side:
    made = Side(name, cast(Any, name), cast(Any, None))
    by_figure = {figure: rounds(value, noise=0.01, seed=len(figure + name)) for figure, value in ms.items()}
    made.samples = [{figure: values[turn] for figure, values in by_figure.items()} for turn in range(5)]
    made.costs = [{"CPU of the servers": 0.05 if name == "websocket" else 0.15}] * 5
    made.readings = [reading]
    made.report = report(name, (*checks, judge_instrument(made.readings, name, "use fewer users (--users 5)")))
    return made


def report(group: str, checks: tuple[Check, ...]) -> Report:
    now = datetime.now(UTC)
    return Report("load", group, Verdict.PASS, now, now, "t", "1", checks=checks)


SLOW = dict.fromkeys(FIGURES, 500.0)


def verdicts(old: Side, new: Side) -> dict[str, Verdict]:
    return {check.id: check.verdict for check in compare((old, new)).checks}


def test_a_system_as_good_as_the_old_passes_and_its_costs_are_told():
    found = compare((side("websocket", SLOW), side("realtime", SLOW)))
    assert {check.verdict for check in found.checks} == {Verdict.PASS}
    assert found.whole.id == COMPARISON
    assert "judged: first event, reaction, back again, generation" in found.whole.title
    assert "told, not judged: CPU of the servers 3.00×" in found.whole.detail
    (cost,) = (row for row in found.table.rows if row[0].startswith("CPU of the servers"))
    assert cost[-1].startswith("told, not judged; worse")


def test_one_figure_that_is_20_percent_slower_fails_the_whole():
    found = verdicts(side("websocket", SLOW), side("realtime", SLOW | {"generation": 600.0}))
    assert found["load.compare.generation"] is found[COMPARISON] is Verdict.FAIL
    assert found["load.compare.first-event"] is Verdict.PASS


def test_what_was_not_measured_is_unknown():
    some = {figure: ms for figure, ms in SLOW.items() if figure != "reaction"}
    found = verdicts(side("websocket", SLOW), side("realtime", some))
    assert found["load.compare.reaction"] is found[COMPARISON] is Verdict.UNKNOWN


@pytest.mark.parametrize("new", [500.0, 900.0])
def test_a_busy_generator_makes_every_figure_unknown_never_a_pass_or_a_failure(new):
    busy = Reading(busy=0.93, cpu_s=9.3, lag_p95=80.0, control_p50=1.0, control_p95=9.0)
    old, fresh = side("websocket", SLOW), side("realtime", dict.fromkeys(SLOW, new), reading=busy)
    found = compare((old, fresh))
    assert {check.verdict for check in found.checks} == {Verdict.UNKNOWN}
    assert "the generator was busy 93%: use fewer users (--users 5)" in found.checks[1].detail
    told = {figure.name for figure in figures_of(fresh.readings, "realtime")}
    assert told >= {"generator busy", "control answer p95"}
    assert report_of((old, fresh), found, ()).verdict is Verdict.UNKNOWN


def test_a_side_that_lost_events_is_no_basis_for_a_pass():
    lost = Check("load.no-loss", "Every event arrived", Verdict.FAIL, "event 7")
    found = compare((side("websocket", SLOW), side("realtime", SLOW, checks=(lost,))))
    assert found.whole.verdict is Verdict.FAIL
    assert "realtime: Every event arrived" in found.whole.detail


def test_a_system_compared_with_itself_has_two_names():
    plan = RoundsPlan(transports=("websocket", "websocket"))
    old, new = sides_of(plan, Target(kind="external"), Path())
    assert old.name != new.name
    assert old.loop.path != new.loop.path
