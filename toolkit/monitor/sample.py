"""Takes one sample of the database's and the application's figures."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from toolkit.checks.absent import Absent
from toolkit.checks.facts import Slot
from toolkit.monitor.figures import (
    Application,
    Database,
    Growth,
    Index,
    LaggingSlot,
    Queue,
    Realtime,
    Rows,
    Sample,
    StepOutcome,
    StepTimes,
    TableSize,
    TaskTimes,
)
from toolkit.monitor.questions import Questions, questions
from toolkit.sql.diagnosis import monitoring
from toolkit.targets.target import Target

_SQL = monitoring()
GROUPS = ("database", "realtime", "application")


async def take(target: Target, *, window_s: float, groups: frozenset[str], realtime: Realtime | None) -> Sample:
    """The figures of the requested groups; those of Realtime were measured before and are passed in."""
    at = time.monotonic()
    async with questions(target, "toolkit monitor") as ask:
        return Sample(
            at,
            window_s,
            await _database(ask, window_s) if "database" in groups else None,
            realtime,
            await _application(ask, window_s) if "application" in groups else None,
        )


async def _database(ask: Questions | Absent, window_s: float) -> Database:
    if isinstance(ask, Absent):
        return Database(ask, ask, ask, ask, ask, ask, ask, ask, ask)
    return Database(
        active=await ask.fact(_active),
        recent_events=await ask.fact(lambda q: _recent(q, window_s)),
        queue_health=await ask.fact(lambda q: _queue_health(q, window_s)),
        failed=await ask.fact(_failed),
        tables=await ask.fact(_tables),
        indexes=await ask.fact(_indexes),
        growth=await ask.fact(lambda q: _growth(q, window_s)),
        queue=await ask.fact(_queue),
        slots=await ask.fact(_slots),
    )


async def _application(ask: Questions | Absent, window_s: float) -> Application:
    if isinstance(ask, Absent):
        return Application(ask, ask, ask)
    return Application(
        tasks=await ask.fact(lambda q: _task_times(q, window_s)),
        durations=await ask.fact(lambda q: _step_times(q, window_s)),
        steps=await ask.fact(lambda q: _steps(q, window_s)),
    )


def clock(moment: datetime | None) -> str:
    """A moment in UTC, for tables."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment is not None else "never"


async def _active(ask: Questions) -> dict[str, int]:
    return {row["status"]: row["processes"] for row in await ask.rows(_SQL["active_processes"])}


async def _recent(ask: Questions, window_s: float) -> Rows:
    return tuple(
        (row["event_type"], str(row["events"]), str(row["processes"]), clock(row["last_at"]))
        for row in await ask.rows(_SQL["recent_events"], window_s)
    )


async def _queue_health(ask: Questions, window_s: float) -> Rows:
    return tuple(
        (
            row["status"],
            str(row["priority"]),
            str(row["tasks"]),
            f"{row['mean_age_s']:.1f} s",
            f"{row['oldest_age_s']:.1f} s",
        )
        for row in await ask.rows(_SQL["queue_health"], window_s)
    )


async def _failed(ask: Questions) -> Rows:
    return tuple(
        (row["process_id"], row["step"] or "", row["message"][:200] or "(no message)", clock(row["updated_at"]))
        for row in await ask.rows(_SQL["failed_processes"])
    )


async def _tables(ask: Questions) -> tuple[TableSize, ...]:
    return tuple(TableSize(**row) for row in await ask.rows(_SQL["table_sizes"]))


async def _indexes(ask: Questions) -> tuple[Index, ...]:
    return tuple(Index(**row) for row in await ask.rows(_SQL["indexes"]))


async def _growth(ask: Questions, window_s: float) -> Growth:
    return Growth(**await ask.row(_SQL["growth"], window_s))


async def _queue(ask: Questions) -> Queue:
    return Queue(**await ask.row(_SQL["queue"]))


async def _slots(ask: Questions) -> tuple[LaggingSlot, ...]:
    found = []
    for row in await ask.rows(_SQL["slots"]):
        values = dict(row)
        lag = values.pop("lag_bytes")
        found.append(LaggingSlot(Slot(**values), None if lag is None else int(lag)))
    return tuple(found)


async def _task_times(ask: Questions, window_s: float) -> tuple[TaskTimes, ...]:
    return tuple(TaskTimes(**row) for row in await ask.rows(_SQL["tasks_ended"], window_s))


async def _step_times(ask: Questions, window_s: float) -> tuple[StepTimes, ...]:
    return tuple(StepTimes(**row) for row in await ask.rows(_SQL["step_durations"], window_s))


async def _steps(ask: Questions, window_s: float) -> tuple[StepOutcome, ...]:
    return tuple(StepOutcome(**row) for row in await ask.rows(_SQL["steps"], window_s))
