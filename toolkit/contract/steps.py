"""The steps of an article generation, their order in each flow, and the progress they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """Values of `generated_articles_state.current_step_name`."""

    START = "start"
    KEYWORD_ANALYZING = "keyword_analyzing"
    KEYWORD_ANALYZED = "keyword_analyzed"
    PERSONA_GENERATING = "persona_generating"
    PERSONA_GENERATED = "persona_generated"
    PERSONA_SELECTED = "persona_selected"
    THEME_GENERATING = "theme_generating"
    THEME_PROPOSED = "theme_proposed"
    THEME_SELECTED = "theme_selected"
    RESEARCH_PLANNING = "research_planning"
    RESEARCH_PLAN_GENERATED = "research_plan_generated"
    RESEARCH_PLAN_APPROVED = "research_plan_approved"
    RESEARCHING = "researching"
    RESEARCH_SYNTHESIZING = "research_synthesizing"
    RESEARCH_REPORT_GENERATED = "research_report_generated"
    OUTLINE_GENERATING = "outline_generating"
    OUTLINE_GENERATED = "outline_generated"
    OUTLINE_APPROVED = "outline_approved"
    WRITING_SECTIONS = "writing_sections"
    EDITING = "editing"
    COMPLETED = "completed"
    ERROR = "error"


class Flow(StrEnum):
    """`flow_type` of a start request."""

    RESEARCH_FIRST = "research_first"
    OUTLINE_FIRST = "outline_first"


class Kind(StrEnum):
    """What a step needs before the next one."""

    WORK = "work"  # a worker runs it
    GATE = "gate"  # it waits for the user's answer
    TRANSIENT = "transient"  # passed through inside one transaction; older rows may rest on it
    END = "end"


@dataclass(frozen=True)
class StepInfo:
    """`progress` is the percentage reached when the step is entered; `span` what runs within it add."""

    kind: Kind
    progress: int
    span: int = 0


# Progress grows along either flow because a process stores the highest value it has reached
# (`progress_after`): outline_first visits the outline before the research.
STEPS: dict[Step, StepInfo] = {
    Step.START: StepInfo(Kind.TRANSIENT, 0),
    Step.KEYWORD_ANALYZING: StepInfo(Kind.WORK, 5),
    Step.KEYWORD_ANALYZED: StepInfo(Kind.TRANSIENT, 8),
    Step.PERSONA_GENERATING: StepInfo(Kind.WORK, 10),
    Step.PERSONA_GENERATED: StepInfo(Kind.GATE, 15),
    Step.PERSONA_SELECTED: StepInfo(Kind.TRANSIENT, 17),
    Step.THEME_GENERATING: StepInfo(Kind.WORK, 18),
    Step.THEME_PROPOSED: StepInfo(Kind.GATE, 25),
    Step.THEME_SELECTED: StepInfo(Kind.TRANSIENT, 28),
    Step.RESEARCH_PLANNING: StepInfo(Kind.WORK, 30),
    Step.RESEARCH_PLAN_GENERATED: StepInfo(Kind.GATE, 35),
    Step.RESEARCH_PLAN_APPROVED: StepInfo(Kind.TRANSIENT, 38),
    Step.RESEARCHING: StepInfo(Kind.WORK, 40, span=20),
    Step.RESEARCH_SYNTHESIZING: StepInfo(Kind.WORK, 60),
    Step.RESEARCH_REPORT_GENERATED: StepInfo(Kind.TRANSIENT, 63),
    Step.OUTLINE_GENERATING: StepInfo(Kind.WORK, 65),
    Step.OUTLINE_GENERATED: StepInfo(Kind.GATE, 70),
    Step.OUTLINE_APPROVED: StepInfo(Kind.TRANSIENT, 73),
    Step.WRITING_SECTIONS: StepInfo(Kind.WORK, 75, span=20),
    Step.EDITING: StepInfo(Kind.WORK, 95),
    Step.COMPLETED: StepInfo(Kind.END, 100),
    Step.ERROR: StepInfo(Kind.END, 0),
}

_OPENING = {
    Step.START: Step.KEYWORD_ANALYZING,
    Step.KEYWORD_ANALYZING: Step.KEYWORD_ANALYZED,
    Step.KEYWORD_ANALYZED: Step.PERSONA_GENERATING,
    Step.PERSONA_GENERATING: Step.PERSONA_GENERATED,
    Step.PERSONA_GENERATED: Step.PERSONA_SELECTED,
    Step.PERSONA_SELECTED: Step.THEME_GENERATING,
    Step.THEME_GENERATING: Step.THEME_PROPOSED,
    Step.THEME_PROPOSED: Step.THEME_SELECTED,
}
_RESEARCH = {
    Step.RESEARCH_PLANNING: Step.RESEARCH_PLAN_GENERATED,
    Step.RESEARCH_PLAN_GENERATED: Step.RESEARCH_PLAN_APPROVED,
    Step.RESEARCH_PLAN_APPROVED: Step.RESEARCHING,
    Step.RESEARCHING: Step.RESEARCH_SYNTHESIZING,
    Step.RESEARCH_SYNTHESIZING: Step.RESEARCH_REPORT_GENERATED,
}
_OUTLINE = {
    Step.OUTLINE_GENERATING: Step.OUTLINE_GENERATED,
    Step.OUTLINE_GENERATED: Step.OUTLINE_APPROVED,
}
_CLOSING = {Step.WRITING_SECTIONS: Step.EDITING, Step.EDITING: Step.COMPLETED}

NEXT: dict[Flow, dict[Step, Step]] = {
    Flow.RESEARCH_FIRST: _OPENING
    | {Step.THEME_SELECTED: Step.RESEARCH_PLANNING}
    | _RESEARCH
    | {Step.RESEARCH_REPORT_GENERATED: Step.OUTLINE_GENERATING}
    | _OUTLINE
    | {Step.OUTLINE_APPROVED: Step.WRITING_SECTIONS}
    | _CLOSING,
    Flow.OUTLINE_FIRST: _OPENING
    | {Step.THEME_SELECTED: Step.OUTLINE_GENERATING}
    | _OUTLINE
    | {Step.OUTLINE_APPROVED: Step.RESEARCH_PLANNING}
    | _RESEARCH
    | {Step.RESEARCH_REPORT_GENERATED: Step.WRITING_SECTIONS}
    | _CLOSING,
}

# A gate is reached from the step that made its proposals; regenerating goes back there.
REGENERATES: dict[Step, Step] = {
    Step.PERSONA_GENERATED: Step.PERSONA_GENERATING,
    Step.THEME_PROPOSED: Step.THEME_GENERATING,
    Step.RESEARCH_PLAN_GENERATED: Step.RESEARCH_PLANNING,
    Step.OUTLINE_GENERATED: Step.OUTLINE_GENERATING,
}


def next_resting(step: Step, flow: Flow, *, final_editing: bool = True) -> Step:
    """The next step that is worked on, waited on, or final: transient steps are passed through.

    Raises ValueError for a final step, which has no next.
    """
    following = NEXT[flow]
    if step not in following:
        raise ValueError(f"{step} has no next step")
    step = following[step]
    while STEPS[step].kind is Kind.TRANSIENT:
        step = following[step]
    if step is Step.EDITING and not final_editing:
        return Step.COMPLETED
    return step


def resting(step: Step, flow: Flow, *, final_editing: bool = True) -> Step:
    """Where a row saved on `step` really stands: itself, or what follows a transient step."""
    if STEPS[step].kind is Kind.TRANSIENT:
        return next_resting(step, flow, final_editing=final_editing)
    return step


def progress_after(current: int, step: Step, *, done: int = 0, of: int = 0) -> int:
    """Progress in percent after entering `step`, or after `done` `of` its parts; it never falls."""
    info = STEPS[step]
    reached = info.progress + (info.span * done // of if of else 0)
    return max(current, reached)


def legal_step_changes(
    flow: Flow, *, final_editing: bool = True, auto_mode: bool = False
) -> frozenset[tuple[Step, Step]]:
    """Every (from, to) pair of steps that a recorded history of this flow may contain.

    Includes leaving the transient step an older row rests on, regenerating a gate, failing anywhere, and coming
    back from an error. In auto mode a gate may be passed inside one transaction, which records only where it led.
    """
    resting_steps = [s for s, info in STEPS.items() if info.kind in (Kind.WORK, Kind.GATE)]
    pairs = {(s, next_resting(s, flow, final_editing=final_editing)) for s in resting_steps}
    transient = [s for s, info in STEPS.items() if info.kind is Kind.TRANSIENT]
    pairs |= {(s, next_resting(s, flow, final_editing=final_editing)) for s in transient}
    pairs |= set(REGENERATES.items())
    pairs |= {(s, Step.ERROR) for s in (*resting_steps, *transient)}
    pairs |= {(Step.ERROR, s) for s in resting_steps}
    if auto_mode:
        pairs |= {(maker, next_resting(gate, flow, final_editing=final_editing)) for gate, maker in REGENERATES.items()}
    return frozenset(pairs)
