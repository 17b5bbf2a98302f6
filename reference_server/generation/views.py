"""The results of the use cases: frozen values from which the API makes its bodies by the names of their fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from reference_server.generation.context import ArticleContext
from toolkit.contract.prompts import InputType
from toolkit.contract.statuses import Status
from toolkit.contract.steps import Step
from toolkit.contract.tasks import realtime_channel


@dataclass(frozen=True)
class StartedProcess:
    """`replayed`: the idempotency key was known and nothing new was started."""

    process_id: UUID
    replayed: bool

    @property
    def realtime_channel(self) -> str:
        return realtime_channel(str(self.process_id))


@dataclass(frozen=True)
class OpenPrompt:
    """`data` is that of `user_input_required`: {"personas": […]}, {"themes": […]}, {"plan": …} or {"outline": …}."""

    input_type: InputType
    data: dict[str, Any]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class ProcessView:
    """`is_waiting_for_input` tells whether an answer would be accepted now: false while paused at a gate."""

    process_id: UUID
    status: Status
    current_step: Step | str
    executing_step: str | None
    progress_percentage: int
    is_waiting_for_input: bool
    input_type: str | None
    prompt: OpenPrompt | None
    user_input_timeout: datetime | None
    image_mode: bool
    image_settings: dict[str, Any]
    error_message: str | None
    article_id: UUID | None
    realtime_channel: str
    last_event_sequence: int
    created_at: datetime
    updated_at: datetime
    generated_content: dict[str, Any] | None
    transport: str
    resume_from_step: str | None
    context: ArticleContext | None


@dataclass(frozen=True)
class ProcessSummary:
    process_id: UUID
    status: Status
    current_step: str
    progress_percentage: int
    is_waiting_for_input: bool
    input_type: str | None
    title: str | None
    keywords: tuple[str, ...]
    error_message: str | None
    article_id: UUID | None
    organization_id: UUID | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class ProcessPage:
    """Newest first; `next_cursor` is opaque, None on the last page."""

    processes: tuple[ProcessSummary, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class AnswerResult:
    process_id: UUID
    input_type: str
    next_step: str
    regenerates: bool
    replayed: bool


@dataclass(frozen=True)
class ControlResult:
    """`changed` is False when the process already was as asked."""

    process_id: UUID
    status: Status
    realtime_channel: str
    changed: bool = True


@dataclass(frozen=True)
class StoredEvent:
    id: UUID
    process_id: UUID
    event_type: str
    event_data: dict[str, Any]
    event_sequence: int
    event_category: str
    event_source: str
    created_at: datetime


@dataclass(frozen=True)
class EventPage:
    """Ascending; `last_sequence` is the highest ever allocated, `oldest_sequence` the lowest still stored, or 0."""

    events: tuple[StoredEvent, ...]
    last_sequence: int
    oldest_sequence: int


@dataclass(frozen=True)
class ArticleView:
    id: UUID
    user_id: str
    organization_id: UUID | None
    is_member: bool
    generation_process_id: UUID | None
    title: str
    content: str
    keywords: tuple[str, ...]
    target_audience: str | None
    status: str
    created_at: datetime
    updated_at: datetime
    image_placeholders: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class ArticlePage:
    """Newest first, without `content`."""

    articles: tuple[ArticleView, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class WorkerSeen:
    """A worker that holds tasks or is connected; one that holds tasks and is not connected has died.

    `last_heartbeat` is None without tasks, since there is no lease to renew. `listening`: new tasks are announced to
    it, otherwise it polls. The host name of an idle worker is taken from its id, which shortens it.
    """

    worker_id: str
    hostname: str | None
    running: int
    last_heartbeat: datetime | None
    connected: bool
    listening: bool


@dataclass(frozen=True)
class QueueStatus:
    """`queue` counts tasks by status, `by_type` by type and status; `expired_leases` are running tasks whose
    worker has been silent for longer than the lease."""

    queue: dict[str, int]
    by_type: dict[str, dict[str, int]]
    oldest_pending_seconds: float
    expired_leases: int
    workers: tuple[WorkerSeen, ...] = field(default_factory=tuple)
