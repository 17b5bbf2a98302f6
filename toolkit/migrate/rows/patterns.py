"""Texts that satisfy a pattern: a regular expression, or one of LIKE. Pure.

Parts of a pattern that it does not know are left out; the database decides whether a text fits.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator
from typing import Any

from rstr.xeger import Xeger

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
_WORD = string.ascii_lowercase + string.digits + "_"
# Characters that people type: what `.`, `\W` and a negated class are made of.
_USUAL = string.ascii_letters + string.digits + "-_.@ "
_ALPHABETS = {
    "printable": "abcxyz",
    "nondigits": "abcxyz",
    "whitespace": " ",
    "nonwhitespace": "abcxyz0123",
    "word": _WORD,
    "nonword": "-. ",
}
_MOST_REPEATS = 3
_TRIES = 3


class _Texts(Xeger):
    """Short texts, and the same ones each time: of itself the library repeats up to a hundred times, and chooses from
    a negated class in an order that differs from process to process."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance, **_ALPHABETS)
        other_than = {"not_literal": lambda code: chance.choice(_USUAL.replace(chr(code), ""))}
        self._cases = {**self._cases, **other_than}

    def _handle_in(self, value: Any) -> Any:
        first, *others = (one for option in value for one in self._handle_state(option))
        if first is not False:  # how the library marks a negated class
            return self._random.choice([first, *others])
        allowed = [letter for letter in _USUAL if letter not in others]
        return self._random.choice(allowed) if allowed else ""

    def _handle_repeat(self, start_range: int, end_range: int, value: Any) -> str:
        return super()._handle_repeat(start_range, min(end_range, start_range + _MOST_REPEATS), value)


def like(pattern: str, serial: int) -> str:
    """A text that LIKE finds to match."""
    text = re.sub(r"(?<!\\)%", str(serial), pattern)
    return re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)_", "a", text))


def matching(pattern: str, serial: int) -> tuple[str, ...]:
    """Texts that a regular expression matches as a whole, different for different serials as far as it has room."""
    python = _POSIX.sub(lambda found: _CLASSES.get(found.group(1), "a"), pattern)
    python = python.replace(r"\m", r"\b").replace(r"\M", r"\b").removeprefix("***:")
    try:
        return tuple(dict.fromkeys(_made(python, serial)))
    except (re.error, OverflowError, RecursionError, KeyError):  # no pattern, or a part that the library does not know
        return ()


def _made(pattern: str, serial: int) -> Iterator[str]:
    for attempt in range(_TRIES):
        yield _Texts(random.Random(serial * 31 + attempt)).xeger(pattern)  # noqa: S311 - test data
