"""A writer on any endpoint that speaks the OpenAI chat completions API. Off unless configured."""

from __future__ import annotations

import asyncio
import random
from typing import Any, TypeVar

import httpx
import orjson
from pydantic import ValidationError

from reference_server.generation import openai_answers as shape
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
from reference_server.generation.prompts import as_json
from reference_server.generation.writer import Assignment, WriterError

A = TypeVar("A", bound=shape.Answer)

MAX_RETRY_AFTER_S = 20.0
MAX_ANSWER_BYTES = 2_000_000
_SYSTEM = (
    "You help write a search-optimised article in Japanese. Answer with one JSON object that matches the JSON schema "
    "in the request, and with nothing else. Texts for readers are Japanese; HTML is a fragment without <html> or body."
)


class OpenAIWriter:
    """Asks `model` at `base_url` (up to and including `/v1`).

    Answers that do not match the asked shape, rate limits and server errors are WriterErrors worth a
    retry; refusals of the request itself are not. `deadline_s` bounds one call with its `retries`.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        model: str,
        *,
        client: httpx.AsyncClient | None = None,
        deadline_s: float = 100,
        retries: int = 2,
        retry_pause_s: float = 0.5,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._model = model
        self._client = client or httpx.AsyncClient(timeout=httpx.Timeout(deadline_s, connect=10))
        self._owns_client = client is None
        self._deadline_s = deadline_s
        self._retries = retries
        self._retry_pause_s = retry_pause_s

    async def close(self) -> None:
        """Closes the client when it was not given."""
        if self._owns_client:
            await self._client.aclose()

    async def analyze_keywords(self, job: Assignment) -> KeywordAnalysis:
        answer = await self._ask(job, "Analyse these search keywords.", shape.Keywords)
        related = tuple(answer.related_keywords)
        return KeywordAnalysis(answer.primary_keyword, related, answer.search_intent, answer.summary)

    async def generate_personas(self, job: Assignment, keywords: KeywordAnalysis) -> tuple[Persona, ...]:
        wanted = job.request.num_persona_examples
        answer = await self._ask(
            job, f"Describe exactly {wanted} different reader personas.", shape.Personas, keywords=keywords
        )
        chosen = _exactly(wanted, answer.personas, "personas")
        return tuple(Persona(i, persona.description) for i, persona in enumerate(chosen))

    async def generate_themes(self, job: Assignment, keywords: KeywordAnalysis, persona: Persona) -> tuple[Theme, ...]:
        wanted = job.request.num_theme_proposals
        answer = await self._ask(
            job,
            f"Propose exactly {wanted} different article themes for the persona.",
            shape.Themes,
            keywords=keywords,
            persona=persona,
        )
        chosen = _exactly(wanted, answer.themes, "themes")
        return tuple(Theme(theme.title, theme.description, tuple(theme.keywords)) for theme in chosen)

    async def plan_research(self, job: Assignment, theme: Theme, persona: Persona) -> ResearchPlan:
        wanted = job.request.num_research_queries
        answer = await self._ask(
            job, f"Plan the research with exactly {wanted} search queries.", shape.Plan, theme=theme, persona=persona
        )
        chosen = _exactly(wanted, answer.queries, "queries")
        return ResearchPlan(answer.topic, tuple(ResearchQuery(query.query, query.focus) for query in chosen))

    async def research(self, job: Assignment, plan: ResearchPlan, index: int) -> ResearchResult:
        query = plan.queries[index]
        answer = await self._ask(
            job, "Answer the query with what you know; name sources.", shape.Research, topic=plan.topic, query=query
        )
        findings = tuple(Finding(f.extract, f.source_title, f.source_url) for f in answer.findings)
        return ResearchResult(query.query, answer.summary, findings)

    async def synthesize(
        self, job: Assignment, plan: ResearchPlan, results: tuple[ResearchResult, ...]
    ) -> ResearchReport:
        answer = await self._ask(
            job, "Put the results together into one report.", shape.Report, plan=plan, results=results
        )
        sources = tuple(dict.fromkeys(finding.source_url for result in results for finding in result.findings))
        return ResearchReport(plan.topic, answer.overall_summary, tuple(answer.key_points), sources)

    async def outline(self, job: Assignment, theme: Theme, persona: Persona, report: ResearchReport | None) -> Outline:
        answer = await self._ask(
            job, "Outline the article.", shape.ArticleOutline, theme=theme, persona=persona, report=report
        )
        sections = tuple(OutlineSection(s.heading, s.description, s.estimated_chars) for s in answer.sections)
        return Outline(answer.title, answer.suggested_tone, sections)

    async def write_section(
        self, job: Assignment, outline: Outline, index: int, report: ResearchReport | None, written: tuple[Section, ...]
    ) -> Section:
        task = f"Write section {index} (counted from 0) of the outline as HTML, beginning with its <h2>."
        if job.request.image_mode:
            task += (
                f" Describe one or two images; put <!-- IMAGE_PLACEHOLDER: id --> where each belongs and begin every"
                f" placeholder_id with section_{index + 1}_."
            )
        answer = await self._ask(
            job, task, shape.WrittenSection, outline=outline, report=report, before=[s.heading for s in written]
        )
        images = answer.image_placeholders if job.request.image_mode else []
        if lost := [image.placeholder_id for image in images if image.placeholder_id not in answer.html]:
            raise WriterError(f"the section does not contain its images: {', '.join(lost)}", retryable=True)
        return Section(
            outline.sections[index].heading,
            answer.html,
            tuple(ImagePlaceholder(i.placeholder_id, i.description_jp, i.prompt_en, i.alt_text) for i in images),
        )

    async def edit(self, job: Assignment, outline: Outline, sections: tuple[Section, ...]) -> Article:
        answer = await self._ask(
            job,
            "Edit the whole article into one coherent HTML text. Keep every IMAGE_PLACEHOLDER comment as it is.",
            shape.EditedArticle,
            outline=outline,
            sections=sections,
        )
        for section in sections:
            for image in section.image_placeholders:
                if image.placeholder_id not in answer.html:
                    raise WriterError(f"the edited article lost the image {image.placeholder_id}", retryable=True)
        return Article(answer.title, answer.html)

    async def _ask(self, job: Assignment, task: str, wanted: type[A], **material: Any) -> A:
        question = {
            "task": task,
            "round": job.round,
            "request": as_json(job.request),
            **{name: as_json(value) for name, value in material.items()},
            "answer_json_schema": wanted.model_json_schema(),
        }
        body = {
            "model": self._model,
            "messages": [
                {"role": "system", "content": _SYSTEM},
                {"role": "user", "content": orjson.dumps(question).decode()},
            ],
            "response_format": {"type": "json_object"},
        }
        try:
            async with asyncio.timeout(self._deadline_s):
                text = await self._complete(body)
        except TimeoutError:
            raise WriterError(f"the model did not answer within {self._deadline_s:g} s", retryable=True) from None
        try:
            return wanted.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "answer"
            raise WriterError(f"the model's answer is not as asked: {where}: {first['msg']}", retryable=True) from None

    async def _complete(self, body: dict[str, Any]) -> str:
        """The text of the model's answer; tries again on 429, 5xx and connection failures only."""
        for attempt in range(self._retries + 1):
            pause_s = self._retry_pause_s * 2**attempt * (0.5 + random.random() / 2)  # noqa: S311 - jitter
            try:
                response = await self._client.post(self._url, json=body, headers=self._headers)
            except httpx.TransportError as error:
                problem = f"the model's endpoint does not answer ({type(error).__name__})"
            else:
                if response.status_code == httpx.codes.OK:
                    return _content(response)
                problem = f"the model's endpoint answered {response.status_code}"
                if response.status_code != httpx.codes.TOO_MANY_REQUESTS and not response.is_server_error:
                    raise WriterError(
                        f"{problem}; check OPENAI_BASE_URL, OPENAI_API_KEY, OPENAI_MODEL", retryable=False
                    )
                pause_s = max(pause_s, _retry_after(response))
            if attempt < self._retries:
                await asyncio.sleep(pause_s)
        raise WriterError(problem, retryable=True)


def _content(response: httpx.Response) -> str:
    if len(response.content) > MAX_ANSWER_BYTES:
        raise WriterError(f"the model's answer has more than {MAX_ANSWER_BYTES} bytes", retryable=True)
    try:
        text = orjson.loads(response.content)["choices"][0]["message"]["content"]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        text = None
    if not isinstance(text, str):
        raise WriterError("the model's endpoint answered without choices[0].message.content", retryable=True)
    # Some models wrap JSON in a code fence although they were told not to.
    return text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()


def _retry_after(response: httpx.Response) -> float:
    try:
        return min(MAX_RETRY_AFTER_S, max(0.0, float(response.headers.get("Retry-After", "0"))))
    except ValueError:
        return 0.0


def _exactly(wanted: int, items: list[Any], what: str) -> list[Any]:
    """The first `wanted` items of the model's answer. Raises WriterError when there are fewer."""
    if len(items) < wanted:
        raise WriterError(f"the model gave {len(items)} {what}, {wanted} were asked for", retryable=True)
    return items[:wanted]
