"""Phase 3, the hard half: the same scenarios while the network is cut and the worker is killed."""

from __future__ import annotations

from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.scenario_runs import run_all
from toolkit.rehearse.stage.stage import Stage


async def run(stage: Stage, found: Findings) -> None:
    """Leaves API and worker as they were."""
    # Recovery and isolation are what faults can break; the other two add little that is new in little time.
    await run_all(stage, found, "faults", (2, 4) if stage.options.size.quick else (1, 2, 4, 3), under_faults=True)
