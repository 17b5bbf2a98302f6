"""All the traffic on the legacy system: started together, drained or stopped together."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any
from uuid import UUID

from toolkit.errors import EnvironmentError_
from toolkit.rehearse.traffic import reader, writer
from toolkit.rehearse.traffic.latencies import Sample
from toolkit.rehearse.traffic.meter import Meter
from toolkit.rehearse.traffic.reader import Reading, read
from toolkit.rehearse.traffic.user_generation import UserGeneration
from toolkit.rehearse.traffic.writer import AcknowledgedWrites, write

# Runs a whole generation over the legacy socket and records it in its argument; a failed one does not raise.
Generate = Callable[[UserGeneration], Coroutine[Any, Any, None]]


class LegacyTraffic:
    """Users, readers and another application at work; the end of `async with` stops all of them."""

    def __init__(self, base_url: str, dsn: str, owned: Sequence[UUID]) -> None:
        self.base_url, self.dsn, self.owned = base_url, dsn, tuple(owned)
        self.requests = Meter("HTTP request", reader.PERIOD_S)
        self.writes = Meter("write of another application", writer.PERIOD_S)
        self.acknowledged_writes = AcknowledgedWrites()
        self.generations: list[UserGeneration] = []
        self._users: list[asyncio.Task[None]] = []
        self._others: list[asyncio.Task[None]] = []
        self._enough = asyncio.Event()
        self._stop = asyncio.Event()

    async def __aenter__(self) -> LegacyTraffic:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def start(self, users: Sequence[str], generate: Generate, readings: Sequence[Reading], readers: int) -> None:
        """Start a task for each user, `readers` readers and one writer."""
        self._users = [asyncio.create_task(self._work(user, generate), name=f"user {user}") for user in users]
        for number in range(readers):
            turn = number * len(readings) // readers
            mine = [*readings[turn:], *readings[:turn]]
            self._others.append(
                asyncio.create_task(read(self.base_url, mine, self.requests, self._stop), name=f"reader {number}")
            )
        self._others.append(
            asyncio.create_task(
                write(self.dsn, self.owned, self.writes, self.acknowledged_writes, self._stop), name="writer"
            )
        )

    def hold(self, generation: UserGeneration, generate: Generate) -> None:
        """Start one more generation besides those of the users."""
        self.generations.append(generation)
        self._users.append(asyncio.create_task(generate(generation), name=f"user {generation.user}"))

    def in_flight(self) -> list[UserGeneration]:
        """Generations that have a process id and have not ended."""
        return [generation for generation in self.generations if generation.process_id and generation.ended is None]

    async def until(self, condition: Callable[[], bool], what: str, deadline_s: float) -> None:
        """Wait for the condition under traffic. Raises EnvironmentError_ naming `what` when it does not come true in
        time."""
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():
                    self.check()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            errors = itertools.islice((generation.error for generation in self.generations if generation.error), 3)
            raise EnvironmentError_(
                f"After {deadline_s:g} s still not: {what}. {'; '.join(errors)}".strip(),
                "Read the server's log; on a very slow machine use --quick.",
            ) from None

    async def drain(self, deadline_s: float) -> list[UserGeneration]:
        """Let every user finish the current article and start no other; returns the generations that did not end in
        time."""
        self._enough.set()
        if self._users:
            await asyncio.wait(self._users, timeout=deadline_s)
        self.check()
        return [generation for generation in self.generations if generation.ended is None]

    async def rest(self) -> None:
        """Stop the readers and the writer after their current operation."""
        self._stop.set()
        if self._others:
            await asyncio.wait(self._others, timeout=60)
        self.check()

    def operations(self) -> list[Sample]:
        """Every request and write so far, and every generation that has ended."""
        ended = [generation for generation in self.generations if generation.ended is not None]
        return [
            *self.requests.samples,
            *self.writes.samples,
            *(
                Sample(generation.began, (generation.ended or generation.began) - generation.began, generation.error)
                for generation in ended
            ),
        ]

    def check(self) -> None:
        """Raise the unexpected error that ended one of the tasks, if any: traffic that stopped proves nothing."""
        for task in (*self._users, *self._others):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def aclose(self) -> None:
        """Cancel all traffic now."""
        self._enough.set()
        self._stop.set()
        tasks = (*self._users, *self._others)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, user: str, generate: Generate) -> None:
        while not self._enough.is_set():
            generation = UserGeneration(user, "websocket")
            self.generations.append(generation)
            await generate(generation)
            if generation.error:
                # Pause, so that a server that refuses everything is not flooded.
                await asyncio.sleep(0.2)
