"""Times one kind of operation; a failed one is a sample too, never an exception that ends the traffic."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from toolkit.rehearse.traffic.latencies import Sample, with_unsent


class Wrong(Exception):
    """The operation was answered, but not as it should be."""


@dataclass
class Meter:
    """Samples of one kind of operation, in the order in which they ended; each who does it does it once in `period_s`
    seconds at most."""

    name: str
    period_s: float
    samples: list[Sample] = field(default_factory=list)

    @property
    def waits(self) -> tuple[Sample, ...]:
        """The samples with those that would have been sent, had the one before not been waiting."""
        return with_unsent(self.samples, self.period_s)

    @property
    def failed(self) -> list[Sample]:
        """Those that were not answered as they should be."""
        return [sample for sample in self.samples if sample.error]

    async def measure(self, operation: Callable[[], Awaitable[None]], errors: tuple[type[Exception], ...]) -> bool:
        """Run and time `operation`; one of `errors` or Wrong is a failed sample. Whether it went well."""
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
    """Call `work` again and again until `stop`, starting at most once in `period_s` seconds."""
    while not stop.is_set():
        began = time.monotonic()
        await work()
        rest = period_s - (time.monotonic() - began)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(rest, 0)):
                await stop.wait()
