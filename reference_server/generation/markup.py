"""Cleans the HTML that a model wrote, because browsers render it unchanged."""

from __future__ import annotations

import re

import nh3

TAGS = frozenset({
    "h1", "h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "div", "span", "section", "article",
    "ul", "ol", "li", "dl", "dt", "dd", "blockquote", "q", "cite", "pre", "code", "kbd", "figure", "figcaption",
    "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td",
    "a", "strong", "b", "em", "i", "u", "s", "small", "mark", "sub", "sup", "abbr",
})  # fmt: skip
ATTRIBUTES: dict[str, set[str]] = {
    "*": set(),  # without this entry the cleaner uses a list of its own
    "a": {"href", "title"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
SCHEMES = frozenset({"http", "https", "mailto"})

# Comments are dropped, but for those that mark a picture's place. They pass the cleaner as text between
# two characters that mean nothing and that no text keeps otherwise.
_PLACEHOLDER = re.compile(r"<!--\s*IMAGE_PLACEHOLDER:\s*([\w-]{1,100})\s*-->")
_OPEN, _CLOSE = "\ue000", "\ue001"
_MARKED = re.compile(f"{_OPEN}([\\w-]{{1,100}}){_CLOSE}")


def clean(html: str) -> str:
    """The fragment with nothing but TAGS, ATTRIBUTES, links of SCHEMES and image placeholders.

    Scripts and styles go with their content, other unknown elements leave theirs. Raises ValueError
    when nothing is left.
    """
    bare = html.replace(_OPEN, "").replace(_CLOSE, "")
    marked = _PLACEHOLDER.sub(rf"{_OPEN}\1{_CLOSE}", bare)
    safe = nh3.clean(marked, tags=set(TAGS), attributes=ATTRIBUTES, url_schemes=set(SCHEMES))
    if not safe.strip():
        raise ValueError("the HTML holds nothing that may be shown")
    return _MARKED.sub(r"<!-- IMAGE_PLACEHOLDER: \1 -->", safe).replace(_OPEN, "").replace(_CLOSE, "")
