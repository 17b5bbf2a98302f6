"""A steady reader over HTTP: it asks for lists and single processes, as open browser tabs do."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from toolkit.rehearse.traffic.meter import Meter, Wrong, every

PERIOD_S = 0.025
DEADLINE_S = 30.0
_ERRORS = (httpx.HTTPError,)


@dataclass(frozen=True)
class Reading:
    """One GET request: a path, and the token of a user who may see it."""

    path: str
    token: str


async def read(base_url: str, readings: Sequence[Reading], meter: Meter, stop: asyncio.Event) -> None:
    """Request one reading after the other until `stop` is set; anything but a 200 with the right body is a failure."""
    turns = itertools.cycle(readings)
    async with httpx.AsyncClient(base_url=base_url, timeout=DEADLINE_S) as http:

        async def ask() -> None:
            reading = next(turns)
            answer = await http.get(reading.path, headers={"Authorization": f"Bearer {reading.token}"})
            if answer.status_code != 200:
                raise Wrong(f"GET {reading.path} → {answer.status_code} {answer.text[:200]}")
            expected = reading.path.rsplit("/", 1)[-1].split("?")[0]
            if expected != "generation" and answer.json().get("process_id") != expected:
                raise Wrong(f"GET {reading.path} → another process: {answer.text[:200]}")

        await every(PERIOD_S, stop, lambda: meter.measure(ask, _ERRORS))
