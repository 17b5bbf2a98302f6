"""The documentation as tests read it: pages, their fenced blocks, and the commands that a reader would type.

A comment directly before a block says what a test does with it:

    <!-- docs-test: checked only, takes a minute -->     commands are not run; their options are checked all the same
    <!-- docs-test: exit 1 -->                           commands end with one of these codes instead of 0
    <!-- docs-test: setup                                a script that runs before the block, unseen by the reader
    export TOKEN=… -->

A block whose title is a file's name (```yaml title="mine.yaml") is a file that the reader writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_BLOCK = re.compile(
    r"(?P<marks>(?:<!-- docs-test:(?:(?!-->).)*-->\n)*)"
    r"(?P<fence>`{3,}) ?(?P<language>\w*)(?P<rest>[^\n]*)\n(?P<text>.*?)(?P=fence)\n",
    re.DOTALL,
)
_MARK = re.compile(r"<!-- docs-test: ?(.*?) ?-->", re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Command:
    """What follows `$ `, continuation lines joined; `shown` is the output that the page prints below it."""

    page: str
    line: int
    text: str
    shown: tuple[str, ...]
    run: bool
    why_not: str
    codes: tuple[int, ...]
    setup: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Written:
    """A file that the reader is told to write."""

    path: str
    text: str


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of text, 1-based."""

    page: str
    line: int
    language: str
    title: str
    text: str
    marks: tuple[str, ...]


def name_of(page: Path) -> str:
    """As messages name a page."""
    return str(page.relative_to(ROOT))


def blocks(text: str, page: str) -> Iterator[Block]:
    """Every fenced block of a page, in order."""
    for match in _BLOCK.finditer(text):
        title = _TITLE.search(match["rest"])
        yield Block(
            page,
            text.count("\n", 0, match.start("text")) + 1,
            match["language"],
            title[1] if title else "",
            match["text"],
            tuple(_MARK.findall(match["marks"])),
        )


def steps(text: str, page: str) -> Iterator[Command | Written]:
    """What a reader does, in order: types commands and writes files."""
    for block in blocks(text, page):
        if block.language == "console":
            yield from _commands(block)
        elif "." in block.title and not any(mark.startswith("checked only") for mark in block.marks):
            yield Written(block.title, block.text)


def commands(text: str, page: str) -> list[Command]:
    """The commands among the steps."""
    return [step for step in steps(text, page) if isinstance(step, Command)]


def _commands(block: Block) -> Iterator[Command]:
    why_not = "".join(mark.removeprefix("checked only").strip(", ") for mark in block.marks if mark[:7] == "checked")
    codes = next((mark.removeprefix("exit").split() for mark in block.marks if mark.startswith("exit ")), ["0"])
    setup = "\n".join(mark.removeprefix("setup").strip() for mark in block.marks if mark.startswith("setup"))
    for mark in block.marks:
        if not mark.startswith(("checked only, ", "exit ", "setup\n")):
            raise ValueError(f"{block.page}:{block.line}: nobody knows what the mark {mark!r} means")
    lines = block.text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        last = start
        while lines[last].endswith("\\"):
            last += 1
        typed = "\n".join(lines[start : last + 1])[2:].replace("\\\n", " ")
        yield Command(
            block.page,
            block.line + start,
            re.sub(r"\s+#\s.*$", "", typed),
            tuple(line for line in lines[last + 1 : end] if line.strip()),
            not why_not,
            why_not,
            tuple(int(code) for code in codes),
            setup if start == starts[0] else "",
        )
