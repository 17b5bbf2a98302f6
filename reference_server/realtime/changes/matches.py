"""A change and the bindings of one subscription that ask for it: what they receive. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from reference_server.realtime.changes.filters import ASK, Condition
from reference_server.realtime.changes.row_change import NO_PRIMARY_KEY, UNAUTHORIZED, RowChange
from reference_server.realtime.changes.subscriptions import Registration, Subscription
from reference_server.realtime.protocol.ports import Change
from reference_server.replication.facts import RolePrivileges, TableFacts


@dataclass
class Match:
    """A change and the registrations of one subscription that match it, as far as that is known without Postgres."""

    change: RowChange
    subscription: Subscription
    registrations: list[Registration]
    privileges: RolePrivileges | None = None

    @property
    def refusal(self) -> str | None:
        """Why the subscriber gets no row at all: no primary key to ask by, or one that the role may not read."""
        change = self.change
        assert self.privileges is not None
        if change.kind == "DELETE":
            return None
        if not change.plan.key or change.primary_key() is None:
            return NO_PRIMARY_KEY
        return None if change.plan.key <= self.privileges.columns else UNAUTHORIZED

    @property
    def is_asked(self) -> bool:
        """Whether the row policies decide."""
        assert self.privileges is not None
        facts = self.change.plan.facts
        return (
            self.change.kind != "DELETE" and facts.has_rls and not self.privileges.bypasses_rls and self.refusal is None
        )

    def open_conditions(self) -> Iterator[Condition]:
        """Conditions of which only Postgres knows whether the row passes; none when no row is sent."""
        if self.refusal is None:
            for registration in self.registrations:
                for condition in registration.conditions:
                    if condition.test(self.change.tested[condition.column]) is ASK:
                        yield condition

    def text(self, condition: Condition) -> str:
        """The row's value that an open condition is about."""
        value = self.change.tested[condition.column]
        assert value is not None
        return value.decode(errors="replace")

    def payloads(self) -> list[tuple[tuple[int, ...], bytes]]:
        """One message for each distinct `select`; a refused row is one message for all bindings."""
        assert self.privileges is not None
        refusal = self.refusal
        if refusal is not None:
            return [(_ids(self.registrations), self.change.refused(refusal))]
        groups: dict[frozenset[str] | None, list[Registration]] = {}
        for registration in self.registrations:
            select = registration.binding.select
            groups.setdefault(None if select is None else frozenset(select), []).append(registration)
        return [
            (_ids(group), self.change.data(self.privileges.columns, group[0].binding.select))
            for group in groups.values()
        ]


# What goes to one subscription: a change, or a match whose open conditions have to be asked about first.
Delivery: TypeAlias = tuple[Subscription, Change | Match]


def without_what_policies_cannot_guard(match: Match) -> list[Registration]:
    """The registrations whose filters may be tested at all on this row.

    The policies are not asked about a row that is gone, and what a subscriber receives of it is its key. So a filter on
    another column may only name the value that it looks for, as on Supabase; no pattern and no comparison finds it out.
    """
    change = match.change
    assert match.privileges is not None
    if change.kind != "DELETE" or not change.plan.facts.has_rls or match.privileges.bypasses_rls:
        return match.registrations
    return [
        registration
        for registration in match.registrations
        if all(
            condition.column in change.plan.key or condition.index_keys() is not None
            for condition in registration.conditions
        )
    ]


def cannot_be_filtered(facts: TableFacts, privileges: RolePrivileges) -> str | None:
    """Why filters on this table are refused to a role: where rows cannot be checked, a filter tells about them."""
    if not facts.has_rls or privileges.bypasses_rls or (facts.key and privileges.columns.issuperset(facts.key)):
        return None
    return (
        f"{facts.schema}.{facts.name} has row security, and its rows cannot be checked because it lacks a primary key "
        "that the role may read: subscribe without a filter, or give it one"
    )


def _ids(registrations: Sequence[Registration]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(registration.binding.id for registration in registrations))
