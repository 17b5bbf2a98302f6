"""The scenarios as the rehearsal runs them: each with a cut and a kill that are anchored where they can hit."""

from __future__ import annotations

import pytest

from tests.unit.rehearse.test_phases import stage as make_stage
from toolkit.contract.steps import Step
from toolkit.rehearse.stage import scenario_runs
from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.scenario_runs import harder, plain, run_all
from toolkit.report.record import Verdict
from toolkit.signoff.evidence import SCENARIOS

# The first prompt was answered by then, over HTTP, by somebody who saw it come through the socket.
LATER = [step.value for step in list(Step)[list(Step).index(Step.THEME_GENERATING) :]]
# Said by a worker in the middle of a step that takes long, and after the first prompt.
WORDS_OF_A_WORKER = {"research_started", "section_writing_started"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_under_faults_each_has_a_cut_and_a_kill_while_somebody_watches_and_works(name):
    scenario = harder(name)
    faults = {fault.op: fault for fault in scenario.faults}
    assert {"cut", "kill"} <= faults.keys()
    for fault in scenario.faults:
        # A number of events is reached before a socket is live; a worker's word and a rescue are not.
        expected = LATER if fault.op == "cut" else {*LATER, *WORDS_OF_A_WORKER, "task_rescued"}
        assert (fault.after.kind, fault.after.what in expected) in {("enters", True), ("event", True)}, fault
    assert faults["kill"].after.what in WORDS_OF_A_WORKER, "a step is entered before a worker has taken it up"
    assert f"{faults['kill'].after.who}.rescues > 0" in scenario.sometimes, "a worker that was idle proves nothing"
    watched = faults["cut"].after.who
    assert {f"{name}.missed_live > 0" for name in (watched, watched.partition("[")[0])} & set(scenario.sometimes)
    assert scenario.environment == harder(SCENARIOS[0]).environment, "they share their servers"
    assert plain(name).steps == scenario.steps or name not in {"complete-generation-flow", "error-handling"}


async def test_what_was_judged_before_a_run_broke_off_is_kept(monkeypatch, tmp_path):
    class Result:
        verdict = Verdict.PASS

        def __init__(self, folder):
            self.folder, self.report = folder, type("R", (), {"checks": ()})

    async def run(stage, scenario):
        if scenario.scenario == "error-handling":
            raise OSError("the machine is gone")
        return Result(stage.options.run_dir)

    monkeypatch.setattr(scenario_runs, "_run", run)
    found = Findings("g", "scenario")
    with pytest.raises(OSError, match="gone"):
        await run_all(make_stage(tmp_path), found, "scenario", (4, 1, 3), under_faults=False)
    assert [check.id for check in found.checks] == ["scenario.1", "scenario.4"]
