"""Who is present in one topic. Pure: every change returns the difference that the members have to be told."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Metas: TypeAlias = dict[str, dict[str, list[dict[str, Any]]]]  # key -> {"metas": [...]}


@dataclass(frozen=True, slots=True)
class Diff:
    joins: Metas
    leaves: Metas

    def payload(self) -> dict[str, Metas]:
        return {"joins": self.joins, "leaves": self.leaves}


@dataclass(slots=True)
class _Tracked:
    key: str
    given: dict[str, Any]
    meta: dict[str, Any]


@dataclass(slots=True)
class Presence:
    _tracked: dict[object, _Tracked] = field(default_factory=dict)

    def track(self, owner: object, key: str, given: dict[str, Any]) -> Diff | None:
        """Set what `owner` shows under `key`; None when it already shows exactly that."""
        before = self._tracked.get(owner)
        if before is not None and before.given == given:
            return None
        meta: dict[str, Any] = {"phx_ref": secrets.token_urlsafe(12)}
        if before is not None:
            meta["phx_ref_prev"] = before.meta["phx_ref"]
        after = self._tracked[owner] = _Tracked(key, given, {**meta, **given})
        return Diff(_as_metas(after), {} if before is None else _as_metas(before))

    def untrack(self, owner: object) -> Diff | None:
        before = self._tracked.pop(owner, None)
        return None if before is None else Diff({}, _as_metas(before))

    def state(self) -> Metas:
        found: Metas = {}
        for entry in self._tracked.values():
            found.setdefault(entry.key, {"metas": []})["metas"].append(entry.meta)
        return found


def _as_metas(entry: _Tracked) -> Metas:
    return {entry.key: {"metas": [entry.meta]}}
