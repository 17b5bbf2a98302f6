"""The observable state of a generation: a pure fold of its events, with the names of the guide's hook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from toolkit.client.events import ProcessEvent
from toolkit.contract.events import TERMINAL, EventType
from toolkit.contract.statuses import ENDED, Status
from toolkit.contract.steps import REGENERATES, STEPS, Kind, Step

Json = Mapping[str, Any]

_PROPOSALS = {"personas": "personas", "themes": "themes", "plan": "research_plan", "outline": "outline"}
# Events that the row's trigger records; each carries columns of the row.
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
_KNOWN = frozenset(EventType)


@dataclass(frozen=True)
class Section:
    """A written section."""

    index: int
    heading: str
    content: str


@dataclass(frozen=True)
class GenerationState:
    """What a user interface shows. Immutable: `apply` returns the next state.

    `current_step` moves forward only, unless proposals are made anew or the process is resumed. `research_progress` and
    `sections_progress` are (done, total). `unknown_events` counts events of types that this version does not know; they
    change nothing else. `prompt_sequence` is the sequence of the last prompt's event: it distinguishes a prompt that is
    put again from one that is still open.
    """

    process_id: str | None = None
    status: str | None = None
    current_step: str | None = None
    steps_seen: tuple[str, ...] = ()
    progress_percentage: int = 0
    is_waiting_for_input: bool = False
    input_type: str | None = None
    input_timeout_at: str | None = None
    prompt_sequence: int = 0
    personas: tuple[Any, ...] = ()
    themes: tuple[Any, ...] = ()
    research_plan: Json | None = None
    outline: Json | None = None
    research_progress: tuple[int, int] | None = None
    sections_progress: tuple[int, int] | None = None
    completed_sections: tuple[Section, ...] = ()
    image_placeholders: tuple[Any, ...] = ()
    final_article: Json | None = None
    article_id: str | None = None
    error: str | None = None
    last_sequence: int = 0
    unknown_events: int = 0
    may_step_back: bool = field(default=False, repr=False)
    narrated: bool = field(default=False, repr=False)
    ending_told: bool = field(default=False, repr=False)

    @property
    def is_finished(self) -> bool:
        """Whether the process is completed, cancelled or stopped by an error, and its last event was applied.

        The trigger's event of the end comes first, and the application's, with the article or the error, after it. A
        process of the legacy transport has only the trigger's events, so there its status decides.
        """
        return self.status in ENDED and (self.ending_told or not self.narrated)

    @property
    def is_paused(self) -> bool:
        """Whether the process waits for a resume."""
        return self.status == Status.PAUSED

    def apply(self, event: ProcessEvent) -> GenerationState:
        """The state after `event`, the one after `last_sequence`; an older event changes nothing."""
        if event.sequence <= self.last_sequence:
            return self
        after = replace(self, last_sequence=event.sequence, process_id=self.process_id or event.process_id or None)
        if event.type not in _KNOWN:
            return replace(after, unknown_events=after.unknown_events + 1)
        kind, data = EventType(event.type), event.data
        if kind in _ROW_EVENTS:
            return _row(after, data)
        handler = _HANDLERS.get(kind)
        if handler is None:
            return after
        return replace(handler(after, data), narrated=True, ending_told=kind in TERMINAL)


def fold(events: Iterable[ProcessEvent], state: GenerationState | None = None) -> GenerationState:
    """The state after all of `events`."""
    state = state or GenerationState()
    for event in events:
        state = state.apply(event)
    return state


# -- steps ------------------------------------------------------------------------------------


def _step(state: GenerationState, name: object) -> GenerationState:
    if not isinstance(name, str) or not name or name == state.current_step:
        return state
    back = _rank(name) < _rank(state.current_step)
    if back and not (state.may_step_back or _regenerates(state, name) or _other_flow(state, name)):
        return state
    return replace(state, current_step=name, steps_seen=(*state.steps_seen, name), may_step_back=False)


def _rank(name: str | None) -> int:
    try:
        info = STEPS[Step(name or "")]
    except ValueError:
        return -1
    return 1000 if info.kind is Kind.END else info.progress


def _regenerates(state: GenerationState, name: str) -> bool:
    return any(state.current_step == gate and name == maker for gate, maker in REGENERATES.items())


def _other_flow(state: GenerationState, name: str) -> bool:
    """Whether a step is forward in the outline-first flow, which visits the outline before the research."""
    return (
        name not in state.steps_seen
        and state.current_step
        in {
            Step.OUTLINE_GENERATED,
            Step.OUTLINE_APPROVED,
            Step.OUTLINE_GENERATING,
        }
        and name in {Step.RESEARCH_PLANNING, Step.RESEARCH_PLAN_GENERATED, Step.RESEARCHING}
    )


# -- what each event means --------------------------------------------------------------------


def _row(state: GenerationState, data: Json) -> GenerationState:
    status = data.get("status")
    if isinstance(status, str):
        reopened = status == Status.RESUMING or (state.status == Status.PAUSED and status != Status.PAUSED)
        state = replace(
            state,
            status=status,
            may_step_back=state.may_step_back or reopened,
            error=None if reopened else state.error,
            ending_told=state.ending_told and status in ENDED,
        )
    progress = data.get("progress_percentage")
    if isinstance(progress, int):
        state = replace(state, progress_percentage=progress)
    if "is_waiting_for_input" in data:
        waiting = bool(data["is_waiting_for_input"])
        state = replace(
            state,
            is_waiting_for_input=waiting,
            input_type=(data.get("input_type") or state.input_type) if waiting else None,
        )
    return _step(state, data.get("current_step"))


def _started(state: GenerationState, data: Json) -> GenerationState:
    return _step(replace(state, status=state.status or Status.IN_PROGRESS), data.get("current_step"))


def _step_started(state: GenerationState, data: Json) -> GenerationState:
    return _step(state, data.get("step_name"))


def _input_required(state: GenerationState, data: Json) -> GenerationState:
    proposals = data.get("data")
    found: dict[str, Any] = {
        name: tuple(proposals[key]) if name in {"personas", "themes"} else proposals[key]
        for key, name in _PROPOSALS.items()
        if isinstance(proposals, Mapping) and proposals.get(key) is not None
    }
    return replace(
        state,
        is_waiting_for_input=True,
        input_type=data.get("input_type"),
        input_timeout_at=data.get("timeout_at"),
        prompt_sequence=state.last_sequence,
        **found,
    )


def _input_resolved(state: GenerationState, data: Json) -> GenerationState:
    response = data.get("user_response")
    kind = response.get("response_type") if isinstance(response, Mapping) else None
    payload = response.get("payload") if isinstance(response, Mapping) else None
    refused = isinstance(payload, Mapping) and payload.get("approved") is False
    again = kind == "regenerate" or refused
    return replace(
        state,
        is_waiting_for_input=False,
        input_type=None,
        input_timeout_at=None,
        may_step_back=state.may_step_back or again,
    )


def _research_started(state: GenerationState, data: Json) -> GenerationState:
    return replace(state, research_progress=(0, int(data.get("total_queries") or 0)))


def _research_progress(state: GenerationState, data: Json) -> GenerationState:
    return replace(
        state, research_progress=(int(data.get("completed_queries") or 0), int(data.get("total_queries") or 0))
    )


def _section_started(state: GenerationState, data: Json) -> GenerationState:
    return replace(state, sections_progress=(len(state.completed_sections), int(data.get("total_sections") or 0)))


def _section_completed(state: GenerationState, data: Json) -> GenerationState:
    section = Section(
        int(data.get("section_index") or 0),
        str(data.get("section_heading") or ""),
        str(data.get("section_content") or ""),
    )
    # A section that is written again replaces the earlier one.
    others = (other for other in state.completed_sections if other.index != section.index)
    sections = tuple(sorted((*others, section), key=lambda one: one.index))
    return replace(
        _placeholders(state, data.get("image_placeholders")),
        completed_sections=sections,
        sections_progress=(len(sections), int(data.get("total_sections") or 0)),
    )


def _images(state: GenerationState, data: Json) -> GenerationState:
    return _placeholders(state, data.get("placeholders"))


def _placeholders(state: GenerationState, found: object) -> GenerationState:
    if not isinstance(found, list):
        return state
    by_id = {_placeholder_id(one): one for one in (*state.image_placeholders, *found)}
    return replace(state, image_placeholders=tuple(by_id.values()))


def _placeholder_id(placeholder: object) -> str:
    return str(placeholder.get("placeholder_id") if isinstance(placeholder, Mapping) else placeholder)


def _resumed(state: GenerationState, data: Json) -> GenerationState:
    return _step(replace(state, error=None, may_step_back=True), data.get("resume_step"))


def _paused(state: GenerationState, _: Json) -> GenerationState:
    return replace(state, status=Status.PAUSED, is_waiting_for_input=False)


def _cancelled(state: GenerationState, _: Json) -> GenerationState:
    return replace(state, status=Status.CANCELLED, is_waiting_for_input=False, input_type=None)


def _completed(state: GenerationState, data: Json) -> GenerationState:
    article_id = data.get("article_id")
    return replace(
        _step(state, Step.COMPLETED),
        status=Status.COMPLETED,
        progress_percentage=100,
        is_waiting_for_input=False,
        input_type=None,
        article_id=str(article_id) if article_id else None,
        final_article={key: data[key] for key in ("title", "article_id", "final_html_content") if key in data},
    )


def _error(state: GenerationState, data: Json) -> GenerationState:
    return replace(
        state,
        status=Status.ERROR,
        error=str(data.get("error_message") or ""),
        is_waiting_for_input=False,
        input_type=None,
    )


_HANDLERS = {
    EventType.GENERATION_STARTED: _started,
    EventType.STEP_STARTED: _step_started,
    EventType.RESEARCH_STARTED: _research_started,
    EventType.RESEARCH_PROGRESS: _research_progress,
    EventType.SECTION_STARTED: _section_started,
    EventType.SECTION_COMPLETED: _section_completed,
    EventType.IMAGE_PLACEHOLDERS_GENERATED: _images,
    EventType.USER_INPUT_REQUIRED: _input_required,
    EventType.USER_INPUT_RESOLVED: _input_resolved,
    EventType.GENERATION_RESUMED: _resumed,
    EventType.GENERATION_PAUSED: _paused,
    EventType.GENERATION_CANCELLED: _cancelled,
    EventType.GENERATION_COMPLETED: _completed,
    EventType.GENERATION_ERROR: _error,
}
