"""Every scenario that ships passes on the embedded system, on each transport it is written for: run by the plugin that
teams use (`pytest --toolkit-scenarios`, as `make test` does), which this file asks for what it collects and leaves."""

from __future__ import annotations

import pytest

from tests.support.stored_runs import problems_of
from toolkit.report.record import Verdict
from toolkit.scenarios.model.reading import load, shipped
from toolkit.scenarios.recorded.history import dump
from toolkit.scenarios.recorded.history import load as load_history
from toolkit.scenarios.run import run_scenario

RUNS = {(name, transport) for name, path in shipped().items() for transport in load(path).transports}

pytestmark = pytest.mark.xdist_group("scenarios")


def test_the_plugin_runs_each_on_every_transport_it_is_written_for(request: pytest.FixtureRequest) -> None:
    collected = {
        (item.scenario.scenario, item.transport) for item in request.session.items if hasattr(item, "scenario")
    }
    if not request.config.getoption("toolkit_scenarios"):
        pytest.skip("run with --toolkit-scenarios, as `make test` does, for every scenario that ships")
    assert collected == RUNS


async def test_a_stored_run_that_was_tampered_with_is_seen(system, tmp_path) -> None:
    """What tests/conftest.py asks of every run that the plugin leaves, asked of one that was planted."""
    await system.configure("realtime", {})
    result = await run_scenario(load(shipped()["complete-generation-flow"]), system.target, runs_dir=tmp_path)
    assert result.verdict is Verdict.PASS
    assert problems_of(result.folder, system.target) == []
    path = result.folder / "history.jsonl"
    kept = [record for record in load_history(path) if not (record.kind == "deliver" and record.seq == 3)]
    path.write_bytes(dump(kept))
    assert [problem for problem in problems_of(result.folder, system.target) if "no-loss" in problem]
    (result.folder / "leak.txt").write_text(f"key {system.target.anon_key}")
    assert "a secret of the target is stored" in problems_of(result.folder, system.target)
