"""Turns a subscription's bindings and claims into registrations, and checks them again when a table changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from reference_server.realtime.changes.bindings import Binding
from reference_server.realtime.changes.conditions import Conditions, InvalidBinding, most_conditions
from reference_server.realtime.changes.filter_lanes import FilterLane, FilterLanes, LimitPassed
from reference_server.realtime.changes.filters import Condition
from reference_server.realtime.changes.matches import cannot_be_filtered
from reference_server.realtime.changes.subscriptions import Registration, Subscription, SubscriptionIndex
from reference_server.realtime.changes.visibility import Identity
from reference_server.realtime.protocol.ports import SubscribeRefused
from reference_server.replication.api_roles import ApiRoles, RoleRefused
from reference_server.replication.catalog import Catalog
from reference_server.replication.facts import TableFacts

log = structlog.get_logger(__name__)


@dataclass
class Registrar:
    """Checks bindings against the catalog as it is now."""

    catalog: Catalog
    conditions: Conditions
    conditions_again: Conditions
    lanes: FilterLanes
    index: SubscriptionIndex
    api_roles: ApiRoles

    async def registrations(
        self, subscription: Subscription, claims: Mapping[str, Any]
    ) -> tuple[Identity, list[Registration]]:
        """The identity to look at rows as, and the registrations. Raises SubscribeRefused when any binding is bad."""
        try:
            role = await self.api_roles.check(claims.get("role"), (self.catalog.joins or self.catalog.pool).fetchval)
        except RoleRefused as refused:
            raise SubscribeRefused(str(refused)) from None
        identity = Identity(role, json.dumps(dict(claims), separators=(",", ":"), default=str))
        lane = self.lanes.of(subscription.client)
        registrations: list[Registration] = []
        try:
            lane.count(subscription, most_conditions(subscription.bindings))
            lane.refuse_if_barred(subscription.bindings)
            for binding in subscription.bindings:
                registrations += await self._register(subscription, binding, role, lane)
            # A filter on every table of a schema is a condition for each of them.
            lane.count(subscription, sum(len(registration.conditions) for registration in registrations))
        except LimitPassed as passed:
            raise SubscribeRefused(f"{passed}.") from None
        return identity, registrations

    async def recheck(self, facts: TableFacts) -> dict[Subscription, str]:
        """Check the bindings on a table that was announced anew, since its columns may have other types now.

        Returns the subscriptions that no longer fit the table, with the reason.
        """
        failures: dict[Subscription, str] = {}
        for registration in self.index.on_table(facts.schema, facts.name):
            if not _is_stale(registration, facts):
                continue
            subscription = registration.subscription
            try:
                found = await self._again(registration.binding, facts, subscription)
            except InvalidBinding as error:
                failures[subscription] = str(error)
                continue
            if not subscription.ended:
                self.index.replace(registration, found)
        for subscription, binding in self.index.missing_on(facts.schema, facts.name):
            # A filtered wildcard met a table that was published after it subscribed.
            try:
                found = await self._again(binding, facts, subscription)
            except InvalidBinding as error:
                log.info("realtime_wildcard_does_not_fit", table=facts.quoted, reason=str(error))
                continue
            if not subscription.ended:
                self.index.add(subscription, [Registration(subscription, binding, facts.schema, facts.name, found)])
        return failures

    async def _again(self, binding: Binding, facts: TableFacts, subscription: Subscription) -> tuple[Condition, ...]:
        privileges = await self.catalog.privileges(facts, subscription.identity.role)
        return await self.conditions_again.of(binding, facts, privileges, known_patterns=True)

    async def _register(
        self, subscription: Subscription, binding: Binding, role: str, lane: FilterLane
    ) -> list[Registration]:
        if binding.problem is not None:
            raise SubscribeRefused(binding.problem)
        tables = await self.catalog.published(binding.schema, binding.table) if _can_be_a_name(binding) else []
        if not tables:
            raise SubscribeRefused(
                "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given "
                f"connect parameters: {binding.shown()}"
            )
        try:
            conditions = [(facts, await self._conditions(binding, facts, role, lane)) for facts in tables]
        except InvalidBinding as error:
            if error.slow:
                lane.bar()
            raise SubscribeRefused(str(error)) from None
        if not binding.predicates:
            return [Registration(subscription, binding, binding.schema, binding.table)]
        return [Registration(subscription, binding, facts.schema, facts.name, found) for facts, found in conditions]

    async def _conditions(
        self, binding: Binding, facts: TableFacts, role: str, lane: FilterLane
    ) -> tuple[Condition, ...]:
        privileges = await self.catalog.privileges(facts, role, at_join=True)
        why = cannot_be_filtered(facts, privileges) if binding.predicates else None
        if why is not None:
            raise InvalidBinding(f"Unable to subscribe to changes with given parameters. {why}.")
        async with lane.turn():
            return await self.conditions.of(binding, facts, privileges)


def _is_stale(registration: Registration, facts: TableFacts) -> bool:
    return any(
        (column := facts.columns.get(condition.column)) is None
        or (column.type_oid, column.collation) != (condition.type_oid, condition.collation)
        for condition in registration.conditions
    )


def _can_be_a_name(binding: Binding) -> bool:
    """JSON may carry NUL and lone surrogates, which no name in a database can."""
    names = binding.schema + binding.table
    return "\0" not in names and names == names.encode(errors="replace").decode()
