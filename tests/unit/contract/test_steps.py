"""Both flows lead from start to the end, and progress only ever grows along them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.contract.prompts import BY_STEP, PROMPTS
from toolkit.contract.steps import (
    NEXT,
    REGENERATES,
    STEPS,
    Flow,
    Kind,
    Step,
    legal_step_changes,
    next_resting,
    progress_after,
    resting,
)


def _walk(flow: Flow, *, final_editing: bool = True) -> list[Step]:
    walked = [Step.START]
    while STEPS[walked[-1]].kind is not Kind.END:
        walked.append(next_resting(walked[-1], flow, final_editing=final_editing))
        assert len(walked) < 30, "the flow goes round in circles"
    return walked


@pytest.mark.parametrize("flow", list(Flow))
def test_each_flow_visits_every_gate_once_and_ends_completed(flow: Flow) -> None:
    walked = _walk(flow)
    assert walked[-1] is Step.COMPLETED
    assert [s for s in walked if STEPS[s].kind is Kind.GATE].count(Step.OUTLINE_GENERATED) == 1
    assert {s for s in walked if STEPS[s].kind is Kind.GATE} == set(BY_STEP)


def test_the_flows_differ_in_when_the_outline_is_made() -> None:
    research_first, outline_first = _walk(Flow.RESEARCH_FIRST), _walk(Flow.OUTLINE_FIRST)
    assert research_first.index(Step.RESEARCHING) < research_first.index(Step.OUTLINE_GENERATING)
    assert outline_first.index(Step.OUTLINE_GENERATING) < outline_first.index(Step.RESEARCHING)
    assert sorted(research_first) == sorted(outline_first)


def test_without_final_editing_the_writing_is_the_last_work() -> None:
    assert Step.EDITING not in _walk(Flow.RESEARCH_FIRST, final_editing=False)


@pytest.mark.parametrize("flow", list(Flow))
def test_every_step_that_can_follow_rests_somewhere(flow: Flow) -> None:
    for step in NEXT[flow]:
        assert STEPS[resting(step, flow)].kind is not Kind.TRANSIENT


def test_a_final_step_has_no_next() -> None:
    with pytest.raises(ValueError, match="completed has no next step"):
        next_resting(Step.COMPLETED, Flow.RESEARCH_FIRST)


@given(flow=st.sampled_from(Flow), regenerations=st.lists(st.sampled_from(sorted(REGENERATES)), max_size=3))
def test_progress_never_falls_even_when_steps_are_done_again(flow: Flow, regenerations: list[Step]) -> None:
    todo = list(regenerations)
    progress, step = 0, Step.START
    while STEPS[step].kind is not Kind.END:
        if step in todo:
            todo.remove(step)
            step = REGENERATES[step]
        else:
            step = next_resting(step, flow)
        after = progress_after(progress, step)
        assert after >= progress
        progress = after
        for part in range(4):
            assert progress_after(progress, step, done=part, of=3) >= progress
    assert progress == 100


def test_parts_of_a_step_stay_within_its_span() -> None:
    assert progress_after(0, Step.RESEARCHING, done=3, of=3) == 60
    assert progress_after(0, Step.WRITING_SECTIONS, done=1, of=2) == 85


def test_a_legal_history_allows_what_the_flow_does_and_nothing_else() -> None:
    legal = legal_step_changes(Flow.RESEARCH_FIRST)
    walked = _walk(Flow.RESEARCH_FIRST)
    assert set(itertools.pairwise(walked)) <= legal
    assert (Step.PERSONA_GENERATED, Step.PERSONA_GENERATING) in legal
    assert (Step.PERSONA_GENERATED, Step.WRITING_SECTIONS) not in legal
    assert (Step.COMPLETED, Step.EDITING) not in legal


@pytest.mark.parametrize("flow", list(Flow))
def test_auto_mode_may_pass_a_gate_unrecorded_and_only_then(flow: Flow) -> None:
    asked, automatic = legal_step_changes(flow), legal_step_changes(flow, auto_mode=True)
    ungated = [step for step in _walk(flow) if STEPS[step].kind is not Kind.GATE]
    assert set(itertools.pairwise(ungated)) <= automatic
    assert automatic - asked == set(itertools.pairwise(ungated)) - asked
    assert (Step.PERSONA_GENERATING, Step.THEME_GENERATING) not in asked


def test_each_prompt_can_be_answered_regenerated_and_edited() -> None:
    for prompt in PROMPTS:
        assert prompt.step in REGENERATES
        assert prompt.input_type.value in {answer.value for answer in prompt.answers}
