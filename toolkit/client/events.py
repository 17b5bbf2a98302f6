"""Events and pages of the event log, as a client reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Via = Literal["live", "backfill"]


@dataclass(frozen=True)
class ProcessEvent:
    """One row of `process_events`. `via`: how it was received; `received_at`: when, in seconds of the monotonic
    clock."""

    sequence: int
    id: str
    type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    created_at: str = ""
    process_id: str = ""
    category: str = ""
    source: str = ""
    via: Via = "backfill"
    received_at: float = 0.0


@dataclass(frozen=True)
class EventPage:
    """Consecutive events after the sequence that was asked for, ascending.

    `last_sequence`: the highest ever given to an event of the process; `oldest_sequence`: the lowest still stored (0:
    none). None where the server does not tell.
    """

    events: tuple[ProcessEvent, ...]
    last_sequence: int | None = None
    oldest_sequence: int | None = None


def event_from_row(row: Mapping[str, Any], *, via: Via, received_at: float) -> ProcessEvent:
    """A row of `process_events`, from HTTP or from a change message. Raises ValueError naming what it lacks."""
    missing = [name for name in ("id", "event_type", "event_sequence") if row.get(name) is None]
    if missing:
        raise ValueError(f"an event lacks {', '.join(missing)}; it has {', '.join(sorted(row)) or 'nothing'}")
    data = row.get("event_data")
    return ProcessEvent(
        sequence=int(row["event_sequence"]),
        id=str(row["id"]),
        type=str(row["event_type"]),
        # Others may have written what is no object, where nothing refused it.
        data=data if isinstance(data, Mapping) else {} if data is None else {"value": data},
        created_at=str(row.get("created_at") or ""),
        process_id=str(row.get("process_id") or ""),
        category=str(row.get("event_category") or ""),
        source=str(row.get("event_source") or ""),
        via=via,
        received_at=received_at,
    )
