"""Begins each fault when its anchor is reached, confirms it, heals it, and records all three in the history."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from toolkit.errors import ToolkitError
from toolkit.scenarios.faults.control import Control, Victim
from toolkit.scenarios.faults.network import Links
from toolkit.scenarios.faults.proxy import TcpProxy
from toolkit.scenarios.model.conditions import Condition
from toolkit.scenarios.model.scenario_file import NETWORK, Fault
from toolkit.scenarios.recorded.history import History

HEAL_DEADLINE_S = 90.0
ACTOR = "faults"


class Schedule:
    """The faults of one run. `reached(condition)` returns once the condition has come true."""

    def __init__(
        self,
        faults: Sequence[Fault],
        history: History,
        *,
        reached: Callable[[Condition], Awaitable[None]],
        links: Links,
        control: Control | None,
        say: Callable[[str], None],
    ) -> None:
        self._faults = faults
        self._history = history
        self._reached = reached
        self._links = links
        self._control = control
        self._say = say
        self._begun: set[int] = set()
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.problems: list[str] = []

    def start(self) -> None:
        """Begin to wait for the anchors."""
        for number, fault in enumerate(self._faults):
            self._tasks[number] = asyncio.create_task(self._run(number, fault), name=f"fault {number}")

    async def finish(self) -> None:
        """Cancel the faults that have not begun, and wait until the others have healed."""
        for number, task in self._tasks.items():
            if number not in self._begun:
                task.cancel()
        results = await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self.problems += [
            str(result) for result in results if isinstance(result, Exception) and str(result) not in self.problems
        ]

    async def abandon(self) -> None:
        """Stop at once, healing what was begun."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, number: int, fault: Fault) -> None:
        await self._reached(fault.after)
        # Two faults of one target at once would hide each other's effect, so the later one waits.
        async with self._locks.setdefault(fault.target, asyncio.Lock()):
            self._begun.add(number)
            self._say(f"fault: {fault.op} {fault.target} for {fault.lasting:g} s (after {fault.after})")
            self._note(number, fault, "begun")
            try:
                if fault.op in NETWORK:
                    confirmed = await self._break_network(self._links[fault.target], fault)
                else:
                    confirmed = await self._break_process(fault)
                    await asyncio.sleep(fault.lasting)
                if confirmed:
                    self._note(number, fault, "confirmed")
            finally:
                # A cancelled run heals its faults too, since the next run needs a working system.
                await asyncio.shield(self._heal(number, fault))

    async def _break_network(self, link: TcpProxy, fault: Fault) -> bool:
        """Break it for as long as the fault lasts; returns whether anything was hit."""
        before = replace(link.traffic)
        match fault.op:
            case "cut":
                link.begin_refusing()
                link.cut()
            case "lose":
                link.begin_losing()
            case "slow":
                link.slow(fault.latency, fault.latency / 4)
            case _:
                link.freeze()
        await asyncio.sleep(fault.lasting)
        now = link.traffic
        match fault.op:
            case "cut":
                return now.cut + now.refused > before.cut + before.refused
            case "lose":
                return now.lost > before.lost
            case "slow":
                return now.to_client > before.to_client
            case _:
                return link.thaw().held_bytes > 0

    async def _break_process(self, fault: Fault) -> bool:
        assert self._control is not None, "a run with process faults has control"
        return await (self._control.crash_database() if fault.op == "restart" else self._control.kill(_victim(fault)))

    async def _heal(self, number: int, fault: Fault) -> None:
        try:
            async with asyncio.timeout(HEAL_DEADLINE_S):
                if fault.op in NETWORK:
                    self._links[fault.target].heal()
                elif fault.op == "restart":
                    assert self._control is not None
                    await self._control.revive_database()
                else:
                    assert self._control is not None
                    await self._control.revive(_victim(fault))
        except (ToolkitError, OSError, TimeoutError) as error:
            self.problems.append(f"{fault.op} {fault.target} could not be healed: {error}")
            self._say(f"fault: {self.problems[-1]}")
            return
        self._note(number, fault, "healed")
        self._say(f"fault: {fault.op} {fault.target} healed")

    def _note(self, number: int, fault: Fault, phase: str) -> None:
        value = {"number": number, "phase": phase, "target": fault.target, "after": str(fault.after)}
        self._history.add("fault", ACTOR, fault.op, value=value)


def _victim(fault: Fault) -> Victim:
    assert fault.kill is not None
    return fault.kill
