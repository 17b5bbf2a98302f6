"""The rules that squawk lacks for this platform: `ALL` of them, and `look`, which applies them to a folder. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.findings import LintFinding, Rule
from toolkit.migrate.lint.reading.sources import REFUSED
from toolkit.migrate.lint.rules import (
    barred,
    definers,
    enums,
    events,
    functions,
    identities,
    injections,
    order,
    policies,
    privileges,
    publications,
    rollbacks,
    tables,
    unread,
    views,
)
from toolkit.migrate.lint.rules.context import Context

_ROOMS = (
    tables,
    policies,
    identities,
    definers,
    functions,
    injections,
    views,
    privileges,
    barred,
    publications,
    events,
    enums,
    order,
    rollbacks,
    unread,
)

ALL: tuple[Rule, ...] = (REFUSED, *(rule for room in _ROOMS for rule in room.RULES))


def look(context: Context) -> Iterator[LintFinding]:
    """Everything these rules find."""
    for room in _ROOMS:
        yield from room.look(context)
