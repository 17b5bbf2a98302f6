"""The interface of the content writers: a language model, or the deterministic writer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from reference_server.generation.content import (
    Article,
    GenerationRequest,
    KeywordAnalysis,
    Outline,
    Persona,
    ResearchPlan,
    ResearchReport,
    ResearchResult,
    Section,
    Theme,
)


class WriterError(Exception):
    """The writer failed. `retryable`: the same request may succeed later."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True)
class Assignment:
    """What every call is told: the request, the round (0; more after each regenerate), and the attempt
    (0; more after each retry or rescue of the task)."""

    request: GenerationRequest
    round: int = 0
    attempt: int = 0


class ContentWriter(Protocol):
    """Every method may take seconds, and raises WriterError when it fails."""

    async def analyze_keywords(self, job: Assignment) -> KeywordAnalysis: ...

    async def generate_personas(self, job: Assignment, keywords: KeywordAnalysis) -> tuple[Persona, ...]:
        """`request.num_persona_examples` personas with ids 0, 1, …"""
        ...

    async def generate_themes(
        self, job: Assignment, keywords: KeywordAnalysis, persona: Persona
    ) -> tuple[Theme, ...]: ...

    async def plan_research(self, job: Assignment, theme: Theme, persona: Persona) -> ResearchPlan: ...

    async def research(self, job: Assignment, plan: ResearchPlan, index: int) -> ResearchResult:
        """The result of query `index` of the plan."""
        ...

    async def synthesize(
        self, job: Assignment, plan: ResearchPlan, results: tuple[ResearchResult, ...]
    ) -> ResearchReport: ...

    async def outline(self, job: Assignment, theme: Theme, persona: Persona, report: ResearchReport | None) -> Outline:
        """`report` is None when the outline comes before the research."""
        ...

    async def write_section(
        self, job: Assignment, outline: Outline, index: int, report: ResearchReport | None, written: tuple[Section, ...]
    ) -> Section:
        """Section `index` of the outline; with image placeholders in image mode."""
        ...

    async def edit(self, job: Assignment, outline: Outline, sections: tuple[Section, ...]) -> Article:
        """The whole article, edited; every image placeholder of the sections is kept."""
        ...
