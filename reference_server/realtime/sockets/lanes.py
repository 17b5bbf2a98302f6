"""Queues of work: the items of one lane are done in order, lanes run concurrently, what waits is bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeAlias, TypeVar

Item = TypeVar("Item")
Work: TypeAlias = Coroutine[Any, Any, None]


class Lanes(Generic[Item]):
    """`begin(item)` does what needs no waiting and returns the rest as a coroutine, or None when nothing is left.

    While the coroutine runs, later items of the same lane wait; those of other lanes do not. It must not raise.
    """

    def __init__(self, begin: Callable[[Item], Work | None], *, most_items: int, most_bytes: int) -> None:
        self._begin = begin
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._waiting: dict[str, deque[tuple[Item, int]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._items = self._bytes = 0

    async def put(self, lane: str, item: Item, size: int) -> None:
        """Begin the item, or queue it behind its lane. Blocks the caller only while too many items or bytes wait."""
        line = self._waiting.get(lane)
        if line is None:
            work = self._begin(item)
            if work is not None:
                self._waiting[lane] = deque()
                task = asyncio.create_task(self._run(lane, work), name="realtime lane")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                task.add_done_callback(
                    lambda _: work.close()
                )  # a task cancelled before its first step leaves its coroutine open
            return
        line.append((item, size))
        self._items += 1
        self._bytes += size
        while self._tasks and (self._items >= self._most_items or self._bytes >= self._most_bytes):
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def cancel(self) -> None:
        """Cancel the work under way and drop what waits."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, lane: str, work: Work | None) -> None:
        line = self._waiting[lane]
        try:
            while True:
                if work is not None:
                    await work
                if not line:
                    return
                item, size = line.popleft()
                self._items -= 1
                self._bytes -= size
                work = self._begin(item)
        finally:
            del self._waiting[lane]
