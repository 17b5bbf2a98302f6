"""Values as any program may have written them: every jsonb and every instant that Postgres holds is read as something
that JSON and datetime hold too."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

DEEPEST = 100  # levels of nesting; answers and their encoders hold about 250
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]|[^"\[\]{}]+')
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


def read_json(text: str) -> Any:
    """The value of a jsonb. A number beyond a double is its digits as text, and what is nested deeper than `DEEPEST`
    is a text that says so."""
    if text.count("[") + text.count("{") > DEEPEST:
        text = _shallow(text)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text, parse_int=_number, parse_float=_number)


def write_json(value: Any) -> str:
    """The text of a jsonb."""
    return orjson.dumps(value).decode()


def read_instant(value: tuple[int]) -> datetime:
    """The instant; the first or the last one of datetime's for years before 1 and after 9999."""
    try:
        return _EPOCH + value[0] * _US
    except OverflowError:
        return _FIRST if value[0] < 0 else _LAST


def write_instant(value: datetime) -> tuple[int]:
    """The instant in microseconds since 2000; the first and the last one of datetime's stay what they are."""
    return ((value.astimezone(UTC) - _EPOCH) // _US,)


def as_object(value: Any) -> dict[str, Any]:
    """A JSON object as it is, null as an empty one, and anything else under the key `value`."""
    if isinstance(value, dict):
        return value
    return {} if value is None else {"value": value}


def _number(text: str) -> int | float | str:
    number = float(text)
    if math.isinf(number):
        return text
    return number if "." in text or "e" in text.lower() or abs(number) >= 2**63 else int(text)


def _shallow(text: str) -> str:
    """The JSON with each array and object beyond `DEEPEST` levels replaced by a text."""
    kept: list[str] = []
    depth = 0
    for found in _TOKEN.finditer(text):
        token = found.group()
        depth -= token in ("]", "}")
        if depth < DEEPEST or (depth == DEEPEST and token not in ("[", "{", "]", "}")):
            kept.append(token)
        elif depth == DEEPEST and token in ("[", "{"):
            kept.append(f'"nested more than {DEEPEST} levels deep"')
        depth += token in ("[", "{")
    return "".join(kept)
