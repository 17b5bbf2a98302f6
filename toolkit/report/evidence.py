"""What a criterion rests on, each fact and each file once: for the renderers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from toolkit.report.model import Check

_IN_FILE = re.compile(r"(?P<names>.+) in (?P<file>\S+)")
# `migrate.apply: …` and `migrate.apply is fail: …`, but not `(median; WebSocket 11 ms)`.
_NAMED = re.compile(r"[\w-]+\.[\w.-]+(?::| is )|no evidence of |not measured: ")
_FILE = re.compile(r"(?:history: )?((?![\w+.-]+:)[^/\s][^\s]*\.(?:jsonl|json|html|log|xml))")


@dataclass(frozen=True)
class Evidence:
    """`facts` are sentences, `sources` say where they are written; a source that is a file is a link."""

    facts: tuple[str, ...]
    sources: tuple[str, ...]


def evidence(check: Check) -> Evidence:
    """The facts of a criterion and where they are written.

    A source that only names facts which are shown anyway is cut down to its file.
    """
    facts: list[str] = []
    for part in check.detail.split("; ") if check.detail else ():
        if facts and not _NAMED.match(part):
            facts[-1] += f"; {part}"  # it goes on about the same
        else:
            facts.append(part)
    shown = {fact.partition(": ")[0] for fact in facts}
    sources: dict[str, None] = {}
    for line in check.witness:
        match = _IN_FILE.fullmatch(line)
        known = match is not None and (set(match["names"].split(", ")) <= shown or match["names"] == "figures")
        sources[match["file"] if match is not None and known else line] = None
    return Evidence(tuple(facts), tuple(sources))


def file_in(source: str) -> str | None:
    """The file that a line of evidence consists of: relative to the report, and below its folder."""
    match = _FILE.fullmatch(source)
    return match[1] if match is not None and ".." not in match[1].split("/") else None
