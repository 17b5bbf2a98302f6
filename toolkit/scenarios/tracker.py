"""Tracks one process from the events seen so far, and decides whether a condition holds. Pure.

Independent of `toolkit.client.state` on purpose: the scenarios examine that library.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from toolkit.contract.events import EventType
from toolkit.contract.statuses import ENDED
from toolkit.scenarios.model.conditions import Condition

_ENDED = {status.value for status in ENDED}


class Tracker:
    """The state of one process: it takes events in order, and answers conditions."""

    def __init__(self) -> None:
        self.status: str | None = None
        self.step: str | None = None
        self.open_prompt: str | None = None
        self.prompts_put: Counter[str] = Counter()
        self.article_id: str | None = None
        self.last_sequence = 0
        self.entered: set[str] = set()
        self.types: Counter[str] = Counter()
        self.live = False
        self.times_live = 0
        self.caught_up = False
        self._seen: list[tuple[str, Mapping[str, Any]]] = []

    @property
    def ended(self) -> bool:
        """Whether the process is completed, cancelled or in error."""
        return self.status in _ENDED

    def event(self, sequence: int, kind: str, data: Mapping[str, Any]) -> None:
        """Take one event of the log."""
        self.last_sequence = max(self.last_sequence, sequence)
        self._remember(kind, data)
        if "status" in data and kind in _ROW_EVENTS:
            self.status = str(data["status"])
            if self.status != "user_input_required":
                self.open_prompt = None
        if isinstance(data.get("current_step"), str) and kind in _ROW_EVENTS:
            self._enter(str(data["current_step"]))
        if kind == EventType.USER_INPUT_REQUIRED:
            self.status = "user_input_required"
            self._open(str(data.get("input_type")))
        elif kind == EventType.GENERATION_COMPLETED:
            self.article_id = str(data["article_id"]) if data.get("article_id") else None

    def connection(self, *, live: bool) -> None:
        """Note that the application's connection became live, or was lost."""
        self.times_live += live and not self.live
        self.live = live

    def socket_frame(self, payload: Mapping[str, Any]) -> str:
        """Take one frame of the legacy WebSocket; returns its kind, inferred from its fields."""
        kind = socket_kind(payload)
        self._remember(kind, payload)
        if kind == "status":
            self.status = "in_progress"
            self.open_prompt = None
            self._enter(str(payload["step"]))
        elif kind == "prompt":
            self.status = "user_input_required"
            self._open(str(payload["request_type"]))
        elif kind == "final":
            self.status = "completed"
            self._enter("completed")
            self.article_id = str(payload["article_id"]) if payload.get("article_id") else None
        elif kind == "error":
            self.status = "error"
        return kind

    def holds(self, condition: Condition, where: Mapping[str, Any] | None = None) -> bool:
        """Whether the condition is true now (a status, an open prompt, live) or has ever been true (a step, an
        event)."""
        match condition.kind:
            case "is":
                if condition.what == "live":
                    return self.live and self.times_live >= condition.times
                if condition.what == "caught up":
                    return self.caught_up
                return self.ended if condition.what == "ended" else self.status == condition.what
            case "waits":
                return self.open_prompt == condition.what
            case "enters":
                return condition.what in self.entered
            case "event":
                if condition.what.isdigit():
                    return self.last_sequence >= int(condition.what)
                if not where:
                    return self.types[condition.what] >= condition.times
                fitting = [
                    data
                    for kind, data in self._seen
                    if kind == condition.what and all(data.get(key) == value for key, value in where.items())
                ]
                return len(fitting) >= condition.times

    def hopeless(self, condition: Condition) -> str | None:
        """Why the condition cannot come true any more unless a user acts, or None."""
        if self.ended and not (condition.kind == "is" and condition.what in ("live", "caught up")):
            return f"it is {self.status}"
        return None

    def forget(self) -> None:
        """Forget where the process stands now; what happened stays known."""
        self.status = None
        self.open_prompt = None
        self.connection(live=False)

    @property
    def words(self) -> str:
        """Where the process stands, in words for a message."""
        parts = [f"status {self.status or 'unknown'}", f"step {self.step or 'unknown'}"]
        if self.open_prompt:
            parts.append(f"waiting for {self.open_prompt}")
        parts.append(f"last sequence {self.last_sequence}" if self.last_sequence else "no event seen")
        return ", ".join(parts)

    def _remember(self, kind: str, data: Mapping[str, Any]) -> None:
        self.types[kind] += 1
        self._seen.append((kind, data))

    def _enter(self, step: str) -> None:
        self.step = step
        self.entered.add(step)

    def _open(self, input_type: str) -> None:
        self.open_prompt = input_type
        self.prompts_put[input_type] += 1


_ROW_EVENTS = frozenset(
    {
        EventType.PROCESS_CREATED,
        EventType.STATUS_CHANGED,
        EventType.STEP_CHANGED,
        EventType.PROGRESS_UPDATED,
        EventType.INPUT_REQUIRED,
        EventType.INPUT_RESOLVED,
        EventType.PROCESS_UPDATED,
    }
)


def socket_kind(payload: Mapping[str, Any]) -> str:
    """The kind of a legacy WebSocket frame, inferred from its fields, as its clients had to."""
    for field, kind in (
        ("request_type", "prompt"),
        ("error_message", "error"),
        ("final_html_content", "final"),
        ("section_index", "section"),
        ("query_index", "research"),
        ("step", "status"),
    ):
        if field in payload:
            return kind
    return "other"
