"""What an article is made of, from the request to the finished text: frozen values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toolkit.contract.requests import AutoStrategy
from toolkit.contract.steps import Flow


@dataclass(frozen=True)
class GenerationRequest:
    """What the user asked for. The API has validated it."""

    initial_keywords: tuple[str, ...]
    target_age_group: str | None = None
    persona_type: str | None = None
    custom_persona: str | None = None
    target_length: int | None = None
    num_theme_proposals: int = 3
    num_research_queries: int = 3
    num_persona_examples: int = 3
    company_name: str | None = None
    company_description: str | None = None
    company_style_guide: str | None = None
    image_mode: bool = False
    image_settings: dict[str, Any] = field(default_factory=dict)
    style_template_id: str | None = None
    flow_type: Flow = Flow.RESEARCH_FIRST
    enable_final_editing: bool = True
    auto_mode: bool = False
    auto_selection_strategy: AutoStrategy = AutoStrategy.FIRST


@dataclass(frozen=True)
class KeywordAnalysis:
    primary_keyword: str
    related_keywords: tuple[str, ...]
    search_intent: str
    summary: str


@dataclass(frozen=True)
class Persona:
    """`id` is the position among the proposals; a persona that the user wrote has the number behind the last one."""

    id: int
    description: str


@dataclass(frozen=True)
class Theme:
    title: str
    description: str
    keywords: tuple[str, ...]


@dataclass(frozen=True)
class ResearchQuery:
    query: str
    focus: str = ""


@dataclass(frozen=True)
class ResearchPlan:
    topic: str
    queries: tuple[ResearchQuery, ...]


@dataclass(frozen=True)
class Finding:
    extract: str
    source_title: str
    source_url: str


@dataclass(frozen=True)
class ResearchResult:
    query: str
    summary: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ResearchReport:
    topic: str
    overall_summary: str
    key_points: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class OutlineSection:
    heading: str
    description: str = ""
    estimated_chars: int | None = None


@dataclass(frozen=True)
class Outline:
    title: str
    suggested_tone: str
    sections: tuple[OutlineSection, ...]


@dataclass(frozen=True)
class ImagePlaceholder:
    """A picture to be made later; `placeholder_id` is unique within the article and occurs in its HTML."""

    placeholder_id: str
    description_jp: str
    prompt_en: str
    alt_text: str


@dataclass(frozen=True)
class Section:
    heading: str
    html: str
    image_placeholders: tuple[ImagePlaceholder, ...] = ()


@dataclass(frozen=True)
class Article:
    title: str
    html: str
