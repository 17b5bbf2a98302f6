"""Facts of a catalog, and the difference of two catalogs. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.migrate.catalog.versions import align

Kind = Literal["added", "removed", "changed"]
_POSITION = "position of "


@dataclass(frozen=True)
class Difference:
    """One fact that two snapshots disagree about; `before`/`after` are its values (None: absent)."""

    kind: Kind
    key: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.kind != "changed":
            return f"{self.kind}: {self.key}"
        return f"changed: {self.key}: " + "; ".join(
            f"{name} {_short(old)} → {_short(new)}" if name else f"{_short(old)} → {_short(new)}"
            for name, old, new in self.parts()
        )

    def parts(self) -> tuple[tuple[str, Any, Any], ...]:
        """What differs: (name, before, after) of each part of the fact; the name is empty for a fact without parts."""
        old, new = (None if text is None else json.loads(text) for text in (self.before, self.after))
        if not isinstance(old, dict | None) or not isinstance(new, dict | None):
            return (("", old, new),)
        first, second = old or {}, new or {}
        return tuple(
            (name, first.get(name), second.get(name))
            for name in sorted(first.keys() | second.keys())
            if first.get(name) != second.get(name)
        )


@dataclass(frozen=True)
class Unmodelled:
    """Objects of one kind for which no fact stands: how many, and their names (fewer where they are only counted)."""

    kind: str
    count: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """Key (`column public.t.c`) → canonical JSON of what is known of it.

    `positions`: sequence → canonical JSON of where it stands; rows move it all the time, so it is no part of the
    structure. `unmodelled`: what exists and is no fact. Both are None where they were not read. `major`: of the
    server; 0 where it is not known.
    """

    facts: Mapping[str, str]
    positions: Mapping[str, str] | None = None
    unmodelled: tuple[Unmodelled, ...] | None = None
    major: int = 0

    def digest(self) -> str:
        """SHA-256 over all facts: equal digests, equal catalogs (as far as they are modelled)."""
        return digest(self.facts)

    def kinds(self) -> tuple[tuple[str, int], ...]:
        """How many facts there are of each kind, most first."""
        return tuple(Counter(kind_of(key) for key in self.facts).most_common())


def digest(facts: Mapping[str, str]) -> str:
    """SHA-256 over keys and values, whatever their order."""
    hashed = hashlib.sha256()
    for key in sorted(facts):
        hashed.update(f"{key}\0{facts[key]}\0".encode())
    return hashed.hexdigest()


def diff(before: Snapshot, after: Snapshot, *, positions: bool = False) -> tuple[Difference, ...]:
    """What differs, sorted by key; with `positions` also where sequences stand, if both snapshots say it.

    Between servers of two major versions, what the version alone accounts for is no difference (`versions.align`).
    """
    aligned = align(before.facts, after.facts, before.major, after.major)
    found = _different(aligned.before, aligned.after)
    if positions and before.positions is not None and after.positions is not None:
        first, second = (
            {_POSITION + key: value for key, value in stand.items()} for stand in (before.positions, after.positions)
        )
        found += _different(first, second)
    return tuple(sorted(found, key=lambda difference: difference.key))


def _different(before: Mapping[str, str], after: Mapping[str, str]) -> list[Difference]:
    found = []
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old != new:
            found.append(Difference("added" if old is None else "removed" if new is None else "changed", key, old, new))
    return found


# Kinds whose name is more than one word, and what begins with the same word.
_LONG_KINDS = (
    "materialized view",
    "foreign table",
    "foreign key trigger",
    "foreign data wrapper",
    "foreign server",
    "composite type",
    "event trigger",
    "not-null constraint",
    "sequence settings",
    "operator family",
    "operator class",
    "text search configuration",
    "text search dictionary",
    "text search parser",
    "text search template",
    "access method",
    "user mapping",
    "default privileges",
    "security label",
    "settings of",
    "comment on",
    "grant on",
)


def kind_of(key: str) -> str:
    """The kind of fact that a key names."""
    return next((kind for kind in _LONG_KINDS if key.startswith(kind)), key.split(" ", 1)[0])


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values, equal texts."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _short(value: Any, limit: int = 160) -> str:
    text = value if isinstance(value, str) else canonical(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
