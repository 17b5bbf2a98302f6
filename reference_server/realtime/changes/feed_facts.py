"""The condition of a change feed, as health checks and metrics read it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

FeedState = Literal["starting", "live", "lost", "stopped"]


@dataclass(frozen=True, slots=True)
class FeedFacts:
    """The feed's condition, for health checks and metrics. Counters are since its start.

    `lag_s` is the age of the oldest change that waits to be delivered (0 when none waits),
    `latency_s` the time from commit to delivery of the latest batch.
    """

    state: FeedState
    last_commit_lsn: str | None
    last_commit_at: datetime | None
    reconnects: int
    changes_seen: int
    deliveries: int
    failures: int
    subscriptions: int
    queued: int
    lag_s: float
    latency_s: float
