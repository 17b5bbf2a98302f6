"""What an open prompt shows: derived from the context, so that it can be put again at any time."""

from __future__ import annotations

from typing import Any, cast

import orjson

from reference_server.generation.content import Outline, Persona, ResearchPlan, Theme
from reference_server.generation.context import ArticleContext
from toolkit.contract.prompts import BY_STEP, InputType, Prompt
from toolkit.contract.steps import Step

Proposals = tuple[Persona, ...] | tuple[Theme, ...] | ResearchPlan | Outline | None


def proposals(input_type: InputType, context: ArticleContext) -> Proposals:
    """What there is to choose from or to approve; empty or None when nothing was proposed."""
    match input_type:
        case InputType.SELECT_PERSONA:
            return context.personas
        case InputType.SELECT_THEME:
            return context.themes
        case InputType.APPROVE_PLAN:
            return context.research_plan
        case InputType.APPROVE_OUTLINE:
            return context.outline


def prompt_data(step: Step, context: ArticleContext) -> dict[str, Any]:
    """The `data` of `user_input_required`: the proposals under their key. Raises KeyError when `step` is no gate."""
    prompt: Prompt = BY_STEP[step]
    return {prompt.proposals: as_json(proposals(prompt.input_type, context))}


def as_json(value: object) -> Any:
    """Content values as plain JSON values."""
    return cast(Any, orjson.loads(orjson.dumps(value)))
