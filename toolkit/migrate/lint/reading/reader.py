"""Reading a statement's tokens from left to right: keywords, names, what stands in parentheses. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.migrate.lint.reading.tokens import Token, Tokens
from toolkit.migrate.lint.reading.tokens import tokens as lexed

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


@dataclass(frozen=True, order=True)
class Name:
    """A name as the catalog knows it: unquoted names folded, schema `public` where none is written."""

    schema: str
    name: str

    def __str__(self) -> str:
        return ".".join(part if _PLAIN.fullmatch(part) else f'"{part}"' for part in (self.schema, self.name))


class Reader:
    """A position in a statement's tokens. What is tried and does not fit leaves the position where it was."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.at = 0

    @property
    def next(self) -> Token | None:
        """The token to be read next, None at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    @property
    def rest(self) -> Tokens:
        """Everything not yet read."""
        return self.tokens[self.at :]

    def take(self, *words: str) -> bool:
        """Read these unquoted words, all of them in this order, or none."""
        found = self.tokens[self.at : self.at + len(words)]
        if len(found) == len(words) and all(token.word(word) for token, word in zip(found, words, strict=True)):
            self.at += len(words)
            return True
        return False

    def one_of(self, *words: str) -> str | None:
        """Read one unquoted word of these."""
        if self.next is not None and self.next.word(*words):
            self.at += 1
            return self.tokens[self.at - 1].text
        return None

    def mark(self, *marks: str) -> bool:
        """Read one of these punctuation marks."""
        if self.next is not None and self.next.mark(*marks):
            self.at += 1
            return True
        return False

    def if_exists(self) -> bool:
        """Read `if exists` or `if not exists`."""
        return self.take("if", "exists") or self.take("if", "not", "exists")

    def part(self) -> str | None:
        """Read one identifier."""
        if self.next is not None and self.next.is_name:
            self.at += 1
            return self.tokens[self.at - 1].text
        return None

    def name(self) -> Name | None:
        """Read a name, qualified or not; a database before the schema is dropped."""
        first = self.part()
        if first is None:
            return None
        parts = [first]
        while self.next is not None and self.next.mark("."):
            self.at += 1
            more = self.part()
            if more is None:
                break
            parts.append(more)
        return Name(parts[-2] if len(parts) > 1 else "public", parts[-1])

    def names(self) -> tuple[Name, ...]:
        """Read names between commas; what follows each up to the comma (`(columns)`, `*`) is passed over."""
        found = []
        while (name := self.name()) is not None:
            found.append(name)
            self.mark("*")
            self.parens()
            if not self.mark(","):
                break
        return tuple(found)

    def parts(self) -> tuple[str, ...]:
        """Read identifiers between commas."""
        found = []
        while (part := self.part()) is not None:
            found.append(part)
            if not self.mark(","):
                break
        return tuple(found)

    def parens(self) -> Tokens | None:
        """Read `( … )`; the tokens between."""
        if self.next is None or not self.next.mark("("):
            return None
        depth, start = 0, self.at
        for position in range(start, len(self.tokens)):
            token = self.tokens[position]
            depth += token.mark("(") - token.mark(")")
            if depth == 0:
                self.at = position + 1
                return self.tokens[start + 1 : position]
        self.at = len(self.tokens)
        return self.tokens[start + 1 :]

    def seek(self, *words: str) -> bool:
        """Go to just behind these words, outside parentheses; False, staying here, when they do not come."""
        depth = 0
        for position in range(self.at, len(self.tokens) - len(words) + 1):
            token = self.tokens[position]
            depth += token.mark("(", "[") - token.mark(")", "]")
            here = self.tokens[position : position + len(words)]
            if depth == 0 and all(t.word(w) for t, w in zip(here, words, strict=True)):
                self.at = position + len(words)
                return True
        return False


def pieces(tokens: Tokens, *marks: str) -> Iterator[Tokens]:
    """Cut at these punctuation marks, outside parentheses; empty pieces are left out."""
    depth, start = 0, 0
    for position, token in enumerate(tokens):
        depth += token.mark("(", "[") - token.mark(")", "]")
        if depth == 0 and token.mark(*marks):
            if position > start:
                yield tokens[start:position]
            start = position + 1
    if len(tokens) > start:
        yield tokens[start:]


def has(tokens: Tokens, *words: str) -> bool:
    """Whether these unquoted words stand next to each other anywhere."""
    return find(tokens, *words) is not None


def find(tokens: Tokens, *words: str) -> int | None:
    """Where these unquoted words stand next to each other for the first time."""
    for position in range(len(tokens) - len(words) + 1):
        if all(tokens[position + offset].word(word) for offset, word in enumerate(words)):
            return position
    return None


def relations(tokens: Tokens) -> Iterator[tuple[Name, int]]:
    """Names of the tables that a query reads (after `from` and `join`), with the line of each.

    `from` in `extract(x from y)`, `is distinct from` and the like is passed over where the grammar lets it be told.
    """
    for position, token in enumerate(tokens):
        if token.word("from"):
            if position and tokens[position - 1].word("distinct") and _in_is_distinct(tokens, position):
                continue
            if _within_function(tokens, position):
                continue
            yield from _from_list(tokens, position + 1)
        elif token.word("join"):
            yield from _one_relation(tokens, position + 1)


def _in_is_distinct(tokens: Tokens, position: int) -> bool:
    before = tokens[max(0, position - 3) : position - 1]
    return any(token.word("is", "not") for token in before)


def _within_function(tokens: Tokens, position: int) -> bool:
    """`extract(epoch from x)`, `substring(a from 2)`, `trim(both from x)`, `overlay(… from …)`."""
    depth = 0
    for earlier in range(position - 1, -1, -1):
        token = tokens[earlier]
        if token.mark(")"):
            depth += 1
        elif token.mark("("):
            if depth == 0:
                return earlier > 0 and tokens[earlier - 1].word("extract", "substring", "trim", "overlay", "position")
            depth -= 1
        elif depth == 0 and token.word("select"):
            return False
    return False


def _from_list(tokens: Tokens, position: int) -> Iterator[tuple[Name, int]]:
    """The tables of a FROM list; those behind `join` are found by themselves."""
    while True:
        reader = Reader(tokens[position:])
        reader.one_of("only")
        reader.take("lateral")
        token, name = reader.next, reader.name()
        if name is not None and token is not None and not (reader.next and reader.next.mark("(")):
            yield name, token.line
        else:
            reader.parens()
        reader.one_of("as")
        if reader.next is not None and reader.next.is_name and not reader.next.word(*_AFTER_FROM):
            reader.part()
            reader.parens()
        if not reader.mark(","):
            return
        position += reader.at


def _one_relation(tokens: Tokens, position: int) -> Iterator[tuple[Name, int]]:
    reader = Reader(tokens[position:])
    reader.one_of("only", "lateral")
    token, name = reader.next, reader.name()
    if name is not None and token is not None and not (reader.next and reader.next.mark("(")):
        yield name, token.line


_AFTER_FROM = (
    "where",
    "join",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "natural",
    "on",
    "using",
    "group",
    "order",
    "having",
    "limit",
    "offset",
    "for",
    "union",
    "intersect",
    "except",
    "window",
    "returning",
    "loop",
    "into",
    "fetch",
    "set",
)


def body_tokens(token: Token) -> Tokens:
    """What a string or dollar-quoted body holds, read as SQL, with the lines of its file."""
    return lexed(token.text, token.line) if token.is_text else ()


def calls(tokens: Tokens, schema: str, name: str) -> Iterator[int]:
    """Where `schema.name(` stands, quoted or not."""
    for n in range(len(tokens) - 3):
        if (
            tokens[n].is_name
            and tokens[n].text == schema
            and tokens[n + 1].mark(".")
            and tokens[n + 2].is_name
            and tokens[n + 2].text == name
            and tokens[n + 3].mark("(")
        ):
            yield n
