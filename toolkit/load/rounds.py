"""Interleaved rounds: the same users do the same work on two transports of one system, in turns.

In one process and on one event loop, without Locust, so that a round can begin the moment the other has ended. Every
round draws its arrivals and its users' thinking from the seed, the same for both sides; which side goes first changes
from round to round. Each side has its own history, and is judged like any other load run.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from toolkit.errors import EnvironmentError_
from toolkit.load import report as reports
from toolkit.load.comparison import LEAST_ROUNDS
from toolkit.load.figures import Thresholds
from toolkit.load.instrument import Instrument, Reading, figures_of, instrument, judge_instrument
from toolkit.load.light_client import stream_of
from toolkit.load.settings import Client, Transport
from toolkit.load.worker_loop import Habits, WorkerLoop
from toolkit.report.record import Report, worst
from toolkit.targets.target import Target

Say = Callable[[str], None]
# How unequal people's thinking is: the standard deviation of its logarithm.
THINK_SPREAD = 0.5
NOT_JUDGED_HERE = Thresholds(
    p95_start=None, p95_first_event=None, p95_answer=None, p95_delivery=None, p95_generation=None
)


@dataclass(frozen=True)
class RoundsPlan:
    """What to do in each round. Users arrive over `arrivals_s`, each at a moment drawn by `seed`, whatever the system
    does meanwhile; they think for `think_s` in the median before each answer."""

    users: int = 10
    rounds: int = LEAST_ROUNDS
    transports: tuple[Transport, Transport] = ("websocket", "realtime")
    arrivals_s: float = 1.0
    think_s: float = 0.5
    seed: int = 1
    client: Client = "light"
    generation_deadline_s: float = 120.0


@dataclass
class Side:
    """One of the two transports. `samples` and `costs` have one entry a round: milliseconds by figure, and what a
    generation cost by name. `readings`: the generator in each round."""

    name: str
    transport: Transport
    loop: WorkerLoop
    samples: list[dict[str, list[float]]] = field(default_factory=list)
    costs: list[dict[str, float]] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    completed: int = 0
    report: Report | None = None

    def take(self, figure: str, ms: float, error: str | None = None) -> None:
        """Keep one sample of the current round; what failed is counted elsewhere and is no sample."""
        if error is None and self.samples:
            self.samples[-1].setdefault(figure, []).append(ms)


async def run_rounds(
    plan: RoundsPlan,
    target: Target,
    folder: Path,
    *,
    sides: tuple[Side, Side] | None = None,
    cpu: Callable[[], Mapping[str, float]] = dict,
    say: Say = lambda _: None,
) -> tuple[Side, Side]:
    """Run all rounds and judge each side's history; the first of the two is the old system.

    `sides`: those of `sides_of`. `cpu`: CPU seconds used so far, by whose. A cancellation is let through after both
    sides are settled, with the rounds that both had come to the end of. Raises EnvironmentError_ when the target is not
    reached.
    """
    began = datetime.now(UTC)
    sides = sides or sides_of(plan, target, folder)
    async with AsyncExitStack() as stack:
        meter = await stack.enter_async_context(instrument())
        for side in sides:
            stack.push_async_callback(side.loop.close)
            await side.loop.open()
            if side.loop.environment is not None:
                raise EnvironmentError_(side.loop.environment, "Start it, or correct its URLs.")
        try:
            number = await _warm_up(plan, sides)
            for turn in range(plan.rounds):
                for side in sides if turn % 2 == 0 else reversed(sides):
                    say(f"round {turn + 1} of {plan.rounds}: {plan.users} users over {side.name}")
                    await _round(plan, turn, side, number, meter, cpu)
                number += 1
        finally:
            whole = min(len(side.costs) for side in sides)
            for side in sides:
                del side.samples[whole:], side.costs[whole:]
                await _settle(plan, side, target, began)
    return sides


def sides_of(plan: RoundsPlan, target: Target, folder: Path) -> tuple[Side, Side]:
    """The two sides, not yet open. Twice the same transport is a comparison of the system with itself."""
    old, new = plan.transports
    names = (old, new) if old != new else (f"{old}, first", f"{new}, second")

    def side(place: int) -> Side:
        def take(figure: str, ms: float, error: str | None = None) -> None:
            made.take(figure, ms, error)

        loop = WorkerLoop(target, plan.transports[place], folder, "ab"[place], measure=take)
        loop.writes_while_users_work = False
        made = Side(names[place], plan.transports[place], loop)
        return made

    return side(0), side(1)


async def _warm_up(plan: RoundsPlan, sides: tuple[Side, Side]) -> int:
    """One generation of one user on each side, which nobody counts: the first of all pays for everybody's caches."""
    for side in sides:
        await side.loop.generate(1, 1, stream_of(plan.client), plan.generation_deadline_s)
    return 2


async def _round(  # noqa: PLR0917 - one call, in this module
    plan: RoundsPlan, turn: int, side: Side, number: int, meter: Instrument, cpu: Callable[[], Mapping[str, float]]
) -> None:
    side.samples.append({})
    before = cpu()
    async with meter.measuring(side.readings):
        ends = await asyncio.gather(*(_user(plan, turn, side, user, number) for user in range(1, plan.users + 1)))
    after = cpu()
    side.loop.write_history()
    done = ends.count("completed")
    side.completed += done
    used = {name: after[name] - before[name] for name in after if name in before}
    if side.readings:
        used["CPU of the load generator"] = side.readings[-1].cpu_s
    side.costs.append({name: value / done for name, value in used.items()} if done else {})


async def _user(plan: RoundsPlan, turn: int, side: Side, user: int, number: int) -> str:
    # A generator for each user and round, so that the order in which users are served changes nobody's fate.
    rng = random.Random(f"{plan.seed}/{turn}/{user}")  # noqa: S311 - the same seed, the same people
    await asyncio.sleep(rng.uniform(0, plan.arrivals_s))

    def think_s() -> float:
        return rng.lognormvariate(math.log(plan.think_s), THINK_SPREAD) if plan.think_s else 0.0

    habits = Habits(think_s, comes_back=True)
    return await side.loop.generate(user, number, stream_of(plan.client), plan.generation_deadline_s, habits)


async def _settle(plan: RoundsPlan, side: Side, target: Target, began: datetime) -> None:
    for user in range(1, plan.users + 1):
        side.loop.finished(user)
    outcome = await side.loop.settle()
    # Both sides share this process, so its CPU time is told by round, among what a generation costs.
    shared = "CPU of the load generator"
    outcome = replace(outcome, counts={name: value for name, value in outcome.counts.items() if name != shared})
    planned = reports.Planned(side.transport, plan.users, 1, 1, target.describe())
    found = reports.report(planned, [outcome], NOT_JUDGED_HERE, began=began, group=side.name, locust=False)
    remedy = f"use fewer users (--users {max(1, plan.users // 2)})"
    checks = (*found.checks, judge_instrument(side.readings, side.name, remedy))
    side.report = replace(
        found,
        checks=checks,
        verdict=worst(check.verdict for check in checks),
        measurements=(*found.measurements, *figures_of(side.readings, side.name)),
    )
