"""Where a process goes next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reference_server.generation.content import GenerationRequest, Outline, Persona, ResearchPlan, Section, Theme
from reference_server.generation.context import ArticleContext
from reference_server.generation.next_step import after, assemble, auto_select, stands_at
from toolkit.contract.prompts import PROMPTS
from toolkit.contract.requests import AutoStrategy
from toolkit.contract.steps import REGENERATES, STEPS, Flow, Kind, Step, next_resting

CONTEXT = ArticleContext(
    GenerationRequest(("garden",)),
    personas=(Persona(0, "likes trains"), Persona(1, "loves the Garden")),
    themes=(Theme("a", "b", ()), Theme("c", "d", ("garden",)), Theme("garden", "x", ("garden",))),
    research_plan=ResearchPlan("t", ()),
    outline=Outline("A & B", "tone", ()),
)


@pytest.mark.parametrize("flow", list(Flow))
@pytest.mark.parametrize("final_editing", [True, False])
@pytest.mark.parametrize("auto", [True, False])
def test_every_step_leads_to_the_end(flow: Flow, final_editing: bool, auto: bool) -> None:
    request = GenerationRequest(("k",), flow_type=flow, enable_final_editing=final_editing, auto_mode=auto)
    context, step, asked, walked = replace(CONTEXT, request=request), Step.START, 0, [Step.START]
    while STEPS[step].kind is not Kind.END:
        onward = after(step, context)
        assert (onward.passed is not None) <= auto
        if onward.passed is not None:
            assert onward.passed.gate is next_resting(step, flow, final_editing=final_editing)
        asked += onward.kind is Kind.GATE
        context, step = onward.context, onward.step
        walked.append(step)
    assert asked == (0 if auto else 4)
    assert (Step.EDITING in walked) == final_editing
    assert len(walked) == len(set(walked))


@pytest.mark.parametrize(
    ("strategy", "persona", "theme"), [(AutoStrategy.FIRST, 0, 0), (AutoStrategy.BEST_MATCH, 1, 1)]
)
def test_how_auto_mode_chooses(strategy: AutoStrategy, persona: int, theme: int) -> None:
    context = replace(CONTEXT, request=replace(CONTEXT.request, auto_selection_strategy=strategy))
    for prompt in PROMPTS:
        context, selection = auto_select(prompt.step, context)
        assert selection.input_type is prompt.input_type
    assert context.selected_persona == context.personas[persona]
    assert context.selected_theme == context.themes[theme]


def test_a_gate_without_proposals_is_made_anew() -> None:
    bare = ArticleContext(GenerationRequest(("k",)))
    for gate, generating in REGENERATES.items():
        assert stands_at(gate, CONTEXT) is gate
        assert stands_at(gate, bare) is generating


def test_an_article_without_editing_is_its_sections() -> None:
    article = assemble(replace(CONTEXT, sections=(Section("h", "<p>1</p>"), Section("g", "<p>2</p>"))))
    assert article.html == "<h1>A &amp; B</h1>\n<p>1</p>\n<p>2</p>"
    with pytest.raises(ValueError, match="outline"):
        assemble(ArticleContext(GenerationRequest(("k",))))
