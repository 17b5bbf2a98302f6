"""The fold of events: what a user interface shows after each."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.client.events import ProcessEvent
from toolkit.client.state import GenerationState, Section, fold
from toolkit.contract.events import EventType
from toolkit.contract.steps import NEXT, REGENERATES, Flow, Step


def log(*entries: tuple[str, dict[str, Any]]) -> list[ProcessEvent]:
    return [ProcessEvent(n, f"e{n}", kind, data, process_id="p") for n, (kind, data) in enumerate(entries, 1)]


def row(**columns: Any) -> tuple[str, dict[str, Any]]:
    return EventType.STATUS_CHANGED, columns


def steps(*names: str) -> list[tuple[str, dict[str, Any]]]:
    return [(EventType.STEP_CHANGED, {"current_step": name}) for name in names]


def test_a_run_from_start_to_end() -> None:
    state = fold(
        log(
            (EventType.PROCESS_CREATED, {"status": "in_progress", "current_step": "start", "progress_percentage": 0}),
            (EventType.GENERATION_STARTED, {"current_step": "keyword_analyzing"}),
            (EventType.STEP_STARTED, {"step_name": "persona_generating"}),
            (
                EventType.USER_INPUT_REQUIRED,
                {"input_type": "select_persona", "data": {"personas": [{"id": 0}, {"id": 1}]}, "timeout_at": "t"},
            ),
            (
                EventType.USER_INPUT_RESOLVED,
                {"input_type": "select_persona", "user_response": {"response_type": "select_persona", "payload": {}}},
            ),
            (EventType.USER_INPUT_REQUIRED, {"input_type": "approve_plan", "data": {"plan": {"topic": "x"}}}),
            (EventType.USER_INPUT_RESOLVED, {"input_type": "approve_plan", "user_response": {}}),
            (EventType.RESEARCH_STARTED, {"total_queries": 3}),
            (EventType.RESEARCH_PROGRESS, {"completed_queries": 2, "total_queries": 3}),
            (EventType.SECTION_STARTED, {"section_index": 1, "total_sections": 2}),
            (
                EventType.SECTION_COMPLETED,
                {
                    "section_index": 1,
                    "section_heading": "b",
                    "section_content": "B",
                    "total_sections": 2,
                    "image_placeholders": [{"placeholder_id": "i1"}],
                },
            ),
            (
                EventType.SECTION_COMPLETED,
                {
                    "section_index": 0,
                    "section_heading": "a",
                    "section_content": "A",
                    "total_sections": 2,
                    "image_placeholders": [],
                },
            ),
            (EventType.IMAGE_PLACEHOLDERS_GENERATED, {"placeholders": [{"placeholder_id": "i1"}]}),
            (EventType.GENERATION_COMPLETED, {"title": "T", "article_id": "a1", "message": "m"}),
        )
    )
    assert state.personas == ({"id": 0}, {"id": 1})
    assert state.research_plan == {"topic": "x"}
    assert state.research_progress == (2, 3)
    assert state.completed_sections == (Section(0, "a", "A"), Section(1, "b", "B"))
    assert state.sections_progress == (2, 2)
    assert [p["placeholder_id"] for p in state.image_placeholders] == ["i1"]
    assert (state.status, state.current_step, state.progress_percentage) == ("completed", "completed", 100)
    assert (state.article_id, state.final_article) == ("a1", {"title": "T", "article_id": "a1"})
    assert (state.is_waiting_for_input, state.is_finished, state.unknown_events) == (False, True, 0)


@pytest.mark.parametrize("flow", list(Flow))
def test_every_flow_moves_forward_to_its_end(flow: Flow) -> None:
    path, step = [Step.START], Step.START
    while step in NEXT[flow]:
        step = NEXT[flow][step]
        path.append(step)
    state = fold(log(*steps(*path)))
    assert state.steps_seen == tuple(path)


def test_a_late_step_does_not_move_it_back() -> None:
    state = fold(log(*steps("theme_generating", "persona_generating")))
    assert state.current_step == "theme_generating"


@pytest.mark.parametrize(("gate", "maker"), REGENERATES.items())
def test_making_proposals_anew_does(gate: Step, maker: Step) -> None:
    assert fold(log(*steps(gate, maker))).current_step == maker


@pytest.mark.parametrize("response", [{"response_type": "regenerate"}, {"payload": {"approved": False}}])
def test_a_refused_proposal_may_lead_back_further(response: dict[str, Any]) -> None:
    events = log(
        *steps("outline_generated"),
        (EventType.USER_INPUT_RESOLVED, {"input_type": "approve_outline", "user_response": response}),
        *steps("theme_generating"),
    )
    assert fold(events).current_step == "theme_generating"


@pytest.mark.parametrize(
    ("status", "ending", "data"),
    [
        ("completed", EventType.GENERATION_COMPLETED, {"title": "T", "article_id": "a1", "message": "m"}),
        ("error", EventType.GENERATION_ERROR, {"error_message": "boom"}),
        ("cancelled", EventType.GENERATION_CANCELLED, {"message": "m"}),
    ],
)
def test_it_is_finished_when_everything_of_the_end_is_told(
    status: str, ending: EventType, data: dict[str, Any]
) -> None:
    """The row's event of the end comes in a frame of its own, before the one that has the article."""
    started = (EventType.STEP_STARTED, {"step_name": "editing"})
    state = fold(log(started, (EventType.STATUS_CHANGED, {"status": status})))
    assert (state.status, state.is_finished) == (status, False)
    assert state.apply(ProcessEvent(3, "e3", ending, data)).is_finished


