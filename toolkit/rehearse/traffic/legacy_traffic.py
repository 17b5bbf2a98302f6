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

# A whole generation through the legacy socket, recorded in the run it is given; never raises for a failed one.
Generate = Callable[[UserGeneration], Coroutine[Any, Any, None]]


class LegacyTraffic:
    """People, readers and another application at work; `async with` ends all of them."""

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
        """Begin: one task a user, `readers` readers, one writer."""
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
        """One generation besides the others."""
        self.generations.append(generation)
        self._users.append(asyncio.create_task(generate(generation), name=f"user {generation.user}"))

    def in_flight(self) -> list[UserGeneration]:
        """Runs that the server has given an id and that have not ended."""
        return [generation for generation in self.generations if generation.process_id and generation.ended is None]

    async def until(self, condition: Callable[[], bool], what: str, deadline_s: float) -> None:
        """Wait while the crew works. Raises EnvironmentError_ when `what` does not come true, or nobody works on."""
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
        """Let everyone finish the article at hand and start no other; the runs that did not end in time."""
        self._enough.set()
        if self._users:
            await asyncio.wait(self._users, timeout=deadline_s)
        self.check()
        return [generation for generation in self.generations if generation.ended is None]

    async def rest(self) -> None:
        """Stop the readers and the writer after the operation at hand."""
        self._stop.set()
        if self._others:
            await asyncio.wait(self._others, timeout=60)
        self.check()

    def operations(self) -> list[Sample]:
        """Every request and write so far, and every run that has ended."""
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
        """Raise what ended one of the tasks, if anything unforeseen did: traffic that stopped proves nothing."""
        for task in (*self._users, *self._others):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def aclose(self) -> None:
        """End everything now."""
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
                # A server that refuses everything is not hammered.
                await asyncio.sleep(0.2)
