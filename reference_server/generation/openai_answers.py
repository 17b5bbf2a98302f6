"""The shapes of a model's answers, validated with pydantic. The length limits keep events small."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from reference_server.generation.markup import clean


def _without_nul(text: str) -> str:
    return text.replace("\0", "")  # Postgres stores no NUL


Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(_without_nul)
]
Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=5000), AfterValidator(_without_nul)
]
Note = Annotated[str, StringConstraints(strip_whitespace=True, max_length=5000), AfterValidator(_without_nul)]
Html = Annotated[
    str, StringConstraints(min_length=1, max_length=100_000), AfterValidator(_without_nul), AfterValidator(clean)
]


class Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Keywords(Answer):
    primary_keyword: Line
    related_keywords: list[Line] = Field(max_length=50)
    search_intent: Text
    summary: Text


class PersonaAnswer(Answer):
    description: Text


class Personas(Answer):
    personas: list[PersonaAnswer] = Field(min_length=1, max_length=20)


class ThemeAnswer(Answer):
    title: Line
    description: Text
    keywords: list[Line] = Field(max_length=30)


class Themes(Answer):
    themes: list[ThemeAnswer] = Field(min_length=1, max_length=20)


class QueryAnswer(Answer):
    query: Line
    focus: Note = ""


class Plan(Answer):
    topic: Line
    queries: list[QueryAnswer] = Field(min_length=1, max_length=20)


class FindingAnswer(Answer):
    extract: Text
    source_title: Line
    source_url: Line


class Research(Answer):
    summary: Text
    findings: list[FindingAnswer] = Field(max_length=20)


class Report(Answer):
    overall_summary: Text
    key_points: list[Text] = Field(max_length=30)


class SectionAnswer(Answer):
    heading: Line
    description: Note = ""
    estimated_chars: int | None = Field(None, ge=1, le=100_000)


class ArticleOutline(Answer):
    title: Line
    suggested_tone: Line
    sections: list[SectionAnswer] = Field(min_length=1, max_length=50)


class ImageAnswer(Answer):
    placeholder_id: Annotated[str, StringConstraints(pattern=r"^[\w-]{1,100}$")]
    description_jp: Text
    prompt_en: Text
    alt_text: Note = ""


class WrittenSection(Answer):
    html: Html
    image_placeholders: list[ImageAnswer] = Field(default_factory=list, max_length=10)


class EditedArticle(Answer):
    title: Line
    html: Annotated[
        str, StringConstraints(min_length=1, max_length=1_000_000), AfterValidator(_without_nul), AfterValidator(clean)
    ]
