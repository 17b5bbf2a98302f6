"""Postgres's text forms of arrays and composites, taken apart. Pure and linear in the text's length."""

from __future__ import annotations

# A list of elements, each text, NULL, or (in several dimensions) a list again.
Node = str | None | list["Node"]


class PgTextError(ValueError):
    """The text is not what Postgres prints for an array or a composite."""


def parse_array(text: str, delimiter: str = ",") -> list[Node]:
    """`{a,"b,c",NULL}` → `["a", "b,c", None]`; bounds such as `[2:3]={1,2}` are left out.

    Raises PgTextError.
    """
    at = 0
    if text.startswith("["):
        at = text.find("=") + 1
        if not at:
            raise PgTextError("array bounds without `=`")
    root: list[Node] = []
    open_lists = [root]
    expecting = True  # an element (or a closing brace right after the opening one)
    while at < len(text):
        char = text[at]
        if char == "{":
            inner: list[Node] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
            at += 1
            expecting = True
        elif char == "}":
            if len(open_lists) == 1 or (expecting and open_lists[-1]):
                raise PgTextError("unexpected `}`")
            open_lists.pop()
            at += 1
            expecting = False
        elif char == delimiter:
            if expecting or len(open_lists) == 1:
                raise PgTextError(f"unexpected `{delimiter}`")
            at += 1
            expecting = True
        elif not expecting or len(open_lists) == 1:
            raise PgTextError("text outside of an element")
        elif char == '"':
            element, at = _quoted(text, at)
            open_lists[-1].append(element)
            expecting = False
        else:
            element, at = _bare(text, at, delimiter + "}")
            open_lists[-1].append(None if element == "NULL" else element)
            expecting = False
    if len(open_lists) != 1 or len(root) != 1 or not isinstance(root[0], list):
        raise PgTextError("unbalanced braces")
    return root[0]


def parse_composite(text: str) -> list[str | None]:
    """`(5,"y, z",)` → `["5", "y, z", None]`. Raises PgTextError."""
    if len(text) < 2 or text[0] != "(" or text[-1] != ")":
        raise PgTextError("a composite is written in parentheses")
    fields: list[str | None] = []
    at, end = 1, len(text) - 1
    while True:
        parts: list[str] = []
        present = False
        while at < end and text[at] != ",":
            present = True
            if text[at] == '"':
                part, at = _quoted(text, at, doubled=True)
            else:
                part, at = _bare(text, at, ',)"')
            parts.append(part)
        if at > end:
            raise PgTextError("a quoted field does not end")
        fields.append("".join(parts) if present else None)
        if at >= end:
            return fields
        at += 1


def _quoted(text: str, at: int, *, doubled: bool = False) -> tuple[str, int]:
    parts: list[str] = []
    at += 1
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            parts.append(text[at + 1])
            at += 2
        elif char != '"':
            parts.append(char)
            at += 1
        elif doubled and text[at + 1 : at + 2] == '"':
            parts.append('"')
            at += 2
        else:
            return "".join(parts), at + 1
    raise PgTextError("a quoted element does not end")


def _bare(text: str, at: int, stops: str) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(text) and text[at] not in stops:
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
        parts.append(text[at])
        at += 1
    if not parts:
        raise PgTextError("an empty element")
    return "".join(parts), at
