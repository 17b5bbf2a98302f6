"""Runs attacks one after another, each beside a bystander whose deliveries are timed before and during it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from tests.redteam.target import Target, token
from toolkit.report.record import Check, Measurement, Report, Verdict


@dataclass
class Outcome:
    """How often something was tried, and where it did not hold, in words."""

    tried: int = 0
    broken: list[str] = field(default_factory=list)


class Attack(Protocol):
    """One kind of attack. `size` is how much of everything it does: 1 in the suite, more in the campaign."""

    name: str
    promise: str

    async def run(self, target: Target, size: int) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the bystander's deliveries, in milliseconds."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Attacked:
    """One attack with what the bystander saw of it."""

    attack: Attack
    outcome: Outcome
    before: Latency
    during: Latency
    memory_mb: float


async def campaign(target: Target, attacks: Sequence[Attack], size: int) -> list[Attacked]:
    """Run the attacks; the target must serve the bystander throughout."""
    found = []
    for attack in attacks:
        before = await _deliveries(target, None, at_least=20 * size)
        running = asyncio.create_task(attack.run(target, size))
        during = await _deliveries(target, running, at_least=20 * size)
        found.append(Attacked(attack, await running, before, during, target.memory_mb()))
    return found


async def _deliveries(target: Target, beside: asyncio.Task[Outcome] | None, *, at_least: int) -> Latency:
    """Commit to frame, of `at_least` rows, one at a time, and until the attack `beside` them has ended."""
    waits = []
    async with target.socket(token("bystander")) as socket:
        await socket.join("realtime:bystander", "")
        await socket.until("system")
        while len(waits) < at_least or (beside is not None and not beside.done()):
            started = time.perf_counter()
            number = await target.insert("bystander")
            while (await socket.until("postgres_changes"))["data"]["record"]["id"] != number:
                pass
            waits.append((time.perf_counter() - started) * 1000)
    waits.sort()
    return Latency(waits[len(waits) // 2], waits[min(len(waits) - 1, int(len(waits) * 0.99))])


def report(found: Sequence[Attacked], started: datetime, version: str) -> Report:
    """The campaign in the usual form: each attack a check, with its figures."""
    checks, figures = [], []
    for each in found:
        name, outcome = each.attack.name, each.outcome
        detail = (
            f"{outcome.tried} tried, {outcome.tried - len(outcome.broken)} held; bystander p50 {each.before.p50:.1f} → "
            f"{each.during.p50:.1f} ms, p99 {each.before.p99:.1f} → {each.during.p99:.1f} ms; {each.memory_mb:.0f} MB"
        )
        verdict = Verdict.FAIL if outcome.broken else Verdict.PASS
        checks.append(Check(name, each.attack.promise, verdict, detail, witness=tuple(outcome.broken[:20])))
        figures += [
            Measurement("bystander p99 before", round(each.before.p99, 1), "ms", name),
            Measurement("bystander p99 during", round(each.during.p99, 1), "ms", name),
            Measurement("memory", round(each.memory_mb), "MB", name),
        ]
    verdict = Verdict.FAIL if any(check.verdict is Verdict.FAIL for check in checks) else Verdict.PASS
    return Report(
        name="redteam",
        title="Attacks on the Realtime endpoint",
        verdict=verdict,
        started_at=started,
        finished_at=datetime.now(UTC),
        target="a process on loopback",
        tool_version=version,
        checks=tuple(checks),
        measurements=tuple(figures),
    )
