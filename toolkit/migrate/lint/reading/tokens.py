"""One statement's text → tokens with their lines, as Postgres' lexer sees them. Pure.

Comments are no tokens, and what stands in quotes is one token that no keyword can match: that is what keeps a rule
from being triggered by a string or a comment.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

_WORD = re.compile(r"[A-Za-z_\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*")
_NUMBER = re.compile(r"\d[\w.]*")
_DOLLAR_TAG = re.compile(r"\$(?:[A-Za-z_\u0080-\U0010ffff][\w\u0080-\U0010ffff]*)?\$")
_OPERATOR = re.compile(r"::|:=|=>|->>|->|<>|!=|>=|<=|\|\||[-+*/<>=~!@#%^&|`?]")
_CONTINUATION = re.compile(r"[ \t\f\v\r]*\n\s*'")
_STRING_PREFIXES = frozenset({"e", "b", "x", "n"})


class Kind(Enum):
    """What a token is."""

    WORD = auto()  # an unquoted word, in lower case as Postgres folds it
    QUOTED = auto()  # a quoted identifier, as it stands between its quotes
    STRING = auto()  # a quoted string's value
    BODY = auto()  # dollar-quoted text
    NUMBER = auto()
    MARK = auto()  # punctuation and operators


@dataclass(frozen=True)
class Token:
    """`line` is the 1-based line of its file on which it begins."""

    kind: Kind
    text: str
    line: int

    def word(self, *words: str) -> bool:
        """Whether it is one of these unquoted words (lower case)."""
        return self.kind is Kind.WORD and self.text in words

    def mark(self, *marks: str) -> bool:
        """Whether it is one of these punctuation marks or operators."""
        return self.kind is Kind.MARK and self.text in marks

    @property
    def is_name(self) -> bool:
        """Whether it can be (a part of) a name."""
        return self.kind in {Kind.WORD, Kind.QUOTED}

    @property
    def is_text(self) -> bool:
        """Whether it is a literal that holds text."""
        return self.kind in {Kind.STRING, Kind.BODY}


Tokens = tuple[Token, ...]


def tokens(text: str, line: int = 1) -> Tokens:
    """Every token of `text`, whose first line is `line` of its file. A quote that never ends takes the rest."""
    return _Lexer(text, line).run()


def line_comments(text: str, line: int = 1) -> Iterator[tuple[int, str]]:
    """The `--` comments of a text that holds nothing but comments, each with its line; those inside a block comment
    are a part of it."""
    position = 0
    while position < len(text):
        if text.startswith("--", position):
            end = text.find("\n", position)
            end = len(text) if end < 0 else end
            yield line + text.count("\n", 0, position), text[position:end].rstrip()
            position = end
        elif text.startswith("/*", position):
            position = block_end(text, position)
        else:
            position += 1


def block_end(text: str, start: int) -> int:
    """The position behind the block comment that begins at `start`; they nest."""
    depth, position = 1, start + 2
    while depth:
        opening, closing = text.find("/*", position), text.find("*/", position)
        if closing < 0:
            return len(text)
        if 0 <= opening < closing:
            depth, position = depth + 1, opening + 2
        else:
            depth, position = depth - 1, closing + 2
    return position


class _Lexer:
    def __init__(self, text: str, line: int) -> None:
        self.text, self.at, self.first = text, 0, line
        self.line_ends = [match.start() for match in re.finditer("\n", text)]
        self.found: list[Token] = []

    def run(self) -> Tokens:
        while self.at < len(self.text):
            self._step(self.text[self.at])
        return tuple(self.found)

    def _add(self, kind: Kind, text: str, start: int, end: int) -> None:
        self.found.append(Token(kind, text, self.first + bisect_left(self.line_ends, start)))
        self.at = end

    def _step(self, char: str) -> None:
        text, at = self.text, self.at
        if char.isspace() or char == "\ufeff":
            self.at += 1
        elif text.startswith("--", at):
            end = text.find("\n", at)
            self.at = len(text) if end < 0 else end
        elif text.startswith("/*", at):
            self.at = block_end(text, at)
        elif char == "'":
            self._string(at, at, escapes=False)
        elif char == '"':
            self._identifier(at, at)
        elif char == "$" and (tag := _DOLLAR_TAG.match(text, at)):
            end = text.find(tag.group(), tag.end())
            stop = len(text) if end < 0 else end
            self._add(Kind.BODY, text[tag.end() : stop], at, min(stop + len(tag.group()), len(text)))
        elif word := _WORD.match(text, at):
            self._word(at, word.group(), word.end())
        elif number := _NUMBER.match(text, at):
            self._add(Kind.NUMBER, number.group(), at, number.end())
        elif operator := _OPERATOR.match(text, at):
            self._add(Kind.MARK, operator.group(), at, operator.end())
        else:
            self._add(Kind.MARK, char, at, at + 1)

    def _word(self, start: int, word: str, end: int) -> None:
        if word.lower() in _STRING_PREFIXES and self.text.startswith("'", end):
            self._string(start, end, escapes=word.lower() == "e")
        elif word.lower() == "u" and self.text.startswith("&'", end):
            self._string(start, end + 1, escapes=False)
        elif word.lower() == "u" and self.text.startswith('&"', end):
            self._identifier(start, end + 1)
        else:
            self._add(Kind.WORD, word.lower(), start, end)

    def _string(self, start: int, quote: int, *, escapes: bool) -> None:
        text, position, parts = self.text, quote + 1, []
        while position < len(text):
            char = text[position]
            if escapes and char == "\\":
                parts.append(text[position + 1 : position + 2])
                position += 2
            elif char != "'":
                parts.append(char)
                position += 1
            elif text.startswith("''", position):
                parts.append("'")
                position += 2
            elif more := _CONTINUATION.match(text, position + 1):
                position = more.end()
            else:
                position += 1
                break
        self._add(Kind.STRING, "".join(parts), start, position)

    def _identifier(self, start: int, quote: int) -> None:
        text, position = self.text, quote + 1
        while (position := text.find('"', position)) >= 0 and text.startswith('""', position):
            position += 2
        end = len(text) if position < 0 else position
        self._add(Kind.QUOTED, text[quote + 1 : end].replace('""', '"'), start, min(end + 1, len(text)))
