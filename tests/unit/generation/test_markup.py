"""Whatever a model writes, what is kept cannot run, load or restyle anything."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reference_server.generation.markup import ATTRIBUTES, TAGS, clean
from reference_server.generation.openai_answers import EditedArticle, WrittenSection

PLACE = "<!-- IMAGE_PLACEHOLDER: section_1_garden -->"
PIECES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg>",
    "</svg>",
    "<style>",
    "</style>",
    "<!--",
    "-->",
    "--!>",
    '<a href="javascript:alert(1)">',
    '<p title="',
    '">',
    "<p onclick=x>",
    "<math>",
    "<template>",
    "<iframe srcdoc=",
    "<noscript>",
    "</noscript>",
    "<h2>見出し</h2>",
    PLACE,
    "\ue000a\ue001",
    "<table><td>",
    "]]>",
    "<![CDATA[",
    "\0",
    "&lt;",
]


class Reader(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.comments: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        for name, value in attrs:
            assert name == "rel" or name in ATTRIBUTES.get(tag, ()), (tag, name)
            if name == "href":
                assert (value or "").partition(":")[0].lower() in {"http", "https", "mailto"} or ":" not in (
                    value or ""
                )

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=12).map("".join))
def test_only_what_is_allowed_is_left(html: str) -> None:
    try:
        safe = clean(html)
    except ValueError:
        return
    for comment in Reader(safe).comments:
        assert comment.strip().startswith("IMAGE_PLACEHOLDER: ")
    assert "\ue000" not in safe


def test_the_reader_above_notices_what_is_not_allowed() -> None:
    for harmful in ("<script>", "<p onclick=x>", '<a href="javascript:x">'):
        with pytest.raises(AssertionError):
            Reader(harmful)


def test_an_articles_own_markup_stays() -> None:
    link = '<a href="https://example.com/" rel="noopener noreferrer">元</a>'
    html = f"<h2>始め方</h2>\n<p>小さく<strong>始める</strong>。{link}</p>\n{PLACE}"
    assert clean(html) == html


def test_pictures_keep_their_place_and_other_comments_go() -> None:
    assert clean(f"<p>a</p><!-- secret -->{PLACE}<script>{PLACE}</script>") == f"<p>a</p>{PLACE}"


@pytest.mark.parametrize("shape", [WrittenSection, EditedArticle])
def test_a_models_answer_is_cleaned_where_it_comes_in(shape: type[WrittenSection | EditedArticle]) -> None:
    answer = shape.model_validate({"title": "t", "html": "<p onclick='x'>a</p><script>b</script>"})
    assert answer.html == "<p>a</p>"
    with pytest.raises(ValidationError, match="nothing that may be shown"):
        shape.model_validate({"title": "t", "html": "<script>b</script>"})
