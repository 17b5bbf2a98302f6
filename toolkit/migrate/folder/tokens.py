"""The tokens of a text that may not be SQL all through, and where its statements end among them. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from toolkit.sql import parse
from toolkit.sql.parse import Token, Unreadable

_OPENS = {"ASCII_40": 1, "ASCII_91": 1, "ASCII_41": -1, "ASCII_93": -1}
SEMICOLON, BACKSLASH = "ASCII_59", "ASCII_92"


def until_unreadable(data: bytes) -> list[Token]:
    """The tokens before the first that cannot be read, a quote that never ends for example."""
    try:
        return parse.tokens(data)
    except Unreadable as error:
        return parse.tokens(data[: error.offset or 0])


def between_semicolons(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens of each statement, comments left out. Semicolons in parentheses (CREATE RULE) and in BEGIN ATOMIC …
    END are a statement's own."""
    found: list[Token] = []
    kinds: set[str] = set()
    parentheses = atomic = 0
    for token in tokens:
        if token.is_comment:
            continue
        if token.kind == SEMICOLON and not parentheses and not atomic:
            if found:
                yield found
            found, kinds = [], set()
            continue
        if atomic:
            atomic += (token.kind == "CASE") - (token.kind == "END_P")
        elif token.kind == "ATOMIC" and found and found[-1].kind == "BEGIN_P" and kinds & {"FUNCTION", "PROCEDURE"}:
            atomic = 1
        parentheses = max(parentheses + _OPENS.get(token.kind, 0), 0)
        found.append(token)
        kinds.add(token.kind)
    if found:
        yield found


def copies_from_stdin(statement: Sequence[Token]) -> bool:
    """Whether these tokens are COPY … FROM STDIN, whose rows would follow."""
    kinds = [token.kind for token in statement]
    return kinds[:1] == ["COPY"] and ("FROM", "STDIN") in itertools.pairwise(kinds)
