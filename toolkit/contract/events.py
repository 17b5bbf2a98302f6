"""Every event type: who writes it, its category, and the keys its data must carry.

Two writers append to the log. The database trigger on `generated_articles_state` records what
changed in the row, whichever program changed it. The application records what the change means.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Category(StrEnum):
    """Values of `process_events.event_category`."""

    PROCESS_STATE = "process_state"
    GENERATION = "generation"
    USER_INTERACTION = "user_interaction"
    LIFECYCLE = "lifecycle"
    SYSTEM = "system"
    MANUAL = "manual"


class Source(StrEnum):
    """Values of `process_events.event_source` that this system writes."""

    TRIGGER = "database_trigger"
    WORKER = "background_task"
    API = "generation_service"
    DATABASE = "database"
    APPLICATION = "application"


class EventType(StrEnum):
    """Values of `process_events.event_type` that this system writes."""

    # the trigger
    PROCESS_CREATED = "process_created"
    STATUS_CHANGED = "status_changed"
    STEP_CHANGED = "step_changed"
    PROGRESS_UPDATED = "progress_updated"
    INPUT_REQUIRED = "input_required"
    INPUT_RESOLVED = "input_resolved"
    PROCESS_UPDATED = "process_updated"
    # the application
    GENERATION_STARTED = "generation_started"
    STEP_STARTED = "step_started"
    STEP_COMPLETED = "step_completed"
    RESEARCH_STARTED = "research_started"
    RESEARCH_PROGRESS = "research_progress"
    RESEARCH_COMPLETED = "research_completed"
    SECTION_STARTED = "section_writing_started"
    SECTION_COMPLETED = "section_completed"
    ALL_SECTIONS_COMPLETED = "all_sections_completed"
    IMAGE_PLACEHOLDERS_GENERATED = "image_placeholders_generated"
    USER_INPUT_REQUIRED = "user_input_required"
    USER_INPUT_REMINDER = "user_input_reminder"
    USER_INPUT_RESOLVED = "user_input_resolved"
    AUTO_SELECTION_MADE = "auto_selection_made"
    GENERATION_PAUSED = "generation_paused"
    GENERATION_RESUMED = "generation_resumed"
    GENERATION_CANCELLED = "generation_cancelled"
    GENERATION_COMPLETED = "generation_completed"
    GENERATION_ERROR = "generation_error"
    TASK_RETRY_SCHEDULED = "task_retry_scheduled"
    TASK_RESCUED = "task_rescued"
    TEST_EVENT = "test_event"


@dataclass(frozen=True)
class EventSpec:
    """`required` are the keys that every event of the type carries in `event_data`."""

    category: Category
    required: frozenset[str]


def _spec(category: Category, *required: str) -> EventSpec:
    return EventSpec(category, frozenset(required))


_ROW = ("process_id", "status", "current_step", "progress_percentage", "is_waiting_for_input", "changes")

EVENTS: dict[EventType, EventSpec] = {
    EventType.PROCESS_CREATED: _spec(Category.PROCESS_STATE, *_ROW, "user_id"),
    EventType.STATUS_CHANGED: _spec(Category.PROCESS_STATE, *_ROW),
    EventType.STEP_CHANGED: _spec(Category.PROCESS_STATE, *_ROW),
    EventType.PROGRESS_UPDATED: _spec(Category.PROCESS_STATE, *_ROW),
    EventType.INPUT_REQUIRED: _spec(Category.PROCESS_STATE, *_ROW, "input_type"),
    EventType.INPUT_RESOLVED: _spec(Category.PROCESS_STATE, *_ROW),
    EventType.PROCESS_UPDATED: _spec(Category.PROCESS_STATE, *_ROW),
    EventType.GENERATION_STARTED: _spec(Category.GENERATION, "task_id", "current_step", "message"),
    EventType.STEP_STARTED: _spec(Category.GENERATION, "step_name", "message", "task_id"),
    EventType.STEP_COMPLETED: _spec(Category.GENERATION, "step_name", "next_step", "message", "task_id"),
    EventType.RESEARCH_STARTED: _spec(Category.GENERATION, "message", "total_queries"),
    EventType.RESEARCH_PROGRESS: _spec(
        Category.GENERATION, "query", "completed_queries", "total_queries", "progress_percentage"
    ),
    EventType.RESEARCH_COMPLETED: _spec(Category.GENERATION, "successful_queries", "total_queries", "total_results"),
    EventType.SECTION_STARTED: _spec(Category.GENERATION, "section_index", "section_heading", "total_sections"),
    EventType.SECTION_COMPLETED: _spec(
        Category.GENERATION,
        "section_index",
        "section_heading",
        "section_content",
        "total_sections",
        "progress_percentage",
        "image_placeholders",
    ),
    EventType.ALL_SECTIONS_COMPLETED: _spec(Category.GENERATION, "total_sections", "next_step"),
    EventType.IMAGE_PLACEHOLDERS_GENERATED: _spec(Category.GENERATION, "placeholders"),
    EventType.USER_INPUT_REQUIRED: _spec(Category.USER_INTERACTION, "input_type", "data", "timeout_at"),
    EventType.USER_INPUT_REMINDER: _spec(Category.USER_INTERACTION, "input_type", "timeout_at"),
    EventType.USER_INPUT_RESOLVED: _spec(Category.USER_INTERACTION, "input_type", "user_response", "resolved_at"),
    EventType.AUTO_SELECTION_MADE: _spec(Category.USER_INTERACTION, "input_type", "selection", "strategy"),
    EventType.GENERATION_PAUSED: _spec(Category.LIFECYCLE, "message", "reason"),
    EventType.GENERATION_RESUMED: _spec(Category.LIFECYCLE, "message", "resume_step"),
    EventType.GENERATION_CANCELLED: _spec(Category.LIFECYCLE, "message"),
    EventType.GENERATION_COMPLETED: _spec(Category.GENERATION, "title", "article_id", "message"),
    EventType.GENERATION_ERROR: _spec(Category.GENERATION, "error_message", "step_name", "message"),
    EventType.TASK_RETRY_SCHEDULED: _spec(Category.SYSTEM, "task_id", "retry_count", "scheduled_for", "error_message"),
    EventType.TASK_RESCUED: _spec(Category.SYSTEM, "task_id", "rescue_count"),
    EventType.TEST_EVENT: _spec(Category.MANUAL, "message"),
}

# After one of these a process has ended; only an error may be followed by `generation_resumed`.
TERMINAL = frozenset(
    {EventType.GENERATION_COMPLETED, EventType.GENERATION_CANCELLED, EventType.GENERATION_ERROR},
)


def missing_keys(event_type: str, data: dict[str, object]) -> frozenset[str]:
    """Required keys that `data` lacks; empty for a type this system does not define."""
    try:
        spec = EVENTS[EventType(event_type)]
    except ValueError:
        return frozenset()
    return spec.required - data.keys()
