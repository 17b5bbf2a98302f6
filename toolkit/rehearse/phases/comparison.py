"""Both transports side by side on the migrated system: who works on them, what they see, and which one is faster.

The short form of `toolkit load compare`. Its steps take a fraction of what a language model takes, so how long a whole
generation takes is told and not judged.
"""

from __future__ import annotations

from dataclasses import replace

from toolkit.load.compare import JUDGED, Comparison, compare
from toolkit.load.figures import GENERATION
from toolkit.load.rounds import RoundsPlan, Side, run_rounds
from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.stage import Stage
from toolkit.report.record import Report, Verdict, worst

ARRIVALS_S = 0.2
FOLDER = "comparison"
# Steps at least as long as these are the pace at which a whole generation can be judged.
REAL_PACE_MS = 500
# What a subscriber must have seen, by the judges of the load runs.
EVENTS = ("no-loss", "no-gap", "no-duplicate", "order", "database-equals-delivered", "isolation-users")


async def compare_transports(stage: Stage, found: Findings) -> None:
    """Run the rounds on a server that offers both transports, and record what they show of each and of both."""
    size = stage.options.size
    folder = stage.options.run_dir / FOLDER
    folder.mkdir(exist_ok=True)
    plan = RoundsPlan(
        users=size.realtime_runs,
        arrivals_s=ARRIVALS_S,
        think_s=size.step_latency_ms / 1000,
        seed=stage.options.seed,
    )
    stage.say(f"{plan.users} people on the old and on the new transport, in {plan.rounds} turns each")
    old, new = sides = await run_rounds(plan, stage.target(stage.api), folder)
    assert old.report is not None
    assert new.report is not None
    _side_by_side(found, old.report, new.report)
    _events(found, new.report)
    judged = JUDGED if size.step_latency_ms >= REAL_PACE_MS else tuple(name for name in JUDGED if name != GENERATION)
    comparison = compare(sides, judged)
    _record(found, comparison, sides)
    _operations(found, new.report)
    stage.distributions.extend(
        replace(picture, group=found.group, series=side.name)
        for side in sides
        if side.report is not None
        for picture in side.report.distributions
    )


def _side_by_side(found: Findings, old: Report, new: Report) -> None:
    """Everything but the times: what the judges of a load run say of each transport."""
    checks = [check for part in (old, new) for check in part.checks if check.id != "load.instrument"]
    bad = [check for check in checks if check.verdict is not Verdict.PASS]
    found.check(
        "side-by-side",
        "With `both`, articles are written over either transport, and each user sees theirs whole",
        worst(check.verdict for check in checks),
        f"{_value(old, 'generations completed'):.0f} over the WebSocket and "
        f"{_value(new, 'generations completed'):.0f} over Realtime; {len(checks) - len(bad)} of {len(checks)} checks "
        "of both passed",
        f"Read the histories in {FOLDER}/.",
        [f"{check.group}: {check.title}: {check.detail}" for check in bad],
    )


def _events(found: Findings, new: Report) -> None:
    checks = [check for check in new.checks if check.id in {f"load.{name}" for name in EVENTS}]
    stored, delivered = _value(new, "events in the database"), _value(new, "delivered")
    fetched = _value(new, "recovered by backfill")
    verdict = worst(check.verdict for check in checks)
    if verdict is Verdict.PASS and delivered - fetched < 1:
        verdict = Verdict.UNKNOWN
    found.check(
        "events",
        "Every event reaches its subscriber over Realtime, once and in order",
        verdict,
        f"{stored:.0f} events stored, {delivered - fetched:.0f} delivered live, {fetched:.0f} fetched when joining; "
        f"{_value(new, 'processes judged'):.0f} subscribers",
        "Compare process_events with the sequences of the witness.",
        [line for check in checks if check.verdict is not Verdict.PASS for line in (check.detail, *check.witness)],
    )
    found.measure("events stored", stored, "")
    found.measure("events delivered live", delivered - fetched, "")


def _record(found: Findings, comparison: Comparison, sides: tuple[Side, Side]) -> None:
    found.add(comparison.checks)
    found.tables.append(replace(comparison.table, group=found.group))
    found.measurements.extend(comparison.measurements)
    for side in sides:
        assert side.report is not None
        found.links.extend(replace(link, href=f"{FOLDER}/{link.href}", group=found.group) for link in side.report.links)
        found.measurements.extend(
            replace(figure, group=f"comparison, {side.name}")
            for figure in side.report.measurements
            if figure.unit == "ms" or figure.name == "generator busy"
        )


def _operations(found: Findings, new: Report) -> None:
    """An operation is what a user would call one: a start, an answer to each prompt, and the article."""
    put, answered = _value(new, "prompts put"), _value(new, "prompts answered")
    found.measure("prompts put", put, "")
    found.measure("prompts answered", answered, "")
    found.measure("operations", 2 * _value(new, "generations started") + put, "")
    found.measure("failed operations", _value(new, "generations failed") + max(0.0, put - answered), "")


def _value(report: Report, name: str) -> float:
    return next((figure.value for figure in report.measurements if figure.name == name), 0.0)
