"""SQL text → statements, as Postgres' own lexer would cut it, and what kind each statement is.

Understands quoted strings (also `E''` with backslashes), quoted identifiers, dollar quotes, nested
block comments, `BEGIN ATOMIC … END` bodies and semicolons inside parentheses (`CREATE RULE`).
Pure: no I/O, no database.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

_WORD = re.compile(r"[A-Za-z_\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*")
_NUMBER = re.compile(r"\d[\w.]*")
_DOLLAR_TAG = re.compile(r"\$(?:[A-Za-z_\u0080-\U0010ffff][\w\u0080-\U0010ffff]*)?\$")
# After an E'' string, white space with a line break and another quote goes on with the same string.
_CONTINUATION = re.compile(r"[ \t\f\v\r]*\n\s*'")
_QUOTED = "<quoted>"

_CONTROL_FIRST = frozenset({"BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"})
_CONTROL_PAIRS = frozenset({("START", "TRANSACTION"), ("PREPARE", "TRANSACTION")})
_READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})


class SplitError(ValueError):
    """The text cannot be cut: `line` (1-based) is where the trouble starts; `remedy` says what to do."""

    def __init__(self, line: int, what: str, remedy: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line = line
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True)
class Statement:
    """One statement.

    `index` counts from 1; `line` is the 1-based line of its first word; `text` starts with the comments before
    it and has no final semicolon; `leading` is those comments alone; `words` are its unquoted words in upper
    case outside nested bodies (quoted names appear as one placeholder each). A statement without words is a
    comment at the end of a file.
    """

    index: int
    line: int
    text: str
    leading: str
    words: tuple[str, ...]

    @property
    def start_line(self) -> int:
        """The 1-based line on which `text` starts, comments included."""
        body = len(self.leading) + len(self.text[len(self.leading) :]) - len(self.text[len(self.leading) :].lstrip())
        return self.line - self.text.count("\n", 0, body)

    @property
    def is_comment(self) -> bool:
        """Whether there is nothing to run."""
        return not self.words and self.text == self.leading

    @property
    def is_read(self) -> bool:
        """Whether its result is rows to look at."""
        return bool(self.words) and self.words[0] in _READS

    @property
    def is_transaction_control(self) -> bool:
        """Whether it begins or ends a transaction or savepoint, which is the runner's business."""
        return bool(self.words) and (self.words[0] in _CONTROL_FIRST or self.words[:2] in _CONTROL_PAIRS)

    @property
    def refuses_transaction(self) -> str | None:
        """The construct (`CREATE INDEX CONCURRENTLY`, …) for which Postgres refuses a transaction block, or None."""
        return _refuses_transaction(self.words)

    @property
    def is_copy_from_stdin(self) -> bool:
        """Whether the statement's data would follow it in the file, which only psql can send."""
        return bool(self.words) and self.words[0] == "COPY" and "STDIN" in self.words


