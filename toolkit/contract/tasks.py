"""The background tasks of a process: types, statuses and priorities (larger first)."""

from __future__ import annotations

from enum import StrEnum

TASK_CHANNEL = "background_tasks"  # NOTIFY channel; the payload is empty, the table is the queue


class TaskType(StrEnum):
    """Values of `background_tasks.task_type` that this system writes."""

    START = "generation_start"
    RESUME = "generation_resume"
    CONTINUE = "generation_continue"


class TaskStatus(StrEnum):
    """Values of `background_tasks.status`."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"


# Work that has begun comes before new work, so that a busy system finishes articles.
PRIORITY: dict[TaskType, int] = {TaskType.START: 5, TaskType.RESUME: 6, TaskType.CONTINUE: 7}


def realtime_channel(process_id: str) -> str:
    """The Realtime channel name of a process."""
    return f"process_{process_id}"
