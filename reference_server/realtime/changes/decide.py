"""From a batch of row changes to deliveries: which subscriber gets which data, in commit order.

Row security is asked before any filter that Postgres has to evaluate: who may not see a row learns nothing of it, not
even that a filter failed or was slow. Questions about rows are collected for the batch and asked together. Filters
that only Postgres can evaluate stay open here, and filter_lanes.py asks about each client's by itself. Nothing is
delivered before the whole batch is decided, so that a batch that failed can be decided again change by change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from reference_server.realtime.changes.filters import Condition
from reference_server.realtime.changes.matches import (
    Delivery,
    Match,
    cannot_be_filtered,
    without_what_policies_cannot_guard,
)
from reference_server.realtime.changes.row_change import RowChange, Values
from reference_server.realtime.changes.subscriptions import Registration, Subscription, SubscriptionIndex
from reference_server.realtime.changes.visibility import QuestionFailed, Visibility, VisibilityQuestion
from reference_server.realtime.protocol.ports import Change
from reference_server.replication.facts import RolePrivileges, TableFacts

# Matching subscriptions in one round. It bounds memory and time: with many subscribers a round takes few changes.
MATCHES_AT_ONCE = 5_000

# Subscriptions that cannot be served any longer, and why.
Failures = dict[Subscription, str]


@dataclass(frozen=True, slots=True)
class Decided:
    """The deliveries of the first `taken` changes, in commit order, and the subscriptions that failed."""

    taken: int
    deliveries: list[Delivery]
    failures: Failures


async def decide(changes: Sequence[RowChange], index: SubscriptionIndex, visibility: Visibility) -> Decided:
    """Decide the first changes: at least one, and as many as match about MATCHES_AT_ONCE subscriptions.

    Raises what `Visibility` raises when the database is gone.
    """
    failures: Failures = {}
    await _fill_generated(changes, visibility)
    taken, matches = _matches(changes, index)
    matches = await _with_privileges(matches, visibility, failures)
    visible = await _visible(matches, visibility, failures)
    shared: dict[tuple[tuple[int, ...], int], Change] = {}
    deliveries: list[Delivery] = []
    for match in matches:
        if match.subscription in failures or not _may_see(match, visible):
            continue
        if next(match.open_conditions(), None) is not None:
            deliveries.append((match.subscription, match))
            continue
        for ids, data in match.payloads():
            key = ids, id(data)  # the same bytes object is the same content
            change = shared.get(key)
            if change is None:
                change = shared[key] = Change(ids, data)
            deliveries.append((match.subscription, change))
    return Decided(taken, deliveries, failures)


# -- filters ----------------------------------------------------------------------------------


def _matches(changes: Sequence[RowChange], index: SubscriptionIndex) -> tuple[int, list[Match]]:
    """What the subscriptions ask for, as far as that is decided here."""
    taken = found_so_far = 0
    matches = []
    for change in changes:
        if found_so_far > MATCHES_AT_ONCE:
            break
        taken += 1
        relation = change.plan.relation
        by_subscription: dict[Subscription, list[Registration]] = {}
        for registration in index.candidates(relation.schema, relation.table, change.kind, change.tested):
            if _may_pass(registration.conditions, change.tested):
                by_subscription.setdefault(registration.subscription, []).append(registration)
                found_so_far += 1
        matches += [Match(change, subscription, found) for subscription, found in by_subscription.items()]
    return taken, matches


def _may_pass(conditions: Sequence[Condition], values: Values) -> bool:
    """Whether the row passes, as far as that is known here: what only Postgres can say counts as passed.

    One client may have a thousand conditions, and everybody waits for this: it looks at each once, and keeps nothing.
    """
    for condition in conditions:
        # A column that was not sent (an unchanged large value, the non-key part of an old row) matches nothing.
        if condition.column not in values or not condition.test(values[condition.column]):
            return False
    return True


async def _with_privileges(matches: Sequence[Match], visibility: Visibility, failures: Failures) -> list[Match]:
    """The matches whose filters may be tested, with what their role may read."""
    allowed: dict[tuple[int, str], RolePrivileges] = {}
    kept = []
    for match in matches:
        facts, role = match.change.plan.facts, match.subscription.identity.role
        found = allowed.get((id(facts), role))
        if found is None:
            found = allowed[id(facts), role] = await visibility.catalog.privileges(facts, role)
        match.privileges = found
        why = cannot_be_filtered(facts, found)
        if why is not None and any(registration.conditions for registration in match.registrations):
            failures.setdefault(match.subscription, why)
            continue
        match.registrations = without_what_policies_cannot_guard(match)
        if match.registrations:
            kept.append(match)
    return kept


# -- rows -------------------------------------------------------------------------------------

_Seen = dict[tuple[int, object], set[tuple[str, ...]]]


async def _visible(matches: Sequence[Match], visibility: Visibility, failures: Failures) -> _Seen:
    questions: dict[int, VisibilityQuestion] = {}
    for match in matches:
        if not match.is_asked:
            continue
        facts: TableFacts = match.change.plan.facts
        question = questions.setdefault(id(facts), VisibilityQuestion(facts))
        question.xids.add(match.change.xid)
        key = match.change.primary_key()
        assert key is not None
        question.wanted.setdefault(match.subscription.identity, set()).add(key)
    seen: _Seen = {}
    if not questions:
        return seen
    results = await asyncio.gather(*map(visibility.visible, questions.values()), return_exceptions=True)
    denied: dict[tuple[int, object], QuestionFailed] = {}
    for table, result in zip(questions, results, strict=True):
        if isinstance(result, BaseException):
            raise result
        for identity, answer in result.items():
            if isinstance(answer, QuestionFailed):
                denied[table, identity] = answer
            else:
                seen[table, identity] = answer
    for match in matches:
        failed = denied.get((id(match.change.plan.facts), match.subscription.identity))
        if failed is not None and match.is_asked:
            name = match.change.plan.facts.quoted
            failures.setdefault(match.subscription, f"the row policies of {name} failed: {failed}")
    return seen


def _may_see(match: Match, visible: _Seen) -> bool:
    if not match.is_asked:
        return True
    seen = visible.get((id(match.change.plan.facts), match.subscription.identity), set())
    return match.change.primary_key() in seen


# -- generated columns ------------------------------------------------------------------------


async def _fill_generated(changes: Sequence[RowChange], visibility: Visibility) -> None:
    """Add the generated columns that the stream leaves out, computed by Postgres from those that it sends.

    A large value that an update left alone is not sent: what is made from it stays unknown, everything else is not. Of
    an old row that is its key alone nothing is made.
    """
    rows_of: dict[tuple[int, tuple[str, ...]], list[Values]] = {}
    plans = {}
    for change in changes:
        plan = change.plan
        if not plan.generated:
            continue
        plans[id(plan)] = plan
        sent = {column.name for column in plan.relation.columns}
        for values in (change.new, change.old):
            if not values or (values is change.old and not sent <= values.keys()):
                continue
            known = plan.facts.columns
            names = tuple(name for name in plan.generated if known[name].made_from <= values.keys())
            if names:
                rows_of.setdefault((id(plan), names), []).append(values)
    for (key, names), rows in rows_of.items():
        facts = plans[key].facts
        columns = sorted(frozenset[str]().union(*(facts.columns[name].made_from for name in names)))
        texts = [[_decoded(values[name]) for name in columns] for values in rows]
        made = await visibility.generated(facts, names, columns, texts)
        for values, extra in zip(rows, made, strict=True):
            for name, text in extra.items():
                values[name] = None if text is None else text.encode()


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
