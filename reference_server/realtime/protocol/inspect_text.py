"""Values as the real server prints them in its refusals (Elixir's `inspect`), so that texts agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 80
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0", "\x1b": "\\e", "\a": "\\a"}


def inspect_text(text: str) -> str:
    """A string in double quotes."""
    return '"' + "".join(map(_char, text)) + '"'


def inspect_value(value: Any) -> str:
    """Anything JSON can hold: `nil`, `true`, numbers, strings, `[…]`, `%{"a" => 1}` with sorted keys."""
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case str():
            return inspect_text(value)
        case Mapping():
            return "%{" + ", ".join(f"{inspect_value(k)} => {inspect_value(value[k])}" for k in sorted(value)) + "}"
        case Sequence():
            return "[" + ", ".join(map(inspect_value, value)) + "]"
        case _:
            return str(value)


def inspect_tuples(tuples: Sequence[Sequence[Any]]) -> str:
    """A list of tuples; broken into lines where it is wider than 80 characters."""
    flat = "[" + ", ".join("{" + ", ".join(map(inspect_value, one)) + "}" for one in tuples) + "]"
    if len(flat) <= WIDTH:
        return flat
    return "[\n" + ",\n".join("  " + _broken_tuple(one, indent=2) for one in tuples) + "\n]"


def _broken_tuple(items: Sequence[Any], indent: int) -> str:
    lines = ["{"]
    for position, item in enumerate(map(inspect_value, items)):
        text = item + ("}" if position == len(items) - 1 else ",")
        if position and indent + len(lines[-1]) + 1 + len(text) > WIDTH:
            lines.append(" " + text)
        else:
            lines[-1] += (" " if position else "") + text
    return ("\n" + " " * indent).join(lines)


def _char(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    return char if char.isprintable() or char == " " else f"\\x{{{ord(char):X}}}"
