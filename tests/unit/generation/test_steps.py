"""Steps and the deterministic writer, without a database."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from reference_server.generation.content import GenerationRequest, Section
from reference_server.generation.context import ArticleContext
from reference_server.generation.deterministic_writer import DeterministicWriter
from reference_server.generation.next_step import after
from reference_server.generation.steps import Checkpoint, StepImpossible, StepRun, run_step
from reference_server.generation.writer import Assignment, WriterError
from reference_server.workers.outcome import failure_of
from toolkit.contract.events import missing_keys
from toolkit.contract.steps import STEPS, Kind, Step

REQUEST = GenerationRequest(("家庭菜園", "土"), image_mode=True, auto_mode=True)


async def run(
    writer: DeterministicWriter, request: GenerationRequest = REQUEST, stop_at: Step = Step.COMPLETED
) -> tuple[ArticleContext, list[Checkpoint]]:
    context, step, checkpoints = ArticleContext(request), Step.KEYWORD_ANALYZING, []

    async def emit(checkpoint: Checkpoint) -> None:
        checkpoints.append(checkpoint)

    while step is not stop_at:
        result = await run_step(StepRun(step, context, 0), writer, emit)
        for event in result.events:
            assert not missing_keys(event.type, event.data)
        onward = after(step, result.context)
        context, step = onward.context, onward.step
    return context, checkpoints


async def test_the_same_seed_and_request_give_the_same_article() -> None:
    first, checkpoints = await run(DeterministicWriter(5))
    second, _ = await run(DeterministicWriter(5))
    other, _ = await run(DeterministicWriter(6))
    assert first == second
    assert first.article != other.article
    for checkpoint in checkpoints:
        for event in checkpoint.events:
            assert not missing_keys(event.type, event.data)
    progress = [checkpoint.progress for checkpoint in checkpoints]
    assert progress == sorted(progress)
    for section in first.sections:
        assert 300 <= len(section.html.encode()) <= 1500
        assert section.image_placeholders[0].placeholder_id in section.html


async def test_a_new_round_brings_something_new_and_an_attempt_does_not() -> None:
    writer = DeterministicWriter(5)
    context, _ = await run(writer, stop_at=Step.RESEARCH_PLANNING)
    assert context.keyword_analysis
    first = await writer.generate_personas(Assignment(REQUEST), context.keyword_analysis)
    again = await writer.generate_personas(Assignment(REQUEST, attempt=3), context.keyword_analysis)
    anew = await writer.generate_personas(Assignment(REQUEST, round=1), context.keyword_analysis)
    assert first == again
    assert first != anew


async def test_failures_follow_the_attempt_and_come_at_the_given_rate() -> None:
    writer = DeterministicWriter(5, failure_rate=0.3)
    failed = 0
    for i in range(400):
        job = Assignment(replace(REQUEST, company_name=str(i // 4)), attempt=i % 4)
        try:
            await writer.analyze_keywords(job)
        except WriterError:
            failed += 1
    assert 80 <= failed <= 160
    with pytest.raises(ValueError, match="from 0 to 1"):
        DeterministicWriter(1, failure_rate=1.5)


@pytest.mark.parametrize(("length", "expected"), [(None, 4), (100, 2), (4000, 5), (50_000, 12)])
async def test_the_wished_length_decides_how_many_sections(length: int | None, expected: int) -> None:
    context, _ = await run(DeterministicWriter(), replace(REQUEST, target_length=length), Step.WRITING_SECTIONS)
    assert context.outline
    assert len(context.outline.sections) == expected


async def test_a_step_goes_on_from_its_last_checkpoint() -> None:
    whole, checkpoints = await run(DeterministicWriter(5))
    halfway = next(c for c in checkpoints if len(c.context.sections) == 2)
    written: list[int] = []

    class Counting(DeterministicWriter):
        async def write_section(self, job: Assignment, outline: Any, index: int, *rest: Any) -> Section:
            written.append(index)
            return await super().write_section(job, outline, index, *rest)

    async def emit(_checkpoint: Checkpoint) -> None: ...

    result = await run_step(StepRun(Step.WRITING_SECTIONS, halfway.context, 85, 1), Counting(5), emit)
    assert written == [2, 3]
    assert result.context.sections == whole.sections


@pytest.mark.parametrize("step", [s for s, info in STEPS.items() if info.kind is Kind.WORK][1:])
async def test_a_step_says_what_it_lacks(step: Step) -> None:
    async def emit(_checkpoint: Checkpoint) -> None: ...

    with pytest.raises(StepImpossible, match=f"{step} needs"):
        await run_step(StepRun(step, ArticleContext(REQUEST), 0), DeterministicWriter(), emit)


async def test_what_is_not_worked_on_and_what_takes_too_long() -> None:
    async def emit(_checkpoint: Checkpoint) -> None: ...

    with pytest.raises(ValueError, match="is not worked on"):
        await run_step(StepRun(Step.THEME_PROPOSED, ArticleContext(REQUEST), 0), DeterministicWriter(), emit)
    slow = DeterministicWriter(step_latency_s=60)
    with pytest.raises(WriterError, match=re.escape("within 0.01 s")) as late:
        await run_step(StepRun(Step.KEYWORD_ANALYZING, ArticleContext(REQUEST), 0), slow, emit, call_deadline_s=0.01)
    assert late.value.retryable


@pytest.mark.parametrize(
    ("error", "retryable", "expected"),
    [
        (WriterError("x", retryable=True), True, True),
        (WriterError("x", retryable=False), False, True),
        (StepImpossible("x"), False, True),
        (TimeoutError(), True, True),
        (KeyError("secret"), True, False),
    ],
)
def test_what_an_exception_means(error: Exception, retryable: bool, expected: bool) -> None:
    failure = failure_of(error, "editing")
    assert (failure.retryable, failure.expected) == (retryable, expected)
    assert "secret" not in failure.message
