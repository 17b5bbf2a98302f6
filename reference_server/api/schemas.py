"""The bodies of requests and answers of the HTTP API. Unknown fields of a request are refused."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeAlias
from uuid import UUID

from fastapi.openapi.models import Example
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

from reference_server.generation.content import GenerationRequest
from toolkit.contract.prompts import InputType, ResponseType
from toolkit.contract.requests import AgeGroup, AutoStrategy, PersonaType, Transport
from toolkit.contract.statuses import Status
from toolkit.contract.steps import Flow

MAX_DEPTH = 20

ShortText: TypeAlias = Annotated[
    str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=200)
]
Text: TypeAlias = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=4000)]
Count: TypeAlias = Annotated[StrictInt, Field(ge=1, le=10)]


def storable(value: Any, depth: int = 0) -> Any:
    """Return `value` when Postgres can store it as jsonb. Raises ValueError that says what it cannot store."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("text must not contain the character U+0000")
        if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            raise ValueError("text must be valid Unicode; it contains half of a surrogate pair")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("numbers must be finite")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        raise ValueError("whole numbers must fit into 64 bits")
    elif isinstance(value, dict):
        for key, item in value.items():
            storable(key, depth)
            storable(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            storable(item, depth + 1)
    return value


class Body(BaseModel):
    """Every request body. Text is checked here and nowhere behind it: Postgres can store all of it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        return storable(value)


class StartBody(Body):
    """What an article is to be about; only the keywords are needed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"initial_keywords": ["test", "article"], "target_age_group": "30代"}]}
    )

    initial_keywords: list[ShortText] = Field(min_length=1, max_length=20)
    target_age_group: AgeGroup | None = None
    persona_type: PersonaType | None = None
    custom_persona: Text | None = Field(None, description="Needed when persona_type is その他.")
    target_length: Annotated[StrictInt, Field(ge=100, le=50_000)] | None = Field(None, description="In characters.")
    num_theme_proposals: Count = 3
    num_research_queries: Count = 3
    num_persona_examples: Count = 3
    company_name: ShortText | None = None
    company_description: Text | None = None
    company_style_guide: Text | None = None
    image_mode: StrictBool = False
    image_settings: dict[str, Any] = Field(default_factory=dict, max_length=50)
    style_template_id: UUID | None = None
    flow_type: Flow = Flow.RESEARCH_FIRST
    enable_final_editing: StrictBool = True
    auto_mode: StrictBool = False
    auto_selection_strategy: AutoStrategy = AutoStrategy.FIRST

    @model_validator(mode="after")
    def _custom_persona_given(self) -> Self:
        if self.persona_type is PersonaType.OTHER and self.custom_persona is None:
            raise ValueError(f"custom_persona is needed when persona_type is {PersonaType.OTHER}")
        return self

    def request(self) -> GenerationRequest:
        return _REQUEST.validate_python(self.model_dump(mode="json"))


_REQUEST = TypeAdapter(GenerationRequest)


class UserInputBody(Body):
    """An answer to the open prompt. What `payload` holds depends on `response_type`; see the examples."""

    response_type: ResponseType
    payload: dict[str, Any] = Field(default_factory=dict)


USER_INPUT_EXAMPLES: dict[str, Example] = {
    name: {"summary": summary, "value": {"response_type": name, "payload": payload}}
    for name, summary, payload in (
        ("select_persona", "Choose a persona by its id", {"selected_id": 0}),
        ("select_theme", "Choose a theme by its position", {"selected_index": 0}),
        ("approve_plan", "Approve the research plan; false makes it anew", {"approved": True}),
        ("approve_outline", "Approve the outline; false makes it anew", {"approved": True}),
        ("regenerate", "Make the proposals anew", {}),
        (
            "edit_and_proceed",
            "Replace what was proposed, whatever the prompt, and go on",
            {"edited_content": {"title": "A title", "description": "What it is about", "keywords": ["test"]}},
        ),
        ("edit_persona", "Write the persona", {"edited_persona": {"description": "A reader in their thirties"}}),
        (
            "edit_theme",
            "Write the theme",
            {"edited_theme": {"title": "A title", "description": "What it is about", "keywords": ["test"]}},
        ),
        ("edit_plan", "Write the plan", {"edited_plan": {"topic": "A topic", "queries": ["What is asked"]}}),
        (
            "edit_outline",
            "Write the outline",
            {"edited_outline": {"title": "A title", "suggested_tone": "calm", "sections": [{"heading": "One"}]}},
        ),
    )
}