def test_where_the_row_alone_is_recorded_its_status_is_the_end() -> None:
    created = (EventType.PROCESS_CREATED, {"status": "in_progress"})
    state = fold(log(created, (EventType.STATUS_CHANGED, {"status": "completed"})))
    assert state.is_finished
    again = state.apply(ProcessEvent(3, "e3", EventType.STATUS_CHANGED, {"status": "resuming"}))
    assert not again.is_finished


def test_resuming_may_lead_back_and_clears_the_error() -> None:
    state = fold(log(*steps("writing_sections"), (EventType.GENERATION_ERROR, {"error_message": "boom"})))
    assert (state.error, state.status, state.is_finished) == ("boom", "error", True)
    more = [
        ProcessEvent(3, "e3", EventType.STATUS_CHANGED, {"status": "resuming"}),
        ProcessEvent(4, "e4", EventType.GENERATION_RESUMED, {"resume_step": "researching"}),
    ]
    state = fold(more, state)
    assert (state.error, state.status, state.current_step) == (None, "resuming", "researching")


def test_pausing_at_a_question_closes_it_and_it_can_be_put_again() -> None:
    question = (EventType.USER_INPUT_REQUIRED, {"input_type": "select_theme", "data": {"themes": [1]}})
    paused = fold(log(question, (EventType.GENERATION_PAUSED, {})))
    assert (paused.is_paused, paused.is_waiting_for_input) == (True, False)
    again = fold([ProcessEvent(3, "e3", *question)], paused)
    assert again.is_waiting_for_input
    assert again.prompt_sequence == 3


def test_the_rows_own_events_carry_the_waiting_flag() -> None:
    state = fold(log(row(status="user_input_required", is_waiting_for_input=True, input_type="select_theme")))
    assert (state.is_waiting_for_input, state.input_type) == (True, "select_theme")
    state = fold([ProcessEvent(2, "e2", "input_resolved", {"is_waiting_for_input": False})], state)
    assert (state.is_waiting_for_input, state.input_type) == (False, None)


def test_a_section_written_again_replaces_itself() -> None:
    section = {"section_index": 0, "section_heading": "h", "total_sections": 1, "image_placeholders": []}
    state = fold(
        log(
            (EventType.SECTION_COMPLETED, {**section, "section_content": "old"}),
            (EventType.SECTION_COMPLETED, {**section, "section_content": "new"}),
        )
    )
    assert [s.content for s in state.completed_sections] == ["new"]


def test_unknown_events_are_counted_and_change_nothing() -> None:
    before = fold(log(*steps("theme_generating")))
    after = before.apply(ProcessEvent(2, "e2", "snapshot_created", {"status": "cancelled"}))
    assert after.unknown_events == 1
    assert after.current_step == before.current_step
    assert after.status == before.status


def test_an_event_from_the_past_changes_nothing() -> None:
    state = fold(log(*steps("theme_generating")))
    assert state.apply(ProcessEvent(1, "e1", EventType.GENERATION_CANCELLED, {})) is state


def test_every_event_type_with_empty_data_is_survived() -> None:
    state = GenerationState()
    for number, kind in enumerate(EventType, 1):
        state = state.apply(ProcessEvent(number, f"e{number}", kind, {}))
    assert state.last_sequence == len(EventType)
