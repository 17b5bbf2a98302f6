"""Begins each fault when its anchor is reached, confirms it, heals it, and writes all three down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from toolkit.errors import ToolkitError
from toolkit.scenarios.faults.control import Control, Victim
from toolkit.scenarios.faults.proxy import TcpProxy
from toolkit.scenarios.history import History
from toolkit.scenarios.model import Fault
from toolkit.scenarios.words import Condition

HEAL_DEADLINE_S = 90.0
ACTOR = "faults"


class Schedule:
    """The faults of one run. `reached` returns when a condition has come true in the database."""

    def __init__(
        self,
        faults: Sequence[Fault],
        history: History,
        *,
        reached: Callable[[Condition], Awaitable[None]],
        link: TcpProxy | None,
        control: Control | None,
        say: Callable[[str], None],
    ) -> None:
        self._faults = faults
        self._history = history
        self._reached = reached
        self._link = link
        self._control = control
        self._say = say
        self._begun: set[int] = set()
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.problems: list[str] = []

    def start(self) -> None:
        """Wait for the anchors from now on."""
        for number, fault in enumerate(self._faults):
            self._tasks[number] = asyncio.create_task(self._run(number, fault), name=f"fault {number}")

    async def finish(self) -> None:
        """Give up faults that have not begun, and wait until the others have healed."""
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
        # Two faults of one target would hide each other: the later waits.
        async with self._locks.setdefault("link" if fault.op in ("cut", "slow") else fault.target, asyncio.Lock()):
            self._begun.add(number)
            self._say(f"fault: {fault.op} {fault.target} for {fault.lasting:g} s (after {fault.after})")
            self._note(number, fault, "begun")
            try:
                sent = self._link.traffic.to_client if self._link is not None else 0
                if await self._begin(fault):
                    self._note(number, fault, "confirmed")
                await asyncio.sleep(fault.lasting)
                # Slowness is confirmed by what was late: bytes that went through meanwhile.
                if fault.op == "slow" and self._link is not None and self._link.traffic.to_client > sent:
                    self._note(number, fault, "confirmed")
            finally:
                # A cancelled run heals too: what comes after must find a whole system.
                await asyncio.shield(self._heal(number, fault))

    async def _begin(self, fault: Fault) -> bool:
        if fault.op in ("cut", "slow"):
            assert self._link is not None, "a run with network faults has a link"
            if fault.op == "cut":
                self._link.begin_refusing()
                return self._link.cut().connections > 0
            self._link.slow(fault.latency, fault.latency / 4)
            return False
        assert self._control is not None, "a run with process faults has control"
        return await (self._control.crash_database() if fault.op == "restart" else self._control.kill(_victim(fault)))

    async def _heal(self, number: int, fault: Fault) -> None:
        try:
            async with asyncio.timeout(HEAL_DEADLINE_S):
                if fault.op in ("cut", "slow"):
                    assert self._link is not None
                    self._link.heal()
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
