"""The work of each step: read the context, call the writer, return the changed context.

Steps know neither database nor socket. Steps made of parts emit a checkpoint after each part; run again from a
checkpoint they continue with the next part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from reference_server.generation.content import Outline, Persona, Theme
from reference_server.generation.context import ArticleContext
from reference_server.generation.next_step import assemble
from reference_server.generation.prompts import as_json
from reference_server.generation.writer import Assignment, ContentWriter, WriterError
from toolkit.contract.events import EventType
from toolkit.contract.steps import STEPS, Step, progress_after

# An event may hold 256 KiB; quotes and backslashes grow when they become JSON.
MAX_SECTION_BYTES = 120_000


class StepImpossible(Exception):
    """The context lacks what the step works on; trying again cannot help."""


@dataclass(frozen=True)
class StepEvent:
    type: EventType
    data: dict[str, Any]


@dataclass(frozen=True)
class StepRun:
    """`progress` is the process's stored percentage; `attempt` counts retries and rescues of this step."""

    step: Step
    context: ArticleContext
    progress: int
    attempt: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """State and events to be saved in the middle of a step, so that a crash repeats only what comes after.

    `part_done` is True when a part of the step was finished, False when it was only announced.
    """

    context: ArticleContext
    events: tuple[StepEvent, ...]
    progress: int
    part_done: bool = False


@dataclass(frozen=True)
class StepResult:
    """`events` belong before `step_completed`."""

    context: ArticleContext
    events: tuple[StepEvent, ...] = ()


Emit = Callable[[Checkpoint], Awaitable[None]]
T = TypeVar("T")


async def run_step(run: StepRun, writer: ContentWriter, emit: Emit, *, call_deadline_s: float = 120) -> StepResult:
    """Does the work of `run.step`. Each call of the writer has `call_deadline_s` seconds.

    Raises WriterError (also for a deadline, retryable), StepImpossible, ValueError when the step is
    not one that is worked on, and whatever `emit` raises.
    """
    work = _WORK.get(run.step)
    if work is None:
        raise ValueError(f"{run.step} is not worked on; it is a {STEPS[run.step].kind} step")
    return await work(_RunningStep(run, writer, emit, call_deadline_s))


