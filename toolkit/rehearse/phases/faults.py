"""Phase 3, the hard half: the same scenarios while the network is cut and the worker is killed."""

from __future__ import annotations

from toolkit.rehearse.model import Findings
from toolkit.rehearse.scenario_runs import run_all
from toolkit.rehearse.stage import Stage
from toolkit.signoff.evidence import SCENARIOS


async def run(stage: Stage, found: Findings) -> None:
    """Leaves API and worker as they were."""
    await run_all(stage, found, "faults", SCENARIOS, under_faults=True)
