"""Which step follows a finished one, by the contract's tables. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import Any

from reference_server.generation.content import Article
from reference_server.generation.context import ArticleContext
from reference_server.generation.prompts import as_json
from toolkit.contract.prompts import BY_STEP, InputType
from toolkit.contract.requests import AutoStrategy
from toolkit.contract.steps import REGENERATES, STEPS, Kind, Step, next_resting, resting


@dataclass(frozen=True)
class AutoSelection:
    """A gate that auto mode passed, and how it answered. `selection` is JSON."""

    gate: Step
    input_type: InputType
    selection: dict[str, Any]
    strategy: AutoStrategy


@dataclass(frozen=True)
class Advance:
    """The resting step a process enters next: work to do, a gate to ask at, or the end."""

    context: ArticleContext
    step: Step
    passed: AutoSelection | None = None

    @property
    def kind(self) -> Kind:
        return STEPS[self.step].kind


def after(step: Step, context: ArticleContext) -> Advance:
    """What follows when `step`'s work is done, or its gate answered; auto mode answers for the user."""
    following = _next(step, context)
    if STEPS[following].kind is not Kind.GATE or not context.request.auto_mode:
        return Advance(context, following)
    context, passed = auto_select(following, context)
    return Advance(context, _next(following, context), passed)


def stands_at(step: Step, context: ArticleContext) -> Step:
    """The step from which a saved process continues.

    A process saved at a gate whose proposals are missing goes back to the step that makes them.
    """
    request = context.request
    step = resting(step, request.flow_type, final_editing=request.enable_final_editing)
    if step in REGENERATES:
        missing = {
            InputType.SELECT_PERSONA: not context.personas,
            InputType.SELECT_THEME: not context.themes,
            InputType.APPROVE_PLAN: context.research_plan is None,
            InputType.APPROVE_OUTLINE: context.outline is None,
        }
        if missing[BY_STEP[step].input_type]:
            return REGENERATES[step]
    return step


def assemble(context: ArticleContext) -> Article:
    """The article as its sections were written, unedited. Raises ValueError without an outline."""
    if context.outline is None:
        raise ValueError("an article needs an outline")
    body = "\n".join(section.html for section in context.sections)
    return Article(title=context.outline.title, html=f"<h1>{escape(context.outline.title)}</h1>\n{body}")


def auto_select(gate: Step, context: ArticleContext) -> tuple[ArticleContext, AutoSelection]:
    """The context with auto mode's answer at `gate`, and the answer."""
    strategy = context.request.auto_selection_strategy
    input_type = BY_STEP[gate].input_type
    selection: dict[str, Any]
    match input_type:
        case InputType.SELECT_PERSONA:
            index = _choose([p.description for p in context.personas], context, strategy)
            context = replace(context, selected_persona=context.personas[index])
            selection = {"selected_id": index, "persona": as_json(context.personas[index])}
        case InputType.SELECT_THEME:
            texts = [" ".join((t.title, t.description, *t.keywords)) for t in context.themes]
            index = _choose(texts, context, strategy)
            context = replace(context, selected_theme=context.themes[index])
            selection = {"selected_index": index, "theme": as_json(context.themes[index])}
        case InputType.APPROVE_PLAN | InputType.APPROVE_OUTLINE:
            selection = {"approved": True}
    return context, AutoSelection(gate, input_type, selection, strategy)


def _next(step: Step, context: ArticleContext) -> Step:
    return next_resting(step, context.request.flow_type, final_editing=context.request.enable_final_editing)


def _choose(texts: list[str], context: ArticleContext, strategy: AutoStrategy) -> int:
    """The first, or the one that mentions most of what the user named; earlier wins a tie."""
    if strategy is AutoStrategy.FIRST:
        return 0
    request = context.request
    named = (*request.initial_keywords, request.target_age_group, request.persona_type, request.custom_persona)
    wanted = [word.lower() for word in named if word]
    scores = [sum(word in text.lower() for word in wanted) for text in texts]
    return scores.index(max(scores))
