"""Another application on the same database: it updates state rows of its own and remembers what it wrote."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from toolkit.postgres.connection import Connection, connected
from toolkit.rehearse.traffic.meter import Meter, Wrong, every
from toolkit.sql import rehearsal as sql

PERIOD_S = 0.02
DEADLINE_S = 30.0
_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


@dataclass
class AcknowledgedWrites:
    """The last value whose write was acknowledged, by row, and how many writes there were."""

    acknowledged: dict[UUID, int] = field(default_factory=dict)
    # A write without an answer may or may not have happened: both values are accepted then.
    doubtful: dict[UUID, int] = field(default_factory=dict)
    count: int = 0

    def missing(self, stored: Mapping[UUID, int | None]) -> tuple[str, ...]:
        """A line for each acknowledged write that `stored` (row → value) does not show."""
        return tuple(
            f"row {row}: value {value} was acknowledged, {stored.get(row)} is stored"
            for row, value in self.acknowledged.items()
            if stored.get(row) not in {value, self.doubtful.get(row, value)}
        )


async def write(
    dsn: str, rows: Sequence[UUID], meter: Meter, acknowledged_writes: AcknowledgedWrites, stop: asyncio.Event
) -> None:
    """Update one row after the other until `stop` is set, each in a transaction of its own.

    On purpose it knows nothing of the migration: it sends the same statement before, during and after.
    """
    turns = itertools.cycle(rows)
    numbers = itertools.count(acknowledged_writes.count + 1)
    async with connected(dsn, "another application") as conn:

        async def update() -> None:
            row, number = next(turns), next(numbers)
            acknowledged_writes.doubtful[row] = number
            done = await conn.execute(sql.OTHER_WRITE, row, number, timeout=DEADLINE_S)
            if done != "UPDATE 1":
                raise Wrong(f"row {row} was not updated: {done}")
            acknowledged_writes.acknowledged[row] = number
            acknowledged_writes.count += 1

        await every(PERIOD_S, stop, lambda: meter.measure(update, _ERRORS))


async def stored_values(conn: Connection, rows: Sequence[UUID]) -> dict[UUID, int | None]:
    """Row → value that the database holds, for the writer's rows."""
    found: list[Any] = await conn.fetch(sql.OTHER_READ, list(rows), timeout=DEADLINE_S)
    return {row["id"]: row["ticket"] for row in found}
