"""The guide's scenarios, run on the rehearsal's own API and worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolkit.rehearse.model import Findings
from toolkit.rehearse.stage import LEASE_S, Stage
from toolkit.report.model import Band, Check, Link, Verdict
from toolkit.scenarios.faults.control import EmbeddedSystem
from toolkit.scenarios.model import Fault, Scenario
from toolkit.scenarios.reading import find, load
from toolkit.scenarios.run import ScenarioResult, run_scenario
from toolkit.targets.target import Target

UNDER_FAULTS = "-under-faults"
ENVIRONMENT = {"WRITER_STEP_LATENCY_MS": "100", "TASK_LEASE_SECONDS": LEASE_S, "TASK_POLL_SECONDS": "0.5"}
# Faults for the scenarios that have no harder variant of their own: the network cut, and the worker killed.
ADDED: dict[str, list[dict[str, Any]]] = {
    "complete-generation-flow": [
        {"after": "article event 6", "cut": "websocket", "lasting": "2s"},
        {"after": "article enters researching", "kill": "worker", "lasting": "1s"},
    ],
    "error-handling": [
        {"after": "paused event 4", "cut": "websocket", "lasting": "2s"},
        {"after": "paused enters researching", "kill": "worker", "lasting": "1s"},
    ],
}


class RehearsalSystem(EmbeddedSystem):
    """The servers `api` and `worker`; the target's first server is the legacy one, which is no longer there."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.embedded)
        self._stage = stage

    @property
    def target(self) -> Target:
        return self._stage.target(self.embedded.servers["api"])


def system_of(stage: Stage) -> EmbeddedSystem:
    """The one system of a rehearsal; it remembers how its servers are configured."""
    if stage.system is None:
        stage.system = RehearsalSystem(stage)
    return stage.system


async def run_all(stage: Stage, found: Findings, prefix: str, names: Sequence[str], *, under_faults: bool) -> None:
    """Run the scenarios in their order; each is one check, `<prefix>.1` and so on, with its history."""
    for number, name in enumerate(names, 1):
        scenario = harder(name) if under_faults else load(find(name))
        stage.say(f"scenario {number} of {len(names)}: {scenario.title}")
        began = stage.clock.now()
        result = await _run(stage, scenario)
        tone = "good" if result.verdict is Verdict.PASS else "bad"
        stage.diary.bands.append(Band(began, stage.clock.now(), f"{prefix} {number}", tone))
        href = f"scenarios/{result.folder.name}"
        found.checks.append(_check(f"{prefix}.{number}", scenario, result, href, found.group))
        found.links.append(Link(f"{scenario.scenario}: history", f"{href}/history.jsonl", found.group))
        found.links.append(Link(f"{scenario.scenario}: page", f"{href}/report.html", found.group))
        found.measure("duration", stage.clock.now() - began, "s", group=f"{prefix}.{number}")


def harder(name: str) -> Scenario:
    """The scenario with faults: its harder variant where there is one, or itself with the network cut and the
    worker killed. Raises UsageError when there is no such scenario."""
    if name not in ADDED:
        return load(find(name + UNDER_FAULTS))
    scenario = load(find(name))
    # Delivery while the network is cut is late by definition; what is promised then is recovery.
    return scenario.model_copy(
        update={
            "scenario": scenario.scenario + UNDER_FAULTS,
            "title": f"{scenario.title}, with the network cut and the worker killed",
            "faults": [Fault.model_validate(fault) for fault in ADDED[name]],
            "environment": {**scenario.environment, **ENVIRONMENT},
            "limits": {"recovery": 20.0},
        }
    )


async def _run(stage: Stage, scenario: Scenario) -> ScenarioResult:
    system = system_of(stage)
    await system.configure("realtime", scenario.environment)
    stage.api = stage.embedded.servers["api"]
    return await run_scenario(
        scenario, system.target, runs_dir=stage.options.run_dir / "scenarios", control=system, say=stage.say
    )


def _check(id: str, scenario: Scenario, result: ScenarioResult, href: str, group: str) -> Check:
    checks = result.report.checks
    bad = [check for check in checks if check.verdict is not Verdict.PASS]
    witness = [line for check in bad for line in (f"{check.title}: {check.detail}", *check.witness)]
    return Check(
        id, scenario.title, result.verdict,
        f"{scenario.scenario}: {len(checks) - len(bad)} of {len(checks)} checks passed; {href}/history.jsonl",
        bad[0].remedy if bad else "", group, tuple(witness[:12]),
    )  # fmt: skip
