"""Times one kind of operation; a failed one becomes a sample too, and never ends the traffic."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from toolkit.rehearse.traffic.latencies import Sample, with_unsent


class Wrong(Exception):
    """The operation was answered, but wrongly."""


@dataclass
class Meter:
    """Samples of one kind of operation, in the order in which they ended; each client starts one every `period_s`
    seconds at most."""

    name: str
    period_s: float
    samples: list[Sample] = field(default_factory=list)

    @property
    def waits(self) -> tuple[Sample, ...]:
        """The samples, and one for each operation that was not sent because the one before it was still waiting."""
        return with_unsent(self.samples, self.period_s)

    @property
    def failed(self) -> list[Sample]:
        """The samples with an error."""
        return [sample for sample in self.samples if sample.error]

    async def measure(self, operation: Callable[[], Awaitable[None]], errors: tuple[type[Exception], ...]) -> bool:
        """Run and time `operation`; returns whether it succeeded. One of `errors`, or Wrong, makes a failed sample."""
        began = time.monotonic()
        error = ""
        try:
            await operation()
        except errors as failure:
            error = f"{type(failure).__name__}: {failure}"
        except Wrong as failure:
            error = str(failure)
        self.samples.append(Sample(began, time.monotonic() - began, error))
        return not error


async def every(period_s: float, stop: asyncio.Event, work: Callable[[], Awaitable[object]]) -> None:
    """Call `work` repeatedly until `stop` is set, starting at most once every `period_s` seconds."""
    while not stop.is_set():
        began = time.monotonic()
        await work()
        rest = period_s - (time.monotonic() - began)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(rest, 0)):
                await stop.wait()
