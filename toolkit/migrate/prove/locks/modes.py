"""Postgres' table lock modes: their order, what conflicts with what, whom each stops. Pure."""

from __future__ import annotations

from collections.abc import Iterable

# Weakest first, as `pg_locks.mode` names them.
MODES = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
READS, ROWS, WRITES = "AccessShareLock", "RowShareLock", "RowExclusiveLock"
# Mode → the weakest mode it conflicts with; it then conflicts with everything stronger, but for two exceptions.
_CONFLICTS_FROM = {
    "AccessShareLock": "AccessExclusiveLock",
    "RowShareLock": "ExclusiveLock",
    "RowExclusiveLock": "ShareLock",
    "ShareUpdateExclusiveLock": "ShareUpdateExclusiveLock",
    "ShareLock": "RowExclusiveLock",
    "ShareRowExclusiveLock": "RowExclusiveLock",
    "ExclusiveLock": "RowShareLock",
    "AccessExclusiveLock": "AccessShareLock",
}
_WORDS = {
    "AccessShareLock": "ACCESS SHARE",
    "RowShareLock": "ROW SHARE",
    "RowExclusiveLock": "ROW EXCLUSIVE",
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}


def conflict(one: str, other: str) -> bool:
    """Whether two sessions cannot hold these modes on one relation; an unknown mode conflicts with nothing."""
    if one not in _CONFLICTS_FROM or other not in _CONFLICTS_FROM or (one == other == "ShareLock"):
        return False
    return MODES.index(other) >= MODES.index(_CONFLICTS_FROM[one])


def stops(mode: str) -> str:
    """Whom a lock of this mode makes wait: "readers and writers", "writers" or "" (neither)."""
    if conflict(mode, READS):
        return "readers and writers"
    return "writers" if conflict(mode, WRITES) else ""


def strongest(modes: Iterable[str]) -> str:
    """The strongest of some modes; '' of none."""
    return max(modes, key=MODES.index, default="")


def in_words(mode: str) -> str:
    """The mode as SQL writes it."""
    return _WORDS.get(mode, mode)
