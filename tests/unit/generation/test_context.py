"""The stored context: what goes in comes out, and old documents are read."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_server.generation.content import GenerationRequest, ImagePlaceholder, Section
from reference_server.generation.context import ArticleContext, ContextUnreadable, from_json, to_json
from toolkit.contract.steps import Step

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
KNOWN = set(to_json(ArticleContext(GenerationRequest(("k",)))))
REQUEST = set(to_json(ArticleContext(GenerationRequest(("k",))))["request"])


def values(type_: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type; text without what Postgres cannot store."""
    simple = {str: text, int: st.integers(-(2**31), 2**31), bool: st.booleans(), Any: json_value, type(None): st.none()}
    if type_ in simple:
        return simple[type_]
    arguments = get_args(type_)
    if get_origin(type_) is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if get_origin(type_) is dict:
        return st.dictionaries(text, values(arguments[1]), max_size=3)
    if arguments:
        return st.one_of(*map(values, arguments))
    if issubclass(type_, Enum):
        return st.sampled_from(type_)
    return st.builds(type_, **{name: values(hint) for name, hint in get_type_hints(type_).items()})


unknown_keys = st.dictionaries(text.filter(lambda key: key not in KNOWN | REQUEST | {"extra"}), json_value, max_size=2)
contexts = st.builds(replace, values(ArticleContext), extra=unknown_keys)


@given(contexts)
@settings(max_examples=30, deadline=None)
def test_storing_loses_nothing(context: ArticleContext) -> None:
    stored = orjson.loads(orjson.dumps(to_json(context)))
    assert from_json(stored) == context
    assert to_json(from_json(stored)) == stored


def test_unknown_keys_are_written_back() -> None:
    stored = to_json(ArticleContext(GenerationRequest(("k",)))) | {"serp_analysis": {"results": [1, 2]}}
    assert to_json(from_json(stored)) == stored


def test_the_first_versions_flat_request_is_read() -> None:
    context = from_json({"initial_keywords": ["a"], "image_mode": True, "websocket": None, "personas": []})
    assert context.request == GenerationRequest(("a",), image_mode=True)
    assert context.extra == {"websocket": None}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (None, "NoneType, not an object"),
        ([], "list, not an object"),
        ({}, "request.initial_keywords"),
        ({"initial_keywords": ["a"], "personas": [{"id": "x"}]}, "personas.0"),
        ({"initial_keywords": ["a"], "flow_type": "sideways"}, "request.flow_type"),
    ],
)
def test_what_cannot_be_read_says_where(document: object, says: str) -> None:
    with pytest.raises(ContextUnreadable, match=says):
        from_json(document)


def test_rounds_and_pictures() -> None:
    picture = ImagePlaceholder("i", "d", "p", "a")
    context = ArticleContext(GenerationRequest(("k",)), sections=(Section("h", "x", (picture,)), Section("g", "y")))
    assert context.image_placeholders == (picture,)
    again = context.with_next_round(Step.OUTLINE_GENERATING)
    assert (context.round_of(Step.OUTLINE_GENERATING), again.round_of(Step.OUTLINE_GENERATING)) == (0, 1)
    assert to_json(again)["rounds"] == {"outline_generating": 1}