class TestEventBody(Body):
    __test__ = False  # not a test class
    message: Annotated[str, StringConstraints(strict=True, max_length=1000)] = "Test event"


class TransportBody(Body):
    transport: Transport


# -- answers of the API ---------------------------------------------------------------------------


class Answer(BaseModel):
    """Every body of an answer; the views of the use cases become answers by the names of their fields."""

    model_config = ConfigDict(from_attributes=True)


class SubscriptionInfo(Answer):
    table: str = "process_events"
    filter: str = Field(examples=["process_id=eq.7b1d0b0e-5b0e-4a57-9a43-0c9c0c1f1a11"])
    channel: str


class Started(Answer):
    process_id: UUID
    realtime_channel: str
    status: Literal["started"] = "started"
    message: str
    subscription_info: SubscriptionInfo


class OpenPrompt(Answer):
    """What the open prompt proposes, and the response types it takes."""

    input_type: InputType
    data: dict[str, Any]
    answers: list[str]


class ProcessState(Answer):
    process_id: UUID
    status: Status
    current_step: str
    executing_step: str | None
    progress_percentage: int
    is_waiting_for_input: bool
    input_type: InputType | str | None  # rows of older programs hold others
    prompt: OpenPrompt | None
    user_input_timeout: datetime | None
    image_mode: bool
    image_settings: dict[str, Any]
    error_message: str | None
    article_id: UUID | None
    realtime_channel: str | None
    last_event_sequence: int
    created_at: datetime
    updated_at: datetime
    generated_content: dict[str, Any] | None
    transport: Literal["websocket", "realtime"]


class ProcessSummary(Answer):
    process_id: UUID
    status: Status
    current_step: str
    progress_percentage: int
    is_waiting_for_input: bool
    input_type: InputType | str | None
    error_message: str | None
    article_id: UUID | None
    organization_id: UUID | None
    title: str | None
    keywords: list[str]
    created_at: datetime
    updated_at: datetime


class ProcessPage(Answer):
    processes: list[ProcessSummary]
    next_cursor: str | None


class InputReceived(Answer):
    process_id: UUID
    status: Literal["input_received"] = "input_received"
    message: str
    input_type: InputType


class Controlled(Answer):
    process_id: UUID
    status: str = Field(examples=["paused"])
    message: str


class Resumed(Controlled):
    realtime_channel: str


class Event(Answer):
    id: UUID
    process_id: UUID
    event_type: str
    event_data: dict[str, Any]
    event_sequence: int
    event_category: str
    event_source: str
    created_at: datetime


class Acknowledged(Answer):
    event_id: UUID
    acknowledged: Literal[True] = True


class TestEventCreated(Answer):
    __test__ = False
    event_id: UUID
    event_sequence: int


class RealtimeInfo(Answer):
    process_id: UUID
    realtime_channel: str
    subscription_info: SubscriptionInfo
    current_status: Status
    last_event_sequence: int
    last_updated: datetime


class Article(Answer):
    id: UUID
    user_id: str
    organization_id: UUID | None
    generation_process_id: UUID | None
    title: str
    content: str
    keywords: list[str]
    target_audience: str | None
    status: str
    image_placeholders: list[dict[str, Any]]
    created_at: datetime
    updated_at: datetime


class ArticleSummary(Answer):
    id: UUID
    title: str
    keywords: list[str]
    status: str
    generation_process_id: UUID | None
    created_at: datetime
    updated_at: datetime


class ArticlePage(Answer):
    articles: list[ArticleSummary]
    next_cursor: str | None


class TaskStatus(Answer):
    queue: dict[str, int] = Field(description="Tasks by status.")
    oldest_pending_seconds: float | None
    by_type: dict[str, dict[str, int]]
    workers: list[dict[str, Any]] = Field(
        description="Those that hold tasks and those that are connected, each {worker_id, hostname, running, "
        "last_heartbeat, connected, listening}; only for the service role. Users see their own processes' tasks alone."
    )
    expired_leases: int


class TransportState(Answer):
    transport: Transport


class ErrorDetail(BaseModel):
    code: str
    message: str
    remedy: str
    details: dict[str, Any] | list[Any]
    request_id: str


class ErrorAnswer(BaseModel):
    """Every error, whatever its status."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "code": "not_waiting_for_input",
                        "message": "The process is in_progress and has no open prompt.",
                        "remedy": "Wait for the next user_input_required event; a prompt takes one answer.",
                        "details": {},
                        "request_id": "0b9c2c6e-3a52-4a0b-8f0e-6f3c0f7f2d55",
                    }
                }
            ]
        }
    )
    error: ErrorDetail
