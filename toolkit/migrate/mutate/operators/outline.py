"""The parts of a body in PL/pgSQL: its commands with their places, its branches, and the SQL that stands in it. Pure.

libpg_query gives the line on which a command begins and not where it ends, so a body is cut here at its own words,
with Postgres' lexer; every text of SQL in it is then read by Postgres' grammar, and a body that was changed is read
once more as a whole before anybody runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from toolkit.sql import parse
from toolkit.sql.parse import Token, Unreadable

_OPEN, _CLOSE = frozenset({"(", "["}), frozenset({")", "]"})
_SQL = frozenset({"select", "insert", "update", "delete", "with", "merge", "create", "alter", "drop", "grant"})
_SQL_TOO = frozenset({"revoke", "truncate", "lock", "notify", "refresh", "set", "reset", "call", "comment", "analyze"})
_UNREAD = frozenset({"get", "open", "fetch", "move", "close", "exit", "continue", "null", "commit", "rollback"})
_UNREAD_TOO = frozenset({"raise", "execute", "assert"})


class Unclear(ValueError):
    """A body does not read as PL/pgSQL is known to read here."""


@dataclass(frozen=True)
class Part:
    """SQL inside a body: `sql` is a statement, `compose` turns such a statement back into what stands in the body from
    byte `start` to byte `end`. `condition`: it decides where control goes."""

    start: int
    end: int
    sql: str
    compose: Callable[[str], str]
    condition: bool = False


@dataclass(frozen=True)
class Branch:
    """The commands behind THEN, ELSIF … THEN or ELSE. `start` is where its word stands, `inner` where they begin."""

    word: str
    start: int
    inner: int
    end: int


@dataclass(frozen=True)
class Command:
    """A command from byte `start` up to and with its semicolon; `kind` is its first word, or assign or sql."""

    kind: str
    start: int
    end: int
    branches: tuple[Branch, ...] = ()


@dataclass
class Outline:
    """What a body consists of."""

    commands: list[Command] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)


def outline(body: str) -> Outline:
    """Read a body. Raises Unclear, and Unreadable where Postgres' lexer refuses it."""
    reader = _Reader(body.encode())
    reader.block()
    return reader.found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.tokens = [token for token in parse.tokens(data) if not token.is_comment]
        self.words = [data[token.start : token.end].decode().lower() for token in self.tokens]
        self.at = 0
        self.found = Outline()

    # -- moving about ---------------------------------------------------------------------------------------------

    def _word(self, offset: int = 0) -> str:
        place = self.at + offset
        return self.words[place] if place < len(self.words) else ""

    def _take(self, *expected: str) -> Token:
        if self.at >= len(self.tokens) or (expected and self._word() not in expected):
            raise Unclear(f"{' or '.join(expected)} was expected instead of {self._word() or 'the end'}")
        self.at += 1
        return self.tokens[self.at - 1]

    def _upto(self, *ends: str) -> tuple[int, int]:
        """Pass over tokens until one of these words outside of parentheses and CASE; the positions passed over."""
        first, depth, cases = self.at, 0, 0
        while self.at < len(self.tokens):
            word = self._word()
            if depth == 0 and cases == 0 and word in ends:
                return first, self.at
            depth += (word in _OPEN) - (word in _CLOSE)
            cases += word == "case"
            cases -= word == "end" and cases > 0
            self.at += 1
        raise Unclear(f"{' or '.join(ends)} is missing")

    def _text(self, first: int, last: int) -> str:
        return self.data[self.tokens[first].start : self.tokens[last - 1].end].decode()

    # -- what there is --------------------------------------------------------------------------------------------

    def _expression(self, first: int, last: int, *, condition: bool = False) -> None:
        if first >= last:
            return
        start, end = self.tokens[first].start, self.tokens[last - 1].end
        self.found.parts.append(
            Part(
                start,
                end,
                _as_statement(self._text(first, last)),
                lambda sql: _behind(sql, "SELECT"),
                condition,
            )
        )

    def _statement(self, first: int, last: int) -> None:
        """A statement of SQL; INTO and its targets, which the grammar does not know, are set aside."""
        depth = 0
        for n in range(first, last):
            word = self.words[n]
            depth += (word in _OPEN) - (word in _CLOSE)
            if depth == 0 and word == "into" and self.words[n - 1] not in {"insert", "merge"}:
                self._select_into(first, n, last)
                return
        start, end = self.tokens[first].start, self.tokens[last - 1].end
        self.found.parts.append(Part(start, end, self._text(first, last), lambda sql: sql))

    def _select_into(self, first: int, into: int, last: int) -> None:
        after = self._behind_targets(into + 1, last)
        targets = self._text(into, after)
        head, tail = self._text(first, into), self._text(after, last) if after < last else ""
        start, end = self.tokens[first].start, self.tokens[last - 1].end
        self.found.parts.append(Part(start, end, f"{head} {tail}".strip(), lambda sql: f"{sql} {targets}"))

    def _behind_targets(self, n: int, last: int) -> int:
        n += self.words[n] == "strict"
        while n < last:
            n += 1  # a name
            while n < last and self.words[n] == ".":
                n += 2
            if n < last and self.words[n] == ",":
                n += 1
                continue
            break
        return n

    def block(self) -> None:
        """[DECLARE …] BEGIN … [EXCEPTION …] END"""
        self._label()
        if self._word() == "declare":
            self._take()
            while self._word() != "begin":
                first, last = self._upto(";")
                given = next((n for n in range(first, last) if self.words[n] in {":=", "=", "default"}), None)
                if given is not None and "cursor" not in self.words[first:last]:
                    self._expression(given + 1, last)
                self._take(";")
        self._take("begin")
        self._commands("end", "exception")
        if self._word() == "exception":
            self._take()
            while self._word() == "when":
                self._upto("then")
                self._take("then")
                self._commands("when", "end")
        self._take("end")
        if self._word() not in {";", ""}:
            self._take()

    def _label(self) -> None:
        if self._word() == "<<":
            while self._take() and self.words[self.at - 1] != ">>":
                pass

    def _commands(self, *ends: str) -> None:
        while self._word() not in ends:
            self._command()

    def _command(self) -> None:
        self._label()
        first, word = self.at, self._word()
        start = self.tokens[first].start if first < len(self.tokens) else len(self.data)
        branches: tuple[Branch, ...] = ()
        match word:
            case "":
                raise Unclear("the end of a block is missing")
            case "if":
                branches = self._if()
            case "case":
                self._case()
            case "begin" | "declare":
                self.block()
            case "loop" | "while" | "for" | "foreach":
                self._loop(word)
            case _:
                word = self._simple(word)
        semicolon = self._take(";")
        self.found.commands.append(Command(word, start, semicolon.end, branches))

    def _if(self) -> tuple[Branch, ...]:
        found: list[Branch] = []
        while True:
            opening = self._take("if", "elsif", "elseif", "else")
            kind = self.words[self.at - 1]
            if kind != "else":
                self._expression(*self._upto("then"), condition=True)
                self._take("then")
            inner = self.tokens[self.at - 1].end
            self._commands("elsif", "elseif", "else", "end")
            found.append(Branch(kind, opening.start, inner, self.tokens[self.at].start))
            if self._word() == "end":
                self._take("end")
                self._take("if")
                return tuple(found)

    def _case(self) -> None:
        self._take("case")
        if self._word() != "when":
            self._expression(*self._upto("when"))
        while self._word() == "when":
            self._take()
            self._expression(*self._upto("then"))
            self._take("then")
            self._commands("when", "else", "end")
        if self._word() == "else":
            self._take()
            self._commands("end")
        self._take("end")
        self._take("case")

    def _loop(self, word: str) -> None:
        self._take()
        first, last = (self.at, self.at) if word == "loop" else self._upto("loop")
        self._take("loop")
        if word == "while":
            self._expression(first, last, condition=True)
        elif word == "foreach":
            array = next(n for n in range(first, last) if self.words[n] == "array")
            self._expression(array + 1, last)
        elif word == "for":
            within = next(n for n in range(first, last) if self.words[n] == "in") + 1
            dots = next((n for n in range(within, last) if self.words[n] == ".."), None)
            if dots is not None:
                self._expression(within + (self.words[within] == "reverse"), dots)
                self._expression(dots + 1, last)
            elif self.words[within] in _SQL | {"("}:
                self._statement(within, last)
        self._commands("end")
        self._take("end")
        self._take("loop")
        if self._word() != ";":
            self._take()

    def _simple(self, word: str) -> str:
        first, last = self._upto(";")
        if word == "perform":
            start, end = self.tokens[first].start, self.tokens[last - 1].end
            sql = _as_statement(self._text(first + 1, last))
            self.found.parts.append(Part(start, end, sql, lambda sql: f"perform {_behind(sql, 'SELECT')}"))
            return word
        if word == "return":
            if self._word(first + 1 - self.at) == "query" and self.words[first + 2] != "execute":
                self._statement(first + 2, last)
            else:
                self._expression(first + 1 + (self.words[first + 1] == "next"), last)
            return word
        equals = self._assignment(first, last)
        if equals is not None:
            self._expression(equals + 1, last)
            return "assign"
        if word in _SQL | _SQL_TOO:
            self._statement(first, last)
            return "sql"
        if word in _UNREAD | _UNREAD_TOO:
            return word
        raise Unclear(f"{word} begins no command that is known")

    def _assignment(self, first: int, last: int) -> int | None:
        """Where := or = stands behind a target."""
        n = first + 1
        while n < last and self.words[n] == ".":
            n += 2
        while n < last and self.words[n] == "[":
            while n < last and self.words[n] != "]":
                n += 1
            n += 1
        return n if n < last and self.words[n] in {":=", "="} else None


def _as_statement(expression: str) -> str:
    return parse.as_statement(expression).decode()


def _behind(sql: str, word: str) -> str:
    if not sql.startswith(word):
        raise Unreadable(f"{sql} does not begin with {word}", None)
    return sql[len(word) :].lstrip()
