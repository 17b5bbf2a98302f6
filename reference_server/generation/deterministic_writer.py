"""A writer whose texts depend only on its seed, the request, the step and the round.

Generations are repeatable on either transport and on any worker. Latency and failures can be configured: a failure
depends on the attempt, so that a retry can succeed, and hits one part of a step made of several.
"""

from __future__ import annotations

import asyncio
import hashlib
from html import escape

import orjson

from reference_server.generation.content import (
    Article,
    Finding,
    ImagePlaceholder,
    KeywordAnalysis,
    Outline,
    OutlineSection,
    Persona,
    ResearchPlan,
    ResearchQuery,
    ResearchReport,
    ResearchResult,
    Section,
    Theme,
)
from reference_server.generation.phrases import ANGLES, FOCUSES, HABITS, HEADINGS, INTENTS, SENTENCES, SOURCES, TONES
from reference_server.generation.writer import Assignment, WriterError
from toolkit.contract.steps import Step

DEFAULT_SECTIONS = 4
CHARACTERS_A_SECTION = 800


class DeterministicWriter:
    """`step_latency_s` is slept in every call, `failure_rate` (0..1) is the chance that an attempt at a step
    fails, `sections` fixes how many sections an outline has (otherwise the wished length decides)."""

    def __init__(
        self, seed: int = 0, *, step_latency_s: float = 0, failure_rate: float = 0, sections: int | None = None
    ) -> None:
        if not 0 <= failure_rate <= 1:
            raise ValueError(f"failure_rate must be from 0 to 1, not {failure_rate}")
        self._seed = seed
        self._latency_s = step_latency_s
        self._failure_rate = failure_rate
        self._sections = sections

    async def analyze_keywords(self, job: Assignment) -> KeywordAnalysis:
        dice = await self._work(job, Step.KEYWORD_ANALYZING)
        primary, *others = job.request.initial_keywords
        related = (*others, *(f"{primary} {dice.choose(ANGLES, i)}" for i in range(4)))
        intent = dice.choose(INTENTS)
        return KeywordAnalysis(primary, related, intent, f"「{primary}」を検索する人は{intent}を求めている。")

    async def generate_personas(self, job: Assignment, keywords: KeywordAnalysis) -> tuple[Persona, ...]:
        dice = await self._work(job, Step.PERSONA_GENERATING)
        request = job.request
        who = request.custom_persona or request.persona_type or "社会人"
        age = request.target_age_group or "30代"
        return tuple(
            Persona(
                i, f"{age}の{who}。{dice.choose(HABITS, i)}。{keywords.primary_keyword}について知りたい。{_take(job)}"
            )
            for i in range(request.num_persona_examples)
        )

    async def generate_themes(self, job: Assignment, keywords: KeywordAnalysis, persona: Persona) -> tuple[Theme, ...]:
        dice = await self._work(job, Step.THEME_GENERATING, persona.description)
        word = keywords.primary_keyword
        return tuple(
            Theme(
                f"{word}の{dice.choose(ANGLES, i)}：{dice.choose(FOCUSES, i)}から始める{_take(job)}",
                f"{persona.description} そのような読者に、{word}の{dice.choose(ANGLES, i)}を順を追って説明する。",
                (word, *dice.some(keywords.related_keywords, 2, i)),
            )
            for i in range(job.request.num_theme_proposals)
        )

    async def plan_research(self, job: Assignment, theme: Theme, persona: Persona) -> ResearchPlan:
        dice = await self._work(job, Step.RESEARCH_PLANNING, theme.title, persona.description)
        queries = tuple(
            ResearchQuery(f"{theme.title} {dice.choose(FOCUSES, i)} {i + 1}", dice.choose(FOCUSES, i))
            for i in range(job.request.num_research_queries)
        )
        return ResearchPlan(f"{theme.title}{_take(job)}", queries)

    async def research(self, job: Assignment, plan: ResearchPlan, index: int) -> ResearchResult:
        query = plan.queries[index].query
        dice = await self._work(job, Step.RESEARCHING, query, part=index, of=len(plan.queries))
        findings = tuple(
            Finding(dice.choose(SENTENCES, i), dice.choose(SOURCES, i), f"https://example.com/{dice.token(i)}")
            for i in range(3)
        )
        return ResearchResult(query, f"{query}：{dice.choose(SENTENCES)}", findings)

    async def synthesize(
        self, job: Assignment, plan: ResearchPlan, results: tuple[ResearchResult, ...]
    ) -> ResearchReport:
        await self._work(job, Step.RESEARCH_SYNTHESIZING, plan.topic)
        return ResearchReport(
            plan.topic,
            " ".join(result.summary for result in results),
            tuple(finding.extract for result in results for finding in result.findings[:1]),
            tuple(finding.source_url for result in results for finding in result.findings),
        )

    async def outline(self, job: Assignment, theme: Theme, persona: Persona, report: ResearchReport | None) -> Outline:
        dice = await self._work(job, Step.OUTLINE_GENERATING, theme.title, persona.description)
        wished = job.request.target_length
        count = self._sections or (
            DEFAULT_SECTIONS if wished is None else min(12, max(2, round(wished / CHARACTERS_A_SECTION)))
        )
        sections = tuple(
            OutlineSection(
                f"{i + 1}. {dice.choose(HEADINGS, i)}",
                f"{theme.title}：{dice.choose(FOCUSES, i)}",
                CHARACTERS_A_SECTION if wished is None else max(1, wished // count),
            )
            for i in range(count)
        )
        return Outline(theme.title, f"{dice.choose(TONES)}{_take(job)}", sections)

    async def write_section(
        self, job: Assignment, outline: Outline, index: int, report: ResearchReport | None, written: tuple[Section, ...]
    ) -> Section:
        part = outline.sections[index]
        dice = await self._work(
            job, Step.WRITING_SECTIONS, outline.title, part.heading, part=index, of=len(outline.sections)
        )
        heading = part.heading
        paragraphs = "\n".join(
            f"<p>{escape(part.description or heading)}。{''.join(dice.some(SENTENCES, 3, i))}</p>" for i in range(2)
        )
        items = "".join(f"<li>{escape(point)}</li>" for point in (report.key_points[:3] if report else ()))
        images: tuple[ImagePlaceholder, ...] = ()
        html = f"<h2>{escape(heading)}</h2>\n{paragraphs}" + (f"\n<ul>{items}</ul>" if items else "")
        if job.request.image_mode:
            name = f"section_{index + 1}_image_1"
            images = (
                ImagePlaceholder(
                    name, f"{heading}を表す写真", f"A photograph illustrating part {index + 1} of the article", heading
                ),
            )
            html += f"\n<!-- IMAGE_PLACEHOLDER: {name} -->"
        return Section(heading, html, images)

    async def edit(self, job: Assignment, outline: Outline, sections: tuple[Section, ...]) -> Article:
        dice = await self._work(job, Step.EDITING, outline.title)
        lead = f"<p>{dice.choose(SENTENCES)}</p>"
        body = "\n".join(section.html for section in sections)
        return Article(outline.title, f"<h1>{escape(outline.title)}</h1>\n{lead}\n{body}")

    async def _work(self, job: Assignment, step: Step, *inputs: str, part: int = 0, of: int = 1) -> _Dice:
        """Wait for the latency, fail when a failure is due, and return the choices for this piece of work."""
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        request = orjson.dumps(job.request, option=orjson.OPT_SORT_KEYS).decode()
        ground = (str(self._seed), request, str(step), str(job.round))
        fate = _Dice(*ground, "fate", str(job.attempt))
        if fate.number() % of == part and fate.fraction() < self._failure_rate:
            raise WriterError(f"{step}: failure injected into attempt {job.attempt + 1}", retryable=True)
        return _Dice(*ground, str(part), *inputs)


def _take(job: Assignment) -> str:
    """A mark in texts of later rounds, so that their proposals differ."""
    return f"（第{job.round + 1}案）" if job.round else ""


class _Dice:
    """Pseudo-random choices that depend only on the given words."""

    def __init__(self, *words: str) -> None:
        self._digest = hashlib.sha256("\x1f".join(words).encode()).digest()

    def number(self, salt: int = 0) -> int:
        return int.from_bytes(hashlib.sha256(self._digest + salt.to_bytes(4, "big")).digest()[:8], "big")

    def fraction(self) -> float:
        return int.from_bytes(hashlib.sha256(self._digest + b"fraction").digest()[:6], "big") / 2**48

    def token(self, salt: int) -> str:
        return f"{self.number(salt):016x}"

    def choose(self, among: tuple[str, ...], position: int = 0) -> str:
        """Neighbouring positions get different items."""
        return among[(self.number() + position) % len(among)]

    def some(self, among: tuple[str, ...], count: int, position: int) -> tuple[str, ...]:
        start = self.number() + position * count
        return tuple(among[(start + i) % len(among)] for i in range(min(count, len(among))))
