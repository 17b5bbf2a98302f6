"""Answers: what each means, and what is refused with which words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.generation.answers import apply
from reference_server.generation.content import (
    GenerationRequest,
    Outline,
    OutlineSection,
    Persona,
    ResearchPlan,
    ResearchQuery,
    Theme,
)
from reference_server.generation.context import ArticleContext
from reference_server.generation.errors import AnswerRefused, UnexpectedResponse
from toolkit.contract.prompts import PROMPTS, ResponseType
from toolkit.contract.steps import REGENERATES, Flow, Step

P, T, R, O = Step.PERSONA_GENERATED, Step.THEME_PROPOSED, Step.RESEARCH_PLAN_GENERATED, Step.OUTLINE_GENERATED  # noqa: E741
CONTEXT = ArticleContext(
    GenerationRequest(("k",)),
    personas=(Persona(0, "a"), Persona(1, "b")),
    themes=(Theme("t", "d", ("k",)), Theme("u", "e", ())),
    research_plan=ResearchPlan("topic", (ResearchQuery("q", "f"),)),
    outline=Outline("title", "tone", (OutlineSection("h", "d", 5),)),
)


def test_choosing() -> None:
    persona = apply(P, "select_persona", {"selected_id": 1}, CONTEXT)
    assert persona.context.selected_persona == Persona(1, "b")
    assert persona.step is Step.THEME_GENERATING
    theme = apply(T, "select_theme", {"selected_index": 0}, CONTEXT)
    assert theme.context.selected_theme == CONTEXT.themes[0]
    assert theme.step is Step.RESEARCH_PLANNING


def test_the_flow_decides_where_an_answer_leads() -> None:
    outline_first = replace(CONTEXT, request=replace(CONTEXT.request, flow_type=Flow.OUTLINE_FIRST))
    approve = {"approved": True}
    assert apply(O, "approve_outline", approve, CONTEXT).step is Step.WRITING_SECTIONS
    assert apply(O, "approve_outline", approve, outline_first).step is Step.RESEARCH_PLANNING
    assert apply(R, "approve_plan", approve, outline_first).step is Step.RESEARCHING
    assert apply(T, "select_theme", {"selected_index": 0}, outline_first).step is Step.OUTLINE_GENERATING


@pytest.mark.parametrize("prompt", PROMPTS)
def test_regenerating_goes_back_and_starts_a_new_round(prompt: Any) -> None:
    answers: list[tuple[str, dict[str, Any]]] = [("regenerate", {})]
    if prompt.input_type.startswith("approve"):
        answers.append((prompt.input_type, {"approved": False}))
    for response_type, payload in answers:
        answered = apply(prompt.step, response_type, payload, CONTEXT)
        assert answered.regenerates
        assert answered.step is REGENERATES[prompt.step]
        assert answered.context.round_of(answered.step) == 1


@pytest.mark.parametrize(
    ("gate", "alias", "edited", "field", "expected"),
    [
        (P, "persona", {"description": " c "}, "selected_persona", Persona(2, "c")),
        (
            T,
            "theme",
            {"title": "x", "description": "y", "keywords": ["z"]},
            "selected_theme",
            Theme("x", "y", ("z",)),
        ),
        (R, "plan", {"topic": "x"}, "research_plan", ResearchPlan("x", (ResearchQuery("q", "f"),))),
        (
            R,
            "plan",
            {"topic": "x", "queries": ["a", {"query": "b", "focus": "c"}]},
            "research_plan",
            ResearchPlan("x", (ResearchQuery("a"), ResearchQuery("b", "c"))),
        ),
        (
            O,
            "outline",
            {"sections": [{"heading": "n", "estimated_chars": 9}, "m"]},
            "outline",
            Outline("title", "tone", (OutlineSection("n", "", 9), OutlineSection("m"))),
        ),
    ],
)
def test_both_ways_to_edit(gate: Step, alias: str, edited: dict[str, Any], field: str, expected: object) -> None:
    for response_type, key in (("edit_and_proceed", "edited_content"), (f"edit_{alias}", f"edited_{alias}")):
        answered = apply(gate, response_type, {key: edited}, CONTEXT)
        assert getattr(answered.context, field) == expected
        assert not answered.regenerates


@pytest.mark.parametrize(
    ("gate", "response_type", "payload", "code", "says"),
    [
        (P, "select_persona", {"selected_id": -1}, "out_of_range", "from 0 to 1"),
        (P, "select_persona", {"selected_id": 2}, "out_of_range", "from 0 to 1"),
        (P, "select_persona", {"selected_id": "1"}, "invalid_payload", "whole number, not text"),
        (P, "select_persona", {"selected_id": True}, "invalid_payload", "not true or false"),
        (P, "select_persona", {"selected_id": 1.0}, "invalid_payload", "whole number"),
        (P, "select_persona", {"selected_id": None}, "invalid_payload", "not null"),
        (P, "select_persona", {"id": 1}, "missing_field", "payload.selected_id is missing"),
        (P, "select_persona", {"selected_id": 1, "x": 1}, "invalid_payload", "unknown fields: x"),
        (R, "approve_plan", {}, "missing_field", "approved"),
        (R, "approve_plan", {"approved": 1}, "invalid_payload", "true or false, not a number"),
        (R, "approve_plan", {"approved": "yes"}, "invalid_payload", "not text"),
        (P, "regenerate", {"approved": False}, "invalid_payload", "unknown fields: approved"),
        (P, "edit_and_proceed", {}, "missing_field", "edited_content"),
        (P, "edit_and_proceed", {"edited_content": {}}, "malformed_edit", "is empty; give description"),
        (P, "edit_and_proceed", {"edited_content": "x"}, "malformed_edit", "must be an object"),
        (P, "edit_and_proceed", {"edited_content": {"description": ""}}, "invalid_payload", "not be empty"),
        (P, "edit_and_proceed", {"edited_content": {"description": "a" * 5001}}, "out_of_range", "at most 5000"),
        (T, "edit_theme", {"edited_theme": {"title": "x"}}, "missing_field", "edited_theme.description"),
        (T, "edit_theme", {"edited_theme": {"title": "x", "description": "y", "keywords": []}}, "invalid_payload", "1"),
        (R, "edit_plan", {"edited_plan": {"queries": []}}, "invalid_payload", "list of 1 to 20"),
        (R, "edit_plan", {"edited_plan": {"queries": [{"query": 5}]}}, "invalid_payload", r"queries\[0\].query"),
        (O, "edit_outline", {"edited_outline": {"sections": [{"heading": "a", "x": 1}]}}, "invalid_payload", "unknown"),
        (
            O,
            "edit_outline",
            {"edited_outline": {"sections": [3]}},
            "invalid_payload",
            r"sections\[0\] must be an object",
        ),
        (O, "edit_outline", {"edited_outline": {"sections": ["a"] * 51}}, "invalid_payload", "1 to 50"),
        (O, "edit_outline", {"edited_outline": {"colour": "red"}}, "invalid_payload", "unknown fields: colour"),
        (
            P,
            "edit_persona",
            {"edited_persona": {"description": "x"}, "pad": "x" * 100_001},
            "answer_too_large",
            "bytes",
        ),
        (P, "select_persona", {"selected_id": "\ud800"}, "invalid_payload", "cannot be stored"),
    ],
)
def test_refusals(gate: Step, response_type: str, payload: dict[str, Any], code: str, says: str) -> None:
    with pytest.raises(AnswerRefused, match=says) as refused:
        apply(gate, response_type, payload, CONTEXT)
    assert refused.value.code == code


def test_nothing_proposed_means_nothing_can_be_chosen() -> None:
    with pytest.raises(AnswerRefused, match="nothing was proposed"):
        apply(P, "select_persona", {"selected_id": 0}, replace(CONTEXT, personas=()))


def test_answers_to_other_prompts() -> None:
    for prompt in PROMPTS:
        for response in set(ResponseType) - prompt.answers:
            with pytest.raises(UnexpectedResponse, match=f"expected {prompt.input_type}, got {response}"):
                apply(prompt.step, response, {}, CONTEXT)


payloads = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["selected_id", "approved", "edited_content", "title", "sections", "queries", "heading"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from([p.step for p in PROMPTS]), st.sampled_from(list(ResponseType)), payloads)
def test_any_payload_is_understood_or_refused(gate: Step, response: ResponseType, payload: Any) -> None:
    if not isinstance(payload, dict):
        payload = {"edited_content": payload}
    try:
        answered = apply(gate, response, payload, CONTEXT)
    except (AnswerRefused, UnexpectedResponse):
        return
    assert answered.step in set(Step)
