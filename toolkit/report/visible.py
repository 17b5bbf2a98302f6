"""Makes characters visible that would steer a terminal or turn the order of a text: names are data of others. Pure."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar, cast

# C0 without tab and line feed, DEL and C1, and what turns the direction of writing.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
T = TypeVar("T")


def visible(text: str) -> str:
    """`text` with each such character as its escape, `\\x1b` or `\\u202e`."""
    return _STEERING.sub(lambda one: one.group().encode("unicode_escape").decode(), text)


def all_visible(value: T) -> T:
    """A report, or a part of one, with every text in it made visible."""
    return cast("T", _walked(value))


def _walked(value: Any) -> Any:
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, tuple):
        return tuple(_walked(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: _walked(getattr(value, one.name)) for one in fields(value) if one.init})
    return value
