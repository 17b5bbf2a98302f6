"""What each working step does: read the context, have the writer work, return the context changed.

Steps know neither database nor socket. Those made of parts hand over a checkpoint after each part;
run again from a checkpoint they go on with the next part.
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
    """What shall survive a crash. `part_done`: a part of the step is behind us, not just announced."""

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
    return await work(_Desk(run, writer, emit, call_deadline_s))


class _Desk:
    """One step at work."""

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


async def _keyword_analyzing(desk: _Desk) -> StepResult:
    analysis = await desk.call(desk.writer.analyze_keywords(desk.job))
    return StepResult(replace(desk.context, keyword_analysis=analysis))


async def _persona_generating(desk: _Desk) -> StepResult:
    keywords = desk.need("keyword_analysis", desk.context.keyword_analysis)
    personas = desk.need("personas", await desk.call(desk.writer.generate_personas(desk.job, keywords)))
    return StepResult(replace(desk.context, personas=personas, selected_persona=None))


async def _theme_generating(desk: _Desk) -> StepResult:
    keywords = desk.need("keyword_analysis", desk.context.keyword_analysis)
    themes = desk.need("themes", await desk.call(desk.writer.generate_themes(desk.job, keywords, desk.persona)))
    return StepResult(replace(desk.context, themes=themes, selected_theme=None))


async def _research_planning(desk: _Desk) -> StepResult:
    plan = await desk.call(desk.writer.plan_research(desk.job, desk.theme, desk.persona))
    return StepResult(replace(desk.context, research_plan=plan, research_results=()))


async def _researching(desk: _Desk) -> StepResult:
    plan = desk.need("research_plan", desk.context.research_plan)
    total = len(plan.queries)
    if not desk.context.research_results:
        started = {"message": f"Researching {total} queries", "total_queries": total}
        await desk.checkpoint(0, total, StepEvent(EventType.RESEARCH_STARTED, started))
    for index in range(len(desk.context.research_results), total):
        result = await desk.call(desk.writer.research(desk.job, plan, index))
        results = (*desk.context.research_results, result)
        desk.context = replace(desk.context, research_results=results)
        progress = {
            "query": result.query,
            "completed_queries": len(results),
            "total_queries": total,
            "progress_percentage": desk.progress(len(results), total),
        }
        await desk.checkpoint(len(results), total, StepEvent(EventType.RESEARCH_PROGRESS, progress))
    results = desk.context.research_results
    completed = {
        "successful_queries": sum(bool(result.findings) for result in results),
        "total_queries": total,
        "total_results": sum(len(result.findings) for result in results),
    }
    return StepResult(desk.context, (StepEvent(EventType.RESEARCH_COMPLETED, completed),))


async def _research_synthesizing(desk: _Desk) -> StepResult:
    plan = desk.need("research_plan", desk.context.research_plan)
    results = desk.need("research_results", desk.context.research_results)
    report = await desk.call(desk.writer.synthesize(desk.job, plan, results))
    return StepResult(replace(desk.context, research_report=report))


async def _outline_generating(desk: _Desk) -> StepResult:
    context = desk.context
    outline = await desk.call(desk.writer.outline(desk.job, desk.theme, desk.persona, context.research_report))
    desk.need("outline sections", outline.sections)
    return StepResult(replace(context, outline=outline, sections=()))


async def _writing_sections(desk: _Desk) -> StepResult:
    outline = desk.outline
    total = len(outline.sections)
    done = len(desk.context.sections)
    if done < total:
        await desk.checkpoint(done, total, _section_started(desk, done))
    for index in range(done, total):
        section = await desk.call(
            desk.writer.write_section(desk.job, outline, index, desk.context.research_report, desk.context.sections)
        )
        if len(section.html.encode()) > MAX_SECTION_BYTES:
            raise WriterError(
                f"section {index} has more than {MAX_SECTION_BYTES} bytes; the writer must keep sections shorter",
                retryable=True,
            )
        desk.context = replace(desk.context, sections=(*desk.context.sections, section))
        written = index + 1
        completed = {
            "section_index": index,
            "section_heading": section.heading,
            "section_content": section.html,
            "total_sections": total,
            "progress_percentage": desk.progress(written, total),
            "image_placeholders": as_json(section.image_placeholders),
        }
        events = [StepEvent(EventType.SECTION_COMPLETED, completed)]
        if written < total:
            events.append(_section_started(desk, written))
        await desk.checkpoint(written, total, *events)
    request = desk.context.request
    context = desk.context if request.enable_final_editing else replace(desk.context, article=assemble(desk.context))
    next_step = Step.EDITING if request.enable_final_editing else Step.COMPLETED
    closing = [StepEvent(EventType.ALL_SECTIONS_COMPLETED, {"total_sections": total, "next_step": next_step})]
    if request.image_mode:
        placeholders = as_json(context.image_placeholders)
        closing.append(StepEvent(EventType.IMAGE_PLACEHOLDERS_GENERATED, {"placeholders": placeholders}))
    return StepResult(context, tuple(closing))


def _section_started(desk: _Desk, index: int) -> StepEvent:
    sections = desk.outline.sections
    data = {
        "section_index": index,
        "section_heading": sections[index].heading,
        "total_sections": len(sections),
        "image_mode": desk.context.request.image_mode,
    }
    return StepEvent(EventType.SECTION_STARTED, data)


async def _editing(desk: _Desk) -> StepResult:
    sections = desk.need("sections", desk.context.sections)
    article = await desk.call(desk.writer.edit(desk.job, desk.outline, sections))
    return StepResult(replace(desk.context, article=article))


_WORK: dict[Step, Callable[[_Desk], Awaitable[StepResult]]] = {
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
