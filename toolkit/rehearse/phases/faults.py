"""Phase 3, second half: the same scenarios while the network is cut and the worker is killed."""

from __future__ import annotations

from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.scenario_runs import run_all
from toolkit.rehearse.stage.stage import Stage


async def run(stage: Stage, found: Findings) -> None:
    """Run the scenarios with faults; API and worker run afterwards as before."""
    # Faults can break recovery and isolation; the other two scenarios would take longer and show little more.
    await run_all(stage, found, "faults", (2, 4) if stage.options.size.quick else (1, 2, 4, 3), under_faults=True)
