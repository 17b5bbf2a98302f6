"""Our facts and pg_dump's text are two opinions on one question; where they part, that is a finding. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from toolkit.migrate.catalog.facts import Difference
from toolkit.migrate.catalog.pg_dump import DumpDifference

# What `pg_dump --schema-only` does not write, as trying every mutation of the tests shows.
_UNSEEN = (
    "settings of ",
    "foreign key trigger ",
    "grant on database ",
    "grant on row type ",
    "comment on database",
    "position of ",
    "language ",
)
_UNSEEN_PARTS = {"extension": {"version", "owner"}}
_QUALIFIED = re.compile(r"(?<![\w.])[\w$]+\.[\w$]+")
_WORD = re.compile(r'[\w$]+|[^\s\w.,"\'():]+')


def disagreements(ours: Iterable[Difference], theirs: Sequence[DumpDifference]) -> tuple[str, ...]:
    """Where exactly one of the two sees a difference, a sentence each; empty when they agree.

    A difference of which pg_dump is known to write nothing needs no consent. An entry of the dump is consented to by
    any difference of ours that names the same object.
    """
    ours = tuple(ours)
    found = []
    if not theirs:
        found += [
            f"our facts say different, pg_dump says equal: {difference}" for difference in ours if in_dump(difference)
        ]
    words = set().union(*(_words(difference.key) for difference in ours))
    tables = {match[0] for difference in ours if (match := _QUALIFIED.search(difference.key))}
    for difference in theirs:
        # A property of a table may stand with its index or its sequence: ALTER TABLE app.child CLUSTER ON child_note.
        told = any(re.search(rf"(?<![\w.]){re.escape(name)}\b", line) for name in tables for line in difference.lines)
        if not told and not _names(difference.title) & words:
            line = f" ({difference.lines[0]})" if difference.lines else ""
            found.append(f"our facts say equal, pg_dump says different: {difference.title}{line}")
    return tuple(found)


def in_dump(difference: Difference) -> bool:
    """Whether pg_dump writes what differs."""
    if difference.key == "database" or difference.key.startswith(_UNSEEN):
        return False
    unseen = _UNSEEN_PARTS.get(difference.key.split(" ", 1)[0], set())
    return difference.kind != "changed" or not {name for name, _, _ in difference.parts()} <= unseen


def _names(title: str) -> set[str]:
    """The names in an entry's title, `ACL app: COLUMN child.note` → child, note; no arguments of functions."""
    kind, _, name = title.partition(": ")
    if kind.startswith("DEFAULT ACL"):
        return {"default"}
    bare = name.split("(", 1)[0] or name
    if kind == "CAST":
        bare = name
    words = _WORD.findall(bare)
    # Words in capitals are pg_dump's own, unless there is nothing else.
    return {word.lower() for word in words if not word.isupper()} or {word.lower() for word in words}


def _words(key: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(key)}
