"""Subscriptions that can no longer be served though no change says so: found by looking at the publication.

A table that was dropped, renamed or taken out of the publication sends nothing more, so nothing in the stream tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from reference_server.realtime.changes.bindings import ANY, EVENTS, Binding
from reference_server.realtime.changes.subscriptions import Subscription
from reference_server.replication.published import Published

EVERY_S: Final = 2.0


def no_longer_served(
    subscriptions: Iterable[Subscription], before: Published | None, now: Published
) -> dict[Subscription, str]:
    """The subscriptions that miss changes as things are `now`, each with the reason. Pure."""
    failures: dict[Subscription, str] = {}
    for subscription in subscriptions:
        for binding in subscription.bindings:
            why = _missing(binding, before, now)
            if why is not None:
                failures[subscription] = f"{why}; join again when that is mended"
                break
    return failures


def _missing(binding: Binding, before: Published | None, now: Published) -> str | None:
    name = f"{binding.schema}.{binding.table}"
    covered = [
        (where, table)
        for where, table in now.tables.items()
        if binding.schema in (ANY, where[0]) and binding.table in (ANY, where[1])
    ]
    if not covered:
        return f"{name} is no longer published: it was dropped, renamed or taken out of the publication"
    wanted = EVENTS if binding.event == ANY else frozenset({binding.event})
    lost = wanted & (before.kinds - now.kinds) if before is not None else frozenset[str]()
    if lost or not wanted & now.kinds:
        return f"the publication no longer publishes {' and '.join(sorted(lost or wanted))}"
    for where, table in covered:
        columns = {predicate.column for predicate in binding.predicates} | set(binding.select or ())
        gone = sorted(columns - table.columns)
        if gone and ANY not in (binding.schema, binding.table):
            return f"{name} has no column {gone[0]} any more, which the subscription names"
        earlier = before.tables.get(where) if before is not None else None
        if earlier is not None and earlier.restriction != table.restriction:
            return f"the publication's row filter for {where[0]}.{where[1]} has changed"
    return None
