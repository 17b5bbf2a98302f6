"""One sample of the monitor: typed figures, each group present or Absent with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from toolkit.checks.facts import Answer, Fact, Slot


@dataclass(frozen=True)
class TableSize:
    """A table in Postgres' statistics; its counters run since the statistics were reset."""

    name: str
    bytes: int
    live: int
    dead: int
    inserted: int
    seq_scans: int
    seq_rows: int
    index_scans: int
    vacuumed_at: datetime | None


@dataclass(frozen=True)
class Index:
    """How often an index was used."""

    on_table: str
    name: str
    scans: int
    bytes: int


@dataclass(frozen=True)
class LaggingSlot:
    """A replication slot, and how many bytes of WAL its reader has not confirmed."""

    slot: Slot
    lag_bytes: int | None


@dataclass(frozen=True)
class Queue:
    """The queue's length now; `oldest_due_s` is None when no task is due."""

    pending: int
    running: int
    oldest_due_s: float | None


@dataclass(frozen=True)
class Growth:
    """What was appended to the event log within the window."""

    events: int
    bytes: int


Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Database:
    """Database performance: the migration guide's queries, and more."""

    active: Fact[Mapping[str, int]]
    recent_events: Fact[Rows]
    queue_health: Fact[Rows]
    failed: Fact[Rows]
    tables: Fact[tuple[TableSize, ...]]
    indexes: Fact[tuple[Index, ...]]
    growth: Fact[Growth]
    queue: Fact[Queue]
    slots: Fact[tuple[LaggingSlot, ...]]


@dataclass(frozen=True)
class TaskTimes:
    """Tasks of one type that ended within the window; seconds from claim to completion."""

    task_type: str
    completed: int
    failed: int
    p50_s: float | None
    p95_s: float | None


@dataclass(frozen=True)
class StepTimes:
    """How long a step took, over the processes that changed within the window."""

    step: str
    processes: int
    p50_s: float
    p95_s: float


@dataclass(frozen=True)
class StepOutcome:
    """Processes that began a step within the window: how many completed it, failed in it, or are still in it."""

    step: str
    began: int
    completed: int
    failed: int
    running: int

    @property
    def decided(self) -> int:
        """How many are no longer in it."""
        return max(self.began - self.running, self.completed)

    @property
    def completion_rate(self) -> float | None:
        """Completed / decided; None while none is decided."""
        return self.completed / self.decided if self.decided else None

    @property
    def error_rate(self) -> float | None:
        """Failed / decided; None while none is decided."""
        return min(self.failed / self.decided, 1.0) if self.decided else None


@dataclass(frozen=True)
class Application:
    """Application performance."""

    tasks: Fact[tuple[TaskTimes, ...]]
    durations: Fact[tuple[StepTimes, ...]]
    steps: Fact[tuple[StepOutcome, ...]]


@dataclass(frozen=True)
class Connections:
    """New connections: how many were tried and went live, and the milliseconds until then."""

    tried: int
    live: int
    live_after_ms: tuple[float, ...]
    trouble: str = ""


@dataclass(frozen=True)
class Delivered:
    """Events written by the probe, and the milliseconds from sending each write to the subscriber's callback."""

    written: int
    latencies_ms: tuple[float, ...]


@dataclass(frozen=True)
class Reconnections:
    """How often a kept subscription had to reconnect, and over how many seconds."""

    count: int
    watched_s: float


@dataclass(frozen=True)
class Realtime:
    """Realtime performance."""

    connections: Fact[Connections]
    delivered: Fact[Delivered]
    reconnections: Fact[Reconnections]
    health: Fact[Answer]
    server: Fact[Mapping[str, float]]


@dataclass(frozen=True)
class Sample:
    """All figures at one moment; `at_s` is of the monotonic clock. A group that was not requested is None."""

    at_s: float
    window_s: float
    database: Database | None
    realtime: Realtime | None
    application: Application | None