def split(text: str) -> tuple[Statement, ...]:
    """Cut `text` into statements, the comments before each kept with it.

    Raises SplitError for an unterminated quote or comment and for a psql meta-command.
    """
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.line_ends = [match.start() for match in re.finditer("\n", text)]
        self.at = 0
        self.found: list[Statement] = []
        self._open_statement()

    def _open_statement(self) -> None:
        self.start = self.at
        self.first: int | None = None  # where the first token that is no comment begins
        self.words: list[str] = []
        self.parens = 0
        self.atomic = 0  # depth of BEGIN ATOMIC and of the CASEs within
        self.previous = ""

    def run(self) -> tuple[Statement, ...]:
        while self.at < len(self.text):
            self._step(self.text[self.at])
        self._close()
        return tuple(self.found)

    def _step(self, char: str) -> None:
        text, at = self.text, self.at
        if char.isspace() or char == "\ufeff":
            self.at += 1
        elif text.startswith("--", at):
            end = text.find("\n", at)
            self.at = len(text) if end < 0 else end
        elif text.startswith("/*", at):
            self._block_comment()
        elif char == ";" and self.parens == 0 and self.atomic == 0:
            self._close()
            self.at += 1
            self._open_statement()
        else:
            if self.first is None:
                self.first = at
            self._token(char)

    def _token(self, char: str) -> None:
        text, at = self.text, self.at
        if char == "'":
            self._string(escapes=False)
        elif char == '"':
            self._quoted_identifier()
        elif char == "$" and (tag := _DOLLAR_TAG.match(text, at)):
            end = text.find(tag.group(), tag.end())
            if end < 0:
                raise self._unterminated(at, f"dollar-quoted text {tag.group()}")
            self.at = end + len(tag.group())
        elif word := _WORD.match(text, at):
            self.at = word.end()
            if word.group() in {"e", "E"} and text.startswith("'", self.at):
                self._string(escapes=True)
            else:
                self._word(word.group().upper())
        elif number := _NUMBER.match(text, at):
            self.at = number.end()
        elif char == "\\":
            command = text[at:].split(maxsplit=1)[0]
            raise SplitError(
                self._line(at),
                f"{command} is a psql meta-command, not SQL",
                "Remove it: only psql understands it. Inline what it would include or set.",
            )
        else:
            self.parens += (char in "([") - (char in ")]")
            self.parens = max(self.parens, 0)
            self.at += 1

    def _word(self, word: str) -> None:
        if self.atomic:
            self.atomic += (word == "CASE") - (word == "END")
        elif word == "ATOMIC" and self.previous == "BEGIN" and {"FUNCTION", "PROCEDURE"} & set(self.words):
            self.atomic = 1
        if not self.atomic:
            self.words.append(word)
        self.previous = word

    def _string(self, *, escapes: bool) -> None:
        opened = self.at
        position = self.at + 1
        while position < len(self.text):
            char = self.text[position]
            if escapes and char == "\\":
                position += 2
            elif char != "'":
                position += 1
            elif self.text.startswith("''", position):
                position += 2
            elif escapes and (more := _CONTINUATION.match(self.text, position + 1)):
                position = more.end()
            else:
                self.at = position + 1
                return
        raise self._unterminated(opened, "quoted string")

    def _quoted_identifier(self) -> None:
        position = self.at + 1
        while (position := self.text.find('"', position)) >= 0:
            if not self.text.startswith('""', position):
                self.at = position + 1
                self.words.append(_QUOTED)
                self.previous = _QUOTED
                return
            position += 2
        raise self._unterminated(self.at, "quoted identifier")

    def _block_comment(self) -> None:
        opened, depth, position = self.at, 1, self.at + 2
        while depth:
            opening, closing = self.text.find("/*", position), self.text.find("*/", position)
            if closing < 0:
                raise self._unterminated(opened, "block comment")
            if 0 <= opening < closing:
                depth, position = depth + 1, opening + 2
            else:
                depth, position = depth - 1, closing + 2
        self.at = position

    def _close(self) -> None:
        text = self.text[self.start : self.at].strip(" \t\r\n\f\v\ufeff")
        if not text:
            return
        body = len(self.text[: self.at].rstrip()) if self.first is None else self.first
        leading = self.text[self.start : body].strip(" \t\r\n\f\v\ufeff")
        line = self._line(self.start if self.first is None else self.first)
        self.found.append(Statement(len(self.found) + 1, line, text, leading, tuple(self.words)))

    def _line(self, position: int) -> int:
        return bisect_left(self.line_ends, position) + 1

    def _unterminated(self, position: int, what: str) -> SplitError:
        return SplitError(self._line(position), f"the {what} that starts here never ends", "Close it.")


def _refuses_transaction(words: tuple[str, ...]) -> str | None:
    if not words:
        return None
    first, head = words[0], words[:6]
    if "CONCURRENTLY" in head and "INDEX" in head and first in {"CREATE", "DROP"}:
        return f"{first} INDEX CONCURRENTLY"
    if first == "REINDEX" and ("CONCURRENTLY" in head or {"SCHEMA", "DATABASE", "SYSTEM"} & set(head)):
        return "REINDEX CONCURRENTLY" if "CONCURRENTLY" in head else "REINDEX SCHEMA/DATABASE/SYSTEM"
    if first == "ALTER" and "DETACH" in words and "CONCURRENTLY" in words:
        return "ALTER TABLE … DETACH PARTITION … CONCURRENTLY"
    if first == "VACUUM" or (first == "CLUSTER" and len(words) == 1):
        return first
    if first in {"CREATE", "DROP", "ALTER"} and words[1:2] in {("DATABASE",), ("TABLESPACE",), ("SUBSCRIPTION",)}:
        # ALTER DATABASE … SET and ALTER TABLESPACE … SET/OWNER are ordinary statements.
        return f"{first} {words[1]}" if first != "ALTER" or words[1] == "SUBSCRIPTION" else None
    if words[:2] in {("ALTER", "SYSTEM"), ("DISCARD", "ALL")}:
        return " ".join(words[:2])
    return None
