"""Typed answers of the generation API. Every `read` raises KeyError, TypeError or ValueError for a wrong shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class StartResult:
    """A process was started; its events come through `realtime_channel` and the `table` and `filter` named."""

    process_id: str
    realtime_channel: str
    status: str
    message: str
    subscription_info: Json

    @classmethod
    def read(cls, body: Json) -> StartResult:
        """From the body of a 201."""
        return cls(
            str(body["process_id"]),
            str(body["realtime_channel"]),
            str(body["status"]),
            str(body.get("message", "")),
            dict(body["subscription_info"]),
        )


@dataclass(frozen=True)
class ActionResult:
    """An answer, pause, resume or cancellation was accepted."""

    process_id: str
    status: str
    message: str
    input_type: str | None = None
    realtime_channel: str | None = None

    @classmethod
    def read(cls, body: Json) -> ActionResult:
        """From the body of a 200."""
        return cls(
            str(body["process_id"]),
            str(body["status"]),
            str(body.get("message", "")),
            body.get("input_type"),
            body.get("realtime_channel"),
        )


@dataclass(frozen=True)
class ProcessState:
    """The state row of a process; `raw` is the whole answer."""

    process_id: str
    status: str
    current_step: str | None
    progress_percentage: int
    is_waiting_for_input: bool
    input_type: str | None
    prompt: Json | None
    article_id: str | None
    error_message: str | None
    last_event_sequence: int
    raw: Json

    @classmethod
    def read(cls, body: Json) -> ProcessState:
        """From the body of a 200."""
        return cls(
            process_id=str(body["process_id"]),
            status=str(body["status"]),
            current_step=body.get("current_step"),
            progress_percentage=int(body.get("progress_percentage") or 0),
            is_waiting_for_input=bool(body["is_waiting_for_input"]),
            input_type=body.get("input_type"),
            prompt=body.get("prompt"),
            article_id=body.get("article_id"),
            error_message=body.get("error_message"),
            last_event_sequence=int(body.get("last_event_sequence") or 0),
            raw=body,
        )


@dataclass(frozen=True)
class RealtimeInfo:
    """How to subscribe to a process that runs."""

    process_id: str
    realtime_channel: str
    subscription_info: Json
    current_status: str
    last_event_sequence: int

    @classmethod
    def read(cls, body: Json) -> RealtimeInfo:
        """From the body of a 200."""
        return cls(
            str(body["process_id"]),
            str(body["realtime_channel"]),
            dict(body["subscription_info"]),
            str(body["current_status"]),
            int(body.get("last_event_sequence") or 0),
        )


@dataclass(frozen=True)
class ProcessList:
    """One page of the user's processes; `next_cursor` leads to the next, None at the end."""

    processes: tuple[Json, ...]
    next_cursor: str | None

    @classmethod
    def read(cls, body: Json) -> ProcessList:
        """From the body of a 200."""
        return cls(tuple(body["processes"]), body.get("next_cursor"))


@dataclass(frozen=True)
class Article:
    """A finished article; `raw` is the whole answer."""

    id: str
    title: str
    content: str
    generation_process_id: str | None
    raw: Json

    @classmethod
    def read(cls, body: Json) -> Article:
        """From the body of a 200."""
        return cls(str(body["id"]), str(body["title"]), str(body["content"]), body.get("generation_process_id"), body)


@dataclass(frozen=True)
class TestEvent:
    """An event that was written on request."""

    __test__ = False  # keeps pytest from collecting it as a test class

    event_id: str
    event_sequence: int

    @classmethod
    def read(cls, body: Json) -> TestEvent:
        """From the body of a 201."""
        return cls(str(body["event_id"]), int(body["event_sequence"]))