class _RunningStep:
    """The step that is running: its context so far, the writer, and the assignment for it."""

    def __init__(self, run: StepRun, writer: ContentWriter, emit: Emit, call_deadline_s: float) -> None:
        self.run = run
        self.context = run.context
        self.writer = writer
        self.job = Assignment(run.context.request, run.context.round_of(run.step), run.attempt)
        self._emit = emit
        self._deadline_s = call_deadline_s

    async def call(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await work
        except TimeoutError:
            raise WriterError(
                f"{self.run.step}: the writer did not answer within {self._deadline_s:g} s", retryable=True
            ) from None

    def need(self, name: str, value: T | None) -> T:
        if not value:
            raise StepImpossible(f"{self.run.step} needs {name}, which the article context does not have")
        return value

    @property
    def persona(self) -> Persona:
        return self.need("selected_persona", self.context.selected_persona)

    @property
    def theme(self) -> Theme:
        return self.need("selected_theme", self.context.selected_theme)

    @property
    def outline(self) -> Outline:
        return self.need("outline", self.context.outline)

    def progress(self, done: int, of: int) -> int:
        return progress_after(self.run.progress, self.run.step, done=done, of=of)

    async def checkpoint(self, done: int, of: int, *events: StepEvent) -> None:
        part_done = self.context is not self.run.context
        await self._emit(Checkpoint(self.context, events, self.progress(done, of), part_done))


async def _keyword_analyzing(step: _RunningStep) -> StepResult:
    analysis = await step.call(step.writer.analyze_keywords(step.job))
    return StepResult(replace(step.context, keyword_analysis=analysis))


async def _persona_generating(step: _RunningStep) -> StepResult:
    keywords = step.need("keyword_analysis", step.context.keyword_analysis)
    personas = step.need("personas", await step.call(step.writer.generate_personas(step.job, keywords)))
    return StepResult(replace(step.context, personas=personas, selected_persona=None))


async def _theme_generating(step: _RunningStep) -> StepResult:
    keywords = step.need("keyword_analysis", step.context.keyword_analysis)
    themes = step.need("themes", await step.call(step.writer.generate_themes(step.job, keywords, step.persona)))
    return StepResult(replace(step.context, themes=themes, selected_theme=None))


async def _research_planning(step: _RunningStep) -> StepResult:
    plan = await step.call(step.writer.plan_research(step.job, step.theme, step.persona))
    return StepResult(replace(step.context, research_plan=plan, research_results=()))


async def _researching(step: _RunningStep) -> StepResult:
    plan = step.need("research_plan", step.context.research_plan)
    total = len(plan.queries)
    if not step.context.research_results:
        started = {"message": f"Researching {total} queries", "total_queries": total}
        await step.checkpoint(0, total, StepEvent(EventType.RESEARCH_STARTED, started))
    for index in range(len(step.context.research_results), total):
        result = await step.call(step.writer.research(step.job, plan, index))
        results = (*step.context.research_results, result)
        step.context = replace(step.context, research_results=results)
        progress = {
            "query": result.query,
            "completed_queries": len(results),
            "total_queries": total,
            "progress_percentage": step.progress(len(results), total),
        }
        await step.checkpoint(len(results), total, StepEvent(EventType.RESEARCH_PROGRESS, progress))
    results = step.context.research_results
    completed = {
        "successful_queries": sum(bool(result.findings) for result in results),
        "total_queries": total,
        "total_results": sum(len(result.findings) for result in results),
    }
    return StepResult(step.context, (StepEvent(EventType.RESEARCH_COMPLETED, completed),))


async def _research_synthesizing(step: _RunningStep) -> StepResult:
    plan = step.need("research_plan", step.context.research_plan)
    results = step.need("research_results", step.context.research_results)
    report = await step.call(step.writer.synthesize(step.job, plan, results))
    return StepResult(replace(step.context, research_report=report))


async def _outline_generating(step: _RunningStep) -> StepResult:
    context = step.context
    outline = await step.call(step.writer.outline(step.job, step.theme, step.persona, context.research_report))
    step.need("outline sections", outline.sections)
    return StepResult(replace(context, outline=outline, sections=()))


async def _writing_sections(step: _RunningStep) -> StepResult:
    outline = step.outline
    total = len(outline.sections)
    done = len(step.context.sections)
    if done < total:
        await step.checkpoint(done, total, _section_started(step, done))
    for index in range(done, total):
        section = await step.call(
            step.writer.write_section(step.job, outline, index, step.context.research_report, step.context.sections)
        )
        if len(section.html.encode()) > MAX_SECTION_BYTES:
            raise WriterError(
                f"section {index} has more than {MAX_SECTION_BYTES} bytes; the writer must keep sections shorter",
                retryable=True,
            )
        step.context = replace(step.context, sections=(*step.context.sections, section))
        written = index + 1
        completed = {
            "section_index": index,
            "section_heading": section.heading,
            "section_content": section.html,
            "total_sections": total,
            "progress_percentage": step.progress(written, total),
            "image_placeholders": as_json(section.image_placeholders),
        }
        events = [StepEvent(EventType.SECTION_COMPLETED, completed)]
        if written < total:
            events.append(_section_started(step, written))
        await step.checkpoint(written, total, *events)
    request = step.context.request
    context = step.context if request.enable_final_editing else replace(step.context, article=assemble(step.context))
    next_step = Step.EDITING if request.enable_final_editing else Step.COMPLETED
    closing = [StepEvent(EventType.ALL_SECTIONS_COMPLETED, {"total_sections": total, "next_step": next_step})]
    if request.image_mode:
        placeholders = as_json(context.image_placeholders)
        closing.append(StepEvent(EventType.IMAGE_PLACEHOLDERS_GENERATED, {"placeholders": placeholders}))
    return StepResult(context, tuple(closing))


def _section_started(step: _RunningStep, index: int) -> StepEvent:
    sections = step.outline.sections
    data = {
        "section_index": index,
        "section_heading": sections[index].heading,
        "total_sections": len(sections),
        "image_mode": step.context.request.image_mode,
    }
    return StepEvent(EventType.SECTION_STARTED, data)


async def _editing(step: _RunningStep) -> StepResult:
    sections = step.need("sections", step.context.sections)
    article = await step.call(step.writer.edit(step.job, step.outline, sections))
    return StepResult(replace(step.context, article=article))


_WORK: dict[Step, Callable[[_RunningStep], Awaitable[StepResult]]] = {
    Step.KEYWORD_ANALYZING: _keyword_analyzing,
    Step.PERSONA_GENERATING: _persona_generating,
    Step.THEME_GENERATING: _theme_generating,
    Step.RESEARCH_PLANNING: _research_planning,
    Step.RESEARCHING: _researching,
    Step.RESEARCH_SYNTHESIZING: _research_synthesizing,
    Step.OUTLINE_GENERATING: _outline_generating,
    Step.WRITING_SECTIONS: _writing_sections,
    Step.EDITING: _editing,
}

MESSAGES: dict[Step, str] = {
    Step.KEYWORD_ANALYZING: "Analyzing keywords",
    Step.PERSONA_GENERATING: "Drafting personas",
    Step.THEME_GENERATING: "Proposing themes",
    Step.RESEARCH_PLANNING: "Planning the research",
    Step.RESEARCHING: "Researching",
    Step.RESEARCH_SYNTHESIZING: "Putting the research together",
    Step.OUTLINE_GENERATING: "Outlining the article",
    Step.WRITING_SECTIONS: "Writing the sections",
    Step.EDITING: "Editing the article",
}
