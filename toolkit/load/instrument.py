"""The generator measured by itself: how busy its process was, how late its event loop, how slow an answer at once.

A figure that was taken by a busy generator is a figure of the generator. So while users work, the share of one core
that this process uses, the lag of its event loop and the round trip to an endpoint of its own that answers at once
are measured, and beyond their limits everything that was measured in that time is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from toolkit.report.pictures import percentile
from toolkit.report.record import Check, Measurement, Verdict

BUSIEST = 0.80
# A quarter of what a person perceives.
SLOWEST_CONTROL_MS = 25.0
PERIOD_S = 0.05
DEADLINE_S = 10.0
# In a process of its own, so that what it takes is the generator's delay and the machine's, not its own.
_ENDPOINT = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    server.settimeout(30)
    print(server.getsockname()[1], flush=True)
    peer, _ = server.accept()
    with peer:
        while byte := peer.recv(1):
            peer.sendall(byte)
"""


@dataclass(frozen=True)
class Reading:
    """The instrument over one stretch of time. `busy`: share of one core; the others in milliseconds."""

    busy: float
    cpu_s: float
    lag_p95: float
    control_p50: float
    control_p95: float


class Instrument:
    """Measures its own process while a block of `measuring` runs; made by `instrument`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @asynccontextmanager
    async def measuring(self, into: list[Reading]) -> AsyncIterator[None]:
        """Measure while the block runs; the reading is appended to `into` at its end."""
        lags: list[float] = []
        trips: list[float] = []
        begun, cpu = time.perf_counter(), time.process_time()
        task = asyncio.create_task(self._watch(lags, trips), name="instrument")
        try:
            yield
        finally:
            cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - begun
            task.cancel()
            # An endpoint that is gone leaves no readings, and without them nothing is known.
            with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
                await task
            if trips:
                lags.sort()
                trips.sort()
                into.append(
                    Reading(
                        cpu_s / wall_s,
                        cpu_s,
                        percentile(lags, 0.95),
                        percentile(trips, 0.5),
                        percentile(trips, 0.95),
                    )
                )

    async def _watch(self, lags: list[float], trips: list[float]) -> None:
        while True:
            sent = time.perf_counter()
            self._writer.write(b".")
            await self._reader.readexactly(1)
            back = time.perf_counter()
            trips.append((back - sent) * 1000)
            await asyncio.sleep(PERIOD_S)
            lags.append((time.perf_counter() - back - PERIOD_S) * 1000)


@asynccontextmanager
async def instrument() -> AsyncIterator[Instrument]:
    """The instrument with its endpoint, which ends with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", _ENDPOINT, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            port = int(await process.stdout.readline())
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield Instrument(reader, writer)
        finally:
            writer.close()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()


def judge_instrument(readings: Sequence[Reading], group: str, remedy: str) -> Check:
    """Whether the generator was within its limits; beyond them it is unknown what the system would have done."""
    id, title = "load.instrument", "The load generator was not the bottleneck itself"
    if not readings:
        return Check(id, title, Verdict.UNKNOWN, "it was not measured", "Run it for longer.", group)
    busy = max(reading.busy for reading in readings)
    control = max(reading.control_p95 for reading in readings)
    lag = max(reading.lag_p95 for reading in readings)
    words = (
        f"its process was busy {busy:.0%}, its loop late by {lag:.1f} ms, control answer after {control:.1f} ms (p95)"
    )
    if busy > BUSIEST or control > SLOWEST_CONTROL_MS:
        detail = (
            f"the generator was busy {busy:.0%}: {remedy}"
            if busy > BUSIEST
            else f"an answer at once took {control:.0f} ms here: the machine is busy with other work, or {remedy}"
        )
        limits = f"limits: busy {BUSIEST:.0%}, control {SLOWEST_CONTROL_MS:g} ms"
        return Check(id, title, Verdict.UNKNOWN, f"{detail} ({words}; {limits})", remedy, group)
    return Check(id, title, Verdict.PASS, words, "", group)


def figures_of(readings: Sequence[Reading], group: str) -> tuple[Measurement, ...]:
    """The instrument's own figures, the worst of all readings."""
    if not readings:
        return ()
    return (
        Measurement("generator busy", round(max(one.busy for one in readings) * 100, 1), "%", group),
        Measurement("generator loop lag p95", round(max(one.lag_p95 for one in readings), 3), "ms", group),
        Measurement("control answer p50", round(max(one.control_p50 for one in readings), 3), "ms", group),
        Measurement("control answer p95", round(max(one.control_p95 for one in readings), 3), "ms", group),
    )
