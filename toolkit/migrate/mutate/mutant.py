"""A mutant: a folder's file with one thing changed. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from toolkit.sql import parse

_AROUND = 8  # tokens shown on each side of what differs
_LONGEST = 60  # characters shown of a token: the body of a function is one


@dataclass(frozen=True)
class Mutant:
    """One change of one statement of a migration.

    `operator` and `kind` say which change, `told` what it is in words, `title` the operator's own. `line` is where the
    statement, or the part of a body, begins in the file of `version`; `object` what the statement is of. `before` and
    `after` are the SQL that differs, `content` the whole file as the mutant has it. `in_body`: the change is inside of
    a function that is only run when it is called. `twin` tells equal changes of one statement apart.
    """

    operator: str
    kind: str
    title: str
    told: str
    version: str
    file: str
    line: int
    object: str
    before: str
    after: str
    content: str
    in_body: bool
    twin: int = 0

    @cached_property
    def id(self) -> str:
        """Stable as long as the statement reads the same: `lock:claim_task:1f0c9a2b`."""
        whole = "\0".join((self.operator, self.object, self.before, self.after, str(self.twin)))
        short = self.object.partition(" on ")[0].rpartition(" ")[2].rpartition(".")[2]
        return f"{self.operator}:{short}:{hashlib.sha256(whole.encode()).hexdigest()[:8]}"

    def excerpt(self) -> tuple[str, str]:
        """Before and after, with only so much around what differs as it takes to recognise it."""
        first, second = _tokens(self.before), _tokens(self.after)
        head = 0
        while head < min(len(first), len(second)) and first[head] == second[head]:
            head += 1
        tail = 0
        while tail < min(len(first), len(second)) - head and first[-1 - tail] == second[-1 - tail]:
            tail += 1
        return _shown(first, head, tail), _shown(second, head, tail)


def _tokens(text: str) -> list[str]:
    """The tokens, each with the space behind it, if there is any."""
    data = text.encode()
    try:
        found = [token for token in parse.tokens(data) if not token.is_comment]
    except parse.Unreadable:
        return [f"{word} " for word in text.split()]
    behind = [*(token.start for token in found[1:]), len(data)][: len(found)]
    return [
        data[token.start : token.end].decode() + (" " if data[token.end : end].strip() != data[token.end : end] else "")
        for token, end in zip(found, behind, strict=True)
    ]


def _shown(tokens: list[str], head: int, tail: int) -> str:
    first, last = max(head - _AROUND, 0), len(tokens) - max(tail - _AROUND, 0)
    middle = "".join(
        token if len(token) <= _LONGEST else f"{token[:_LONGEST]}… " for token in tokens[first:last]
    ).strip()
    middle = " ".join(middle.split())
    return f"{'… ' if first else ''}{middle}{' …' if last < len(tokens) else ''}"
