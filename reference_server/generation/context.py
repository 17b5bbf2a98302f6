"""The article context: everything known about an article in the making, kept in `article_context`.

Both transports write this format, before and after the migration, so that either can continue what the other began.
Reading validates, because rows may be old or written by other programs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import orjson
from pydantic import TypeAdapter, ValidationError

from reference_server.generation.content import (
    Article,
    GenerationRequest,
    ImagePlaceholder,
    KeywordAnalysis,
    Outline,
    Persona,
    ResearchPlan,
    ResearchReport,
    ResearchResult,
    Section,
    Theme,
)
from toolkit.contract.steps import Step


class ContextUnreadable(Exception):
    """A stored context does not have the format; says which field."""


@dataclass(frozen=True)
class ArticleContext:
    """`revision` counts the writes of the context, `turn` the tasks given out for the process (it makes
    task ids), `rounds` how often the user had each step repeated.
    `extra` keeps keys that this version does not know, so that writing a row back loses nothing.
    """

    request: GenerationRequest
    revision: int = 0
    turn: int = 0
    rounds: dict[str, int] = field(default_factory=dict)
    keyword_analysis: KeywordAnalysis | None = None
    personas: tuple[Persona, ...] = ()
    selected_persona: Persona | None = None
    themes: tuple[Theme, ...] = ()
    selected_theme: Theme | None = None
    research_plan: ResearchPlan | None = None
    research_results: tuple[ResearchResult, ...] = ()
    research_report: ResearchReport | None = None
    outline: Outline | None = None
    sections: tuple[Section, ...] = ()
    article: Article | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def image_placeholders(self) -> tuple[ImagePlaceholder, ...]:
        """Those of every written section, in order."""
        return tuple(p for section in self.sections for p in section.image_placeholders)

    def round_of(self, step: Step) -> int:
        return self.rounds.get(step, 0)

    def with_next_round(self, step: Step) -> ArticleContext:
        return replace(self, rounds={**self.rounds, step.value: self.round_of(step) + 1})


_ADAPTER = TypeAdapter(ArticleContext)
_KNOWN = frozenset(f.name for f in fields(ArticleContext)) - {"extra"}
_REQUEST = frozenset(f.name for f in fields(GenerationRequest))


def to_json(context: ArticleContext) -> dict[str, Any]:
    """The context as it is stored: unknown keys beside the known ones."""
    document = cast(dict[str, Any], orjson.loads(orjson.dumps(context)))
    extra: dict[str, Any] = document.pop("extra")
    return extra | document


def from_json(document: object) -> ArticleContext:
    """The context of a stored document. Raises ContextUnreadable.

    Rows of the first version keep the request's fields at the top level; they are read too.
    """
    if not isinstance(document, dict):
        raise ContextUnreadable(f"article_context is {type(document).__name__}, not an object")
    known = {key: value for key, value in document.items() if key in _KNOWN}
    extra = {key: value for key, value in document.items() if key not in _KNOWN}
    if "request" not in known:
        known["request"] = {key: extra.pop(key) for key in sorted(_REQUEST & extra.keys())}
    try:
        return _ADAPTER.validate_python({**known, "extra": extra})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "article_context"
        raise ContextUnreadable(f"article_context: {where}: {first['msg']}") from error
