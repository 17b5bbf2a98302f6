"""Operators that leave whole statements out, or exchange branches: those of files, and those of bodies in PL/pgSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.migrate.mutate.operators.outline import Outline


@dataclass(frozen=True)
class TextOperator:
    """An operator that works on the text of a body: what no tree of a statement holds."""

    id: str
    kind: str
    title: str
    sentence: str


@dataclass(frozen=True)
class Cut:
    """What stands in a body from byte `start` to byte `end` becomes `text`."""

    operator: TextOperator
    told: str
    start: int
    end: int
    text: str


STATEMENT_REMOVED = TextOperator(
    "statement-removed",
    "statement",
    "A statement of a file is left out",
    "Something is not made, not granted, or not taken away.",
)
COMMAND_REMOVED = TextOperator(
    "command-removed",
    "statement",
    "A command of a function is left out",
    "The function does less than it promises: a guard, a change or a message is missing.",
)
BRANCH_REMOVED = TextOperator(
    "branch-removed", "branch", "A branch of IF is left out", "A case is not handled, or falls through to another."
)
BRANCHES_EXCHANGED = TextOperator(
    "branches-exchanged", "branch", "THEN and ELSE are exchanged", "Each case is handled as the other."
)

OPERATORS = (STATEMENT_REMOVED, COMMAND_REMOVED, BRANCH_REMOVED, BRANCHES_EXCHANGED)


def cuts(outline: Outline, data: bytes) -> Iterator[Cut]:
    """Every such change of a body."""
    for command in outline.commands:
        if command.kind not in {"null", "declare"}:
            shown = " ".join(data[command.start : command.end].decode().split())
            told = f"without: {shown if len(shown) <= 60 else shown[:59] + '…'}"
            yield Cut(COMMAND_REMOVED, told, command.start, command.end, "null;")
        for branch in command.branches:
            if branch.word != "if":
                told = f"without the branch {branch.word.upper()}"
                yield Cut(BRANCH_REMOVED, told, branch.start, branch.end, "")
        match command.branches:
            case (first, last) if last.word == "else":
                between = data[first.end : last.inner].decode()
                then, otherwise = (
                    data[first.inner : first.end].decode(),
                    data[last.inner : last.end].decode(),
                )
                yield Cut(
                    BRANCHES_EXCHANGED,
                    "THEN and ELSE are exchanged",
                    first.inner,
                    last.end,
                    f"{otherwise}{between}{then}",
                )
