"""Subscriptions, indexed by table and by the value that their filter asks for. Pure.

A binding whose filter asks for equality is found by the row's value; any other is tested on each change of its
table.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from reference_server.realtime.changes.bindings import ANY, Binding
from reference_server.realtime.changes.filters import Condition, Decision, comparison_key
from reference_server.realtime.changes.row_change import Values
from reference_server.realtime.changes.visibility import Identity
from reference_server.realtime.protocol.ports import Sink


@dataclass(eq=False, slots=True, weakref_slot=True)
class Subscription:
    """One channel's bindings. After `ended` nothing is delivered to its sink."""

    bindings: tuple[Binding, ...]
    identity: Identity
    sink: Sink
    on_error: Callable[[str], None] | None = None
    ended: bool = False
    owner: object = None  # the client whose subscription it is, None for one by itself
    waiting: int = 0  # deliveries in the client's filter lane
    registrations: list[Registration] = field(default_factory=list, repr=False)

    @property
    def client(self) -> object:
        """Whose budget its filters use."""
        return self if self.owner is None else self.owner


@dataclass(eq=False, slots=True)
class Registration:
    """One binding of a subscription on one table, or on a pattern of tables when it has no filter."""

    subscription: Subscription
    binding: Binding
    schema: str
    table: str
    conditions: tuple[Condition, ...] = ()

    def wants(self, kind: str) -> bool:
        """Whether the binding's event covers this kind of change."""
        return self.binding.event in (ANY, kind)


# Registrations by the value they ask for: (column, how it is compared) → key → registrations.
_ByValue = dict[tuple[str, Decision], dict[Hashable, dict[Registration, None]]]


@dataclass(slots=True)
class _Table:
    scanned: dict[Registration, None] = field(default_factory=dict)
    by_value: _ByValue = field(default_factory=dict)

    def empty(self) -> bool:
        return not self.scanned and not self.by_value


@dataclass
class SubscriptionIndex:
    """Every live registration. Tables are known by (schema, table), either of which may be `*`."""

    _tables: dict[tuple[str, str], _Table] = field(default_factory=dict)
    _subscriptions: dict[Subscription, None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._subscriptions)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._subscriptions))

    def add(self, subscription: Subscription, registrations: Iterable[Registration]) -> None:
        """Make the subscription findable, by these registrations."""
        self._subscriptions[subscription] = None
        for registration in registrations:
            subscription.registrations.append(registration)
            table = self._tables.setdefault((registration.schema, registration.table), _Table())
            for bucket in _buckets(table, registration):
                bucket[registration] = None

    def replace(self, registration: Registration, conditions: tuple[Condition, ...]) -> None:
        """Give a registration other conditions: the types of its table's columns have changed."""
        self._take_out(registration)
        registration.conditions = conditions
        registration.subscription.registrations.remove(registration)
        self.add(registration.subscription, [registration])

    def remove(self, subscription: Subscription) -> None:
        """Take the subscription out; harmless when it is not in."""
        self._subscriptions.pop(subscription, None)
        for registration in subscription.registrations:
            self._take_out(registration)
        subscription.registrations.clear()

    def clear(self) -> list[Subscription]:
        """Take out every subscription and return them."""
        gone = list(self._subscriptions)
        self._subscriptions.clear()
        self._tables.clear()
        for subscription in gone:
            subscription.registrations.clear()
        return gone

    def concerns(self, schema: str, table: str) -> bool:
        """Whether any registration covers this table."""
        return any(where in self._tables for where in _places(schema, table))

    def concerned(self, schema: str, table: str) -> list[Subscription]:
        """Subscriptions with any registration that covers this table."""
        places = set(_places(schema, table))
        return [
            subscription
            for subscription in self._subscriptions
            if any((found.schema, found.table) in places for found in subscription.registrations)
        ]

    def missing_on(self, schema: str, table: str) -> list[tuple[Subscription, Binding]]:
        """Filtered wildcard bindings that cover this table and have no registration on it."""
        places = set(_places(schema, table)) - {(schema, table)}
        return [
            (subscription, binding)
            for subscription in self._subscriptions
            for binding in subscription.bindings
            if binding.predicates
            and (binding.schema, binding.table) in places
            and not any(
                found.binding is binding and (found.schema, found.table) == (schema, table)
                for found in subscription.registrations
            )
        ]

    def on_table(self, schema: str, table: str) -> list[Registration]:
        """Registrations on exactly this table, in no particular order."""
        entry = self._tables.get((schema, table))
        if entry is None:
            return []
        found = dict(entry.scanned)
        for keys in entry.by_value.values():
            for bucket in keys.values():
                found |= bucket
        return list(found)

    def candidates(self, schema: str, table: str, kind: str, values: Values) -> list[Registration]:
        """Registrations that may match: those whose event fits, and whose indexed condition is met."""
        found: list[Registration] = []
        for where in _places(schema, table):
            entry = self._tables.get(where)
            if entry is None:
                continue
            found += [registration for registration in entry.scanned if registration.wants(kind)]
            for (column, decision), keys in entry.by_value.items():
                value = values.get(column)
                if value is None:
                    continue
                bucket = keys.get(comparison_key(decision, value.decode(errors="replace")))
                if bucket:
                    found += [registration for registration in bucket if registration.wants(kind)]
        return found

    def _take_out(self, registration: Registration) -> None:
        where = registration.schema, registration.table
        table = self._tables.get(where)
        if table is None:
            return
        for bucket in _buckets(table, registration):
            bucket.pop(registration, None)
        _prune(table, registration)
        if table.empty():
            del self._tables[where]


def _places(schema: str, table: str) -> tuple[tuple[str, str], ...]:
    return (schema, table), (schema, ANY), (ANY, table), (ANY, ANY)


def _buckets(table: _Table, registration: Registration) -> list[dict[Registration, None]]:
    """The places of a registration in its table: one per value of its first indexable condition."""
    for condition in registration.conditions:
        keys = condition.index_keys()
        if keys is not None:
            index = table.by_value.setdefault((condition.column, condition.decision), {})
            return [index.setdefault(key, {}) for key in keys]
    return [table.scanned]


def _prune(table: _Table, registration: Registration) -> None:
    """Remove the buckets that are empty now that the registration is gone."""
    for condition in registration.conditions:
        keys = condition.index_keys()
        index = table.by_value.get((condition.column, condition.decision))
        if keys is None or index is None:
            continue
        for key in keys:
            if not index.get(key, True):
                del index[key]
        if not index:
            del table.by_value[condition.column, condition.decision]
