"""Texts that satisfy a pattern: a regular expression, or one of LIKE. Pure.

What this does not understand it leaves out; whether a text fits is for the database to say.
"""

from __future__ import annotations

import random
import re
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    # The parser of `re` under the name it has had since Python 1.5; there is no other access to a parsed pattern.
    import sre_constants as parts
    import sre_parse as parser

_CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": " ",
    "xdigit": "0-9a-f",
    "punct": "!.,-",
    "word": "a-zA-Z0-9_",
}
_POSIX = re.compile(r"\[:(\w+):\]")
_MOST_REPEATS = 3
_TRIES = 3


def like(pattern: str, serial: int) -> str:
    """A text that LIKE finds to match."""
    text = re.sub(r"(?<!\\)%", str(serial), pattern)
    return re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)_", "a", text))


def matching(pattern: str, serial: int) -> tuple[str, ...]:
    """Texts that a regular expression matches as a whole, different for different serials as far as it has room."""
    python = _POSIX.sub(lambda found: _CLASSES.get(found.group(1), "a"), pattern)
    python = python.replace(r"\m", r"\b").replace(r"\M", r"\b").replace(r"\Z", r"\Z").removeprefix("***:")
    try:
        parsed: Any = parser.parse(python)
    except (re.error, OverflowError, RecursionError):
        return ()
    found = []
    for attempt in range(_TRIES):
        chance = random.Random(serial * 31 + attempt)  # noqa: S311 - test data, and the same each time
        try:
            found.append("".join(_piece(code, value, chance) for code, value in parsed))
        except KeyError:
            return ()
    return tuple(dict.fromkeys(found))


def _piece(code: Any, value: Any, chance: random.Random) -> str:
    if code is parts.LITERAL:
        return chr(value)
    if code is parts.NOT_LITERAL:
        return "b" if value == ord("a") else "a"
    if code is parts.ANY:
        return chance.choice("abcxyz")
    if code is parts.AT:
        return ""
    if code is parts.IN:
        return _one_of(value, chance)
    if code is parts.BRANCH:
        return _all(chance.choice(value[1]), chance)
    if code is parts.SUBPATTERN:
        return _all(value[-1], chance)
    if code in (parts.MAX_REPEAT, parts.MIN_REPEAT):
        low, high, inner = value
        times = chance.randint(low, max(low, min(int(high), low + _MOST_REPEATS)))
        return "".join(_all(inner, chance) for _ in range(times))
    if code in (parts.ASSERT, parts.ASSERT_NOT):
        return ""
    raise KeyError(code)


def _all(pattern: Any, chance: random.Random) -> str:
    return "".join(_piece(code, value, chance) for code, value in pattern)


def _one_of(options: Any, chance: random.Random) -> str:
    allowed: set[str] = set()
    negated = False
    for code, value in options:
        if code is parts.NEGATE:
            negated = True
        elif code is parts.LITERAL:
            allowed.add(chr(value))
        elif code is parts.RANGE:
            allowed.update(chr(number) for number in range(value[0], min(value[1], value[0] + 200) + 1))
        elif code is parts.CATEGORY:
            allowed.update(_category(value))
        else:
            raise KeyError(code)
    if negated:
        allowed = set("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_.@ ") - allowed
    return chance.choice(sorted(allowed)) if allowed else ""


def _category(value: Any) -> str:
    return {
        parts.CATEGORY_DIGIT: "0123456789",
        parts.CATEGORY_WORD: "abcdefghijklmnopqrstuvwxyz0123456789_",
        parts.CATEGORY_SPACE: " ",
        parts.CATEGORY_NOT_DIGIT: "abcxyz",
        parts.CATEGORY_NOT_WORD: "-. ",
        parts.CATEGORY_NOT_SPACE: "abcxyz0123",
    }[value]
