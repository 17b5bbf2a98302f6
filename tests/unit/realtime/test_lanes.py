"""Lanes: order within one, none between them, and a bound on what waits."""

from __future__ import annotations

import asyncio

from reference_server.realtime.sockets.lanes import Lanes, Work


class Gated:
    """Items are (lane, number); those of lane `slow` take until the gate opens."""

    def __init__(self, most_items: int = 100, most_bytes: int = 10_000) -> None:
        self.gate = asyncio.Event()
        self.done: list[tuple[str, int]] = []
        self.last = asyncio.Event()
        self.lanes = Lanes(self.begin, most_items=most_items, most_bytes=most_bytes)

    def begin(self, item: tuple[str, int]) -> Work | None:
        if item[0] != "slow":
            self.done.append(item)
            return None
        return self._slowly(item)

    async def _slowly(self, item: tuple[str, int]) -> None:
        await self.gate.wait()
        self.done.append(item)
        if item[1] == 2:
            self.last.set()

    async def put(self, lane: str, number: int, size: int = 1) -> None:
        await self.lanes.put(lane, (lane, number), size)


async def test_a_lane_keeps_its_order_and_holds_no_other_up() -> None:
    gated = Gated()
    for number in range(3):
        await gated.put("slow", number)
        await gated.put("quick", number)
    assert gated.done == [("quick", 0), ("quick", 1), ("quick", 2)]
    gated.gate.set()
    async with asyncio.timeout(5):
        await gated.last.wait()
    assert gated.done[3:] == [("slow", 0), ("slow", 1), ("slow", 2)]


async def test_what_waits_is_bounded_by_number_and_by_bytes() -> None:
    for gated, size in ((Gated(most_items=2), 1), (Gated(most_bytes=200), 100)):
        await gated.put("slow", 0, size)
        await gated.put("slow", 1, size)
        third = asyncio.create_task(gated.put("slow", 2, size))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not third.done()
        gated.gate.set()
        await asyncio.wait_for(third, 5)


async def test_cancelled_work_is_over() -> None:
    gated = Gated()
    await gated.put("slow", 0)
    await gated.put("slow", 1)
    await gated.lanes.cancel()
    gated.gate.set()
    await asyncio.sleep(0)
    assert gated.done == []
