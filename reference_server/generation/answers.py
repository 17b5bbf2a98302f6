"""Applies an answer to the open prompt: a new context and the next step, or a typed refusal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from reference_server.generation import next_step
from reference_server.generation.content import Outline, OutlineSection, Persona, ResearchPlan, ResearchQuery, Theme
from reference_server.generation.context import ArticleContext
from reference_server.generation.errors import AnswerRefused, UnexpectedResponse
from reference_server.generation.fields import MAX_LINE, MAX_TEXT, Fields, refuse
from toolkit.contract.prompts import BY_STEP, EDITS, InputType, Prompt, ResponseType
from toolkit.contract.steps import REGENERATES, Step

MAX_ANSWER_BYTES = 100_000  # the answer is copied into an event, and events are small
MAX_SECTIONS = 50
MAX_QUERIES = 20
MAX_KEYWORDS = 30


@dataclass(frozen=True)
class Answered:
    """`step` is the resting step that the answer leads to."""

    context: ArticleContext
    step: Step
    input_type: InputType
    regenerates: bool


def apply(gate: Step, response_type: str, payload: Mapping[str, Any], context: ArticleContext) -> Answered:
    """Apply an answer given at `gate` to the context.

    Raises UnexpectedResponse when the prompt does not take such an answer, AnswerRefused when its
    payload is malformed, out of range or too large.
    """
    prompt = BY_STEP[gate]
    if response_type not in prompt.answers:
        raise UnexpectedResponse(prompt.input_type, response_type, frozenset(prompt.answers))
    _check_size(payload)
    response = ResponseType(response_type)
    fields = Fields(payload, "payload")
    if response is ResponseType.REGENERATE:
        fields.done()
        return _regenerate(prompt, context)
    if response in (ResponseType.APPROVE_PLAN, ResponseType.APPROVE_OUTLINE):
        approved = fields.boolean("approved")
        fields.done()
        if not approved:
            return _regenerate(prompt, context)
    elif response is ResponseType.SELECT_PERSONA:
        context = replace(context, selected_persona=context.personas[fields.index("selected_id", context.personas)])
        fields.done()
    elif response is ResponseType.SELECT_THEME:
        context = replace(context, selected_theme=context.themes[fields.index("selected_index", context.themes)])
        fields.done()
    else:
        name = "edited_content" if response is ResponseType.EDIT_AND_PROCEED else f"edited_{_NOUN[EDITS[response]]}"
        edited = fields.object(name, prompt.edit_fields)
        fields.done()
        context = _edit(prompt.input_type, edited, context)
    return Answered(context, next_step.after(gate, context).step, prompt.input_type, regenerates=False)


_NOUN = {
    InputType.SELECT_PERSONA: "persona",
    InputType.SELECT_THEME: "theme",
    InputType.APPROVE_PLAN: "plan",
    InputType.APPROVE_OUTLINE: "outline",
}


def _regenerate(prompt: Prompt, context: ArticleContext) -> Answered:
    step = REGENERATES[prompt.step]
    match prompt.input_type:
        case InputType.SELECT_PERSONA:
            context = replace(context, personas=(), selected_persona=None)
        case InputType.SELECT_THEME:
            context = replace(context, themes=(), selected_theme=None)
        case InputType.APPROVE_PLAN:
            context = replace(context, research_plan=None)
        case InputType.APPROVE_OUTLINE:
            context = replace(context, outline=None)
    return Answered(context.with_next_round(step), step, prompt.input_type, regenerates=True)


def _edit(input_type: InputType, edited: Fields, context: ArticleContext) -> ArticleContext:
    match input_type:
        case InputType.SELECT_PERSONA:
            persona = Persona(len(context.personas), edited.text("description", MAX_TEXT))
            edited.done()
            return replace(context, selected_persona=persona)
        case InputType.SELECT_THEME:
            theme = Theme(
                edited.text("title", MAX_LINE),
                edited.text("description", MAX_TEXT),
                tuple(edited.texts("keywords", MAX_KEYWORDS)),
            )
            edited.done()
            return replace(context, selected_theme=theme)
        case InputType.APPROVE_PLAN:
            return replace(context, research_plan=_edited_plan(edited, context.research_plan))
        case InputType.APPROVE_OUTLINE:
            return replace(context, outline=_edited_outline(edited, context.outline))


def _edited_plan(edited: Fields, proposed: ResearchPlan | None) -> ResearchPlan:
    """A field that is left out keeps what was proposed."""
    topic = edited.text("topic", MAX_LINE, default=proposed.topic if proposed else None)
    queries = proposed.queries if proposed else ()
    if edited.has("queries") or not queries:
        queries = tuple(
            ResearchQuery(item.text("query", MAX_LINE), item.text("focus", MAX_TEXT, default=""))
            for item in edited.items("queries", MAX_QUERIES, bare="query", allowed=("query", "focus"))
        )
    edited.done()
    return ResearchPlan(topic, queries)


def _edited_outline(edited: Fields, proposed: Outline | None) -> Outline:
    title = edited.text("title", MAX_LINE, default=proposed.title if proposed else None)
    tone = edited.text("suggested_tone", MAX_LINE, default=proposed.suggested_tone if proposed else None)
    sections = proposed.sections if proposed else ()
    if edited.has("sections") or not sections:
        sections = tuple(
            OutlineSection(
                item.text("heading", MAX_LINE),
                item.text("description", MAX_TEXT, default=""),
                item.optional_count("estimated_chars", 100_000),
            )
            for item in edited.items(
                "sections", MAX_SECTIONS, bare="heading", allowed=("heading", "description", "estimated_chars")
            )
        )
    edited.done()
    return Outline(title, tone, sections)


def _check_size(payload: Mapping[str, Any]) -> None:
    try:
        size = len(orjson.dumps(dict(payload)))
    except TypeError as error:  # lone surrogates and numbers beyond 64 bits cannot be stored either
        refuse("invalid_payload", f"payload cannot be stored as JSON: {error}")
    if size > MAX_ANSWER_BYTES:
        refuse("answer_too_large", f"payload is {size} bytes; at most {MAX_ANSWER_BYTES} are taken")


__all__ = ["AnswerRefused", "Answered", "apply"]
