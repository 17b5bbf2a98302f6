"""Every scenario that ships passes on the embedded system, on each transport it is written for."""

import pytest

from toolkit.report.record import Verdict
from toolkit.scenarios import verdicts
from toolkit.scenarios.model.reading import load, shipped
from toolkit.scenarios.recorded.history import load as load_history
from toolkit.scenarios.run import run_scenario

RUNS = [(name, transport) for name, path in shipped().items() for transport in load(path).transports]

pytestmark = pytest.mark.xdist_group("scenarios")


@pytest.mark.parametrize(("name", "transport"), RUNS)
async def test_scenario(system, tmp_path, name, transport):
    scenario = load(shipped()[name])
    await system.configure("both" if transport == "websocket" else "realtime", scenario.environment)
    said = []
    result = await run_scenario(
        scenario, system.target, runs_dir=tmp_path, transport=transport, control=system, say=said.append
    )
    bad = [f"{c.id}: {c.detail} {c.witness}" for c in result.report.checks if c.verdict is not Verdict.PASS]
    assert not bad, "\n".join([*bad, *said])
    assert result.verdict is Verdict.PASS

    # What was stored is enough to judge again, and to the same end.
    records = load_history(result.folder / "history.jsonl")
    again = verdicts.report(load(result.folder / "scenario.yaml"), records, target=result.report.target)
    assert [(c.id, c.verdict) for c in again.checks] == [(c.id, c.verdict) for c in result.report.checks]

    stored = "".join(path.read_text() for path in result.folder.iterdir())
    for secret in (system.target.jwt_secret, system.target.anon_key, system.target.service_role_key):
        assert secret not in stored
    assert "eyJ" not in stored
