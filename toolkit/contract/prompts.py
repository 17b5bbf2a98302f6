"""The four prompts: at which step each is put, and which responses it takes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from toolkit.contract.steps import Step

PROMPT_TIMEOUT_MINUTES = 30


class InputType(StrEnum):
    """Values of `generated_articles_state.input_type` while a prompt is open."""

    SELECT_PERSONA = "select_persona"
    SELECT_THEME = "select_theme"
    APPROVE_PLAN = "approve_plan"
    APPROVE_OUTLINE = "approve_outline"


class ResponseType(StrEnum):
    """`response_type` of a user-input request."""

    SELECT_PERSONA = "select_persona"
    SELECT_THEME = "select_theme"
    APPROVE_PLAN = "approve_plan"
    APPROVE_OUTLINE = "approve_outline"
    REGENERATE = "regenerate"
    EDIT_AND_PROCEED = "edit_and_proceed"
    EDIT_PERSONA = "edit_persona"
    EDIT_THEME = "edit_theme"
    EDIT_PLAN = "edit_plan"
    EDIT_OUTLINE = "edit_outline"


@dataclass(frozen=True)
class Prompt:
    """`proposals` is the key of `user_input_required` data that holds what to choose from;
    `edit_fields` are the fields an edit may carry."""

    input_type: InputType
    step: Step
    answers: frozenset[ResponseType]
    proposals: str
    edit_fields: tuple[str, ...]


_COMMON = (ResponseType.REGENERATE, ResponseType.EDIT_AND_PROCEED)

PROMPTS: tuple[Prompt, ...] = (
    Prompt(
        InputType.SELECT_PERSONA,
        Step.PERSONA_GENERATED,
        frozenset({ResponseType.SELECT_PERSONA, ResponseType.EDIT_PERSONA, *_COMMON}),
        "personas",
        ("description",),
    ),
    Prompt(
        InputType.SELECT_THEME,
        Step.THEME_PROPOSED,
        frozenset({ResponseType.SELECT_THEME, ResponseType.EDIT_THEME, *_COMMON}),
        "themes",
        ("title", "description", "keywords"),
    ),
    Prompt(
        InputType.APPROVE_PLAN,
        Step.RESEARCH_PLAN_GENERATED,
        frozenset({ResponseType.APPROVE_PLAN, ResponseType.EDIT_PLAN, *_COMMON}),
        "plan",
        ("topic", "queries"),
    ),
    Prompt(
        InputType.APPROVE_OUTLINE,
        Step.OUTLINE_GENERATED,
        frozenset({ResponseType.APPROVE_OUTLINE, ResponseType.EDIT_OUTLINE, *_COMMON}),
        "outline",
        ("title", "suggested_tone", "sections"),
    ),
)

BY_STEP: dict[Step, Prompt] = {prompt.step: prompt for prompt in PROMPTS}
BY_INPUT_TYPE: dict[InputType, Prompt] = {prompt.input_type: prompt for prompt in PROMPTS}
EDITS: dict[ResponseType, InputType] = {
    ResponseType.EDIT_PERSONA: InputType.SELECT_PERSONA,
    ResponseType.EDIT_THEME: InputType.SELECT_THEME,
    ResponseType.EDIT_PLAN: InputType.APPROVE_PLAN,
    ResponseType.EDIT_OUTLINE: InputType.APPROVE_OUTLINE,
}
