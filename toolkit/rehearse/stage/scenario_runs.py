"""The guide's scenarios, run on the rehearsal's own API and worker."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.stage import LEASE_S, Stage
from toolkit.report.record import Band, Check, Evidence, Link, Tone, Verdict, shortened
from toolkit.scenarios.faults.control import EmbeddedSystem
from toolkit.scenarios.model.reading import find, load
from toolkit.scenarios.model.scenario_file import Fault, Scenario
from toolkit.scenarios.run import ScenarioResult, run_scenario
from toolkit.signoff.evidence import SCENARIOS
from toolkit.targets.target import Target

UNDER_FAULTS = "-under-faults"
FAILS_ON_PURPOSE = frozenset({"error-handling"})
# All runs under faults share one environment, so that the servers need not be restarted in between.
ENVIRONMENT = {
    "WRITER_STEP_LATENCY_MS": "120",
    "TASK_LEASE_SECONDS": LEASE_S,
    "TASK_POLL_SECONDS": "0.5",
    "WORKER_CONCURRENCY": "8",
    "RETRY_BASE_SECONDS": "0",
}
# Faults for the scenarios that have no harder variant of their own: the network is cut, and the worker is killed. The
# cut waits for an event that only a process with a live socket reaches: its first prompt was answered. The kill waits
# for the event that a worker began a long step, after the pause of error-handling: the answer itself enters the step
# before any worker has claimed it, and then there would be nothing to rescue.
ADDED: dict[str, list[dict[str, Any]]] = {
    "complete-generation-flow": [
        {"after": "article enters theme_generating", "cut": "websocket", "lasting": "2s"},
        {"after": "article event research_started", "kill": "worker", "lasting": "1s"},
    ],
    "error-handling": [
        {"after": "paused enters theme_generating", "cut": "websocket", "lasting": "2s"},
        {"after": "paused event section_writing_started", "kill": "worker", "lasting": "1s"},
    ],
}
# Both faults must have had an effect: events that the socket did not carry, a task that its worker left behind.
PROVED: dict[str, list[str]] = {
    "complete-generation-flow": ["article.missed_live > 0", "article.rescues > 0"],
    "error-handling": ["paused.missed_live > 0", "paused.rescues > 0"],
}


class RehearsalSystem(EmbeddedSystem):
    """The servers `api` and `worker` as a system for scenarios; the target's first server is the legacy one, now
    stopped."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.embedded)
        self._stage = stage

    @property
    def target(self) -> Target:
        return self._stage.target(self.embedded.servers["api"])


def system_of(stage: Stage) -> EmbeddedSystem:
    """The system of this rehearsal, always the same object, since it remembers how its servers are configured."""
    if stage.system is None:
        stage.system = RehearsalSystem(stage)
    return stage.system


async def run_all(stage: Stage, found: Findings, prefix: str, numbers: Sequence[int], *, under_faults: bool) -> None:
    """Run the scenarios with these numbers in this order; each becomes one check, `<prefix>.<number>`, with its
    history."""
    first = len(found.checks)
    for number in numbers:
        name = SCENARIOS[number - 1]
        scenario = harder(name) if under_faults else plain(name)
        stage.say(f"scenario {number}: {scenario.title}")
        began = stage.clock.now()
        results = [await _run(stage, scenario)]
        if results[0].verdict is Verdict.UNKNOWN:
            # A second run is for a fault that hit nothing, which proves nothing. A failure is never repeated.
            stage.say("it did not exercise what it is meant to prove; once more")
            results.append(await _run(stage, scenario))
        if name in FAILS_ON_PURPOSE:
            stage.failing_on_purpose |= {process.id for result in results for process in result.facts.processes}
        tone: Tone = "good" if results[-1].verdict is Verdict.PASS else "bad"
        stage.diary.bands.append(Band(began, stage.clock.now(), f"{prefix} {number}", tone))
        found.checks.append(_check(f"{prefix}.{number}", scenario, results, found.group))
        found.checks[first:] = sorted(found.checks[first:], key=lambda check: check.id)  # the guide's order
        for result in results:
            href = _href(result)
            found.links.append(Link(f"{scenario.scenario}: history", f"{href}/history.jsonl", found.group))
            found.links.append(Link(f"{scenario.scenario}: page", f"{href}/report.html", found.group))
        found.measure("duration", stage.clock.now() - began, "s", group=f"{prefix}.{number}")


def read_all() -> None:
    """Read every scenario, so that a wrong file is reported before anything is started. Raises UsageError."""
    for name in SCENARIOS:
        plain(name)
        harder(name)


@cache
def plain(name: str) -> Scenario:
    """The scenario as it is shipped."""
    return load(find(name))


@cache
def harder(name: str) -> Scenario:
    """The scenario with faults: its harder variant where there is one, or itself with the network cut and the
    worker killed. Raises UsageError when there is no such scenario."""
    if name not in ADDED:
        return load(find(name + UNDER_FAULTS)).model_copy(update={"environment": ENVIRONMENT})
    scenario = plain(name)
    # Delivery while the network is cut is late by definition; recovery alone is judged then.
    return scenario.model_copy(
        update={
            "scenario": scenario.scenario + UNDER_FAULTS,
            "title": f"{scenario.title}, with the network cut and the worker killed",
            "faults": [Fault.model_validate(fault) for fault in ADDED[name]],
            "environment": ENVIRONMENT,
            "sometimes": [*scenario.sometimes, *PROVED[name]],
            "limits": {"recovery": 20.0},
        }
    )


async def _run(stage: Stage, scenario: Scenario) -> ScenarioResult:
    system = system_of(stage)
    await system.configure("realtime", scenario.environment)
    return await run_scenario(
        scenario, system.target, runs_dir=stage.options.run_dir / "scenarios", control=system, say=stage.say
    )


def _href(result: ScenarioResult) -> str:
    return f"scenarios/{result.folder.name}"


def _check(id: str, scenario: Scenario, results: Sequence[ScenarioResult], group: str) -> Check:
    result = results[-1]
    checks = result.report.checks
    bad = [check for check in checks if check.verdict is not Verdict.PASS]
    witness = [line for check in bad for line in (f"{check.title}: {check.detail}", *check.witness)]
    again = f" in run {len(results)} (the first was undecided)" if len(results) > 1 else ""
    return Check(
        id,
        scenario.title,
        result.verdict,
        f"{scenario.scenario}: {len(checks) - len(bad)} of {len(checks)} checks passed{again}",
        bad[0].remedy if bad else "",
        group,
        shortened(witness, 12),
        (Evidence("history", (f"{_href(result)}/history.jsonl",)),),
    )
