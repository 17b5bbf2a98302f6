"""From a batch of row changes to deliveries: which subscriber gets which data, in commit order.

Questions that only Postgres can answer are collected for the whole batch and asked together. Nothing is delivered
before the whole batch is decided, so that a batch that failed can be decided again change by change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from reference_server.realtime.changes.filters import ASK, Condition, Unknown
from reference_server.realtime.changes.row_change import NO_PRIMARY_KEY, UNAUTHORIZED, RowChange, Values
from reference_server.realtime.changes.subscriptions import Registration, Subscription, SubscriptionIndex
from reference_server.realtime.changes.visibility import QuestionFailed, Visibility, VisibilityQuestion
from reference_server.realtime.protocol.ports import Change
from reference_server.replication.facts import RolePrivileges, TableFacts

# Matching subscriptions in one round. It bounds memory and time: with many subscribers a round takes few changes.
MATCHES_AT_ONCE = 5_000
# A change as it goes to one subscription.
Delivery = tuple[Subscription, Change]


# Subscriptions that cannot be served any longer, and why.
Failures = dict[Subscription, str]


@dataclass
class _Match:
    """A change and the registrations of one subscription that match it."""

    change: RowChange
    subscription: Subscription
    registrations: list[Registration]
    privileges: RolePrivileges | None = None


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
    taken, matches = await _matches(changes, index, visibility, failures)
    allowed: dict[tuple[int, str], RolePrivileges] = {}
    for match in matches:
        facts, role = match.change.plan.facts, match.subscription.identity.role
        found = allowed.get((id(facts), role))
        if found is None:
            found = allowed[id(facts), role] = await visibility.catalog.privileges(facts, role)
        match.privileges = found
    visible = await _visible(matches, visibility, failures)
    shared: dict[tuple[tuple[int, ...], int], Change] = {}
    deliveries = []
    for match in matches:
        if match.subscription in failures or not _may_see(match, visible):
            continue
        for ids, data in _payloads(match):
            key = ids, id(data)  # the same bytes object is the same content
            change = shared.get(key)
            if change is None:
                change = shared[key] = Change(ids, data)
            deliveries.append((match.subscription, change))
    return Decided(taken, deliveries, failures)


# -- filters ----------------------------------------------------------------------------------


async def _matches(
    changes: Sequence[RowChange], index: SubscriptionIndex, visibility: Visibility, failures: Failures
) -> tuple[int, list[_Match]]:
    questions: dict[Condition, dict[str, None]] = {}
    open_cases: list[tuple[RowChange, list[Registration]]] = []
    taken = found_so_far = 0
    for change in changes:
        if found_so_far > MATCHES_AT_ONCE:
            break
        taken += 1
        known: dict[Condition, bool | Unknown] = {}
        relation = change.plan.relation
        candidates = []
        for registration in index.candidates(relation.schema, relation.table, change.kind, change.tested):
            results = [_test(condition, change.tested, known) for condition in registration.conditions]
            if False in results:
                continue
            candidates.append(registration)
            for condition, result in zip(registration.conditions, results, strict=True):
                if result is ASK:
                    questions.setdefault(condition, {})[_text(change.tested, condition)] = None
        if candidates:
            open_cases.append((change, candidates))
            found_so_far += len(candidates)
    answers = await visibility.passing({c: list(values) for c, values in questions.items()}) if questions else {}
    matches = []
    for change, candidates in open_cases:
        by_subscription: dict[Subscription, list[Registration]] = {}
        for registration in candidates:
            if _passes(registration, change, answers, failures):
                by_subscription.setdefault(registration.subscription, []).append(registration)
        matches += [_Match(change, subscription, found) for subscription, found in by_subscription.items()]
    return taken, matches


def _test(condition: Condition, values: Values, known: dict[Condition, bool | Unknown]) -> bool | Unknown:
    result = known.get(condition)
    if result is None:
        # A column that was not sent (an unchanged large value, the non-key part of an old row) matches nothing.
        result = known[condition] = condition.column in values and condition.test(values[condition.column])
    return result


def _passes(
    registration: Registration,
    change: RowChange,
    answers: dict[Condition, set[str] | QuestionFailed],
    failures: Failures,
) -> bool:
    for condition in registration.conditions:
        answer = answers.get(condition)
        if answer is None or condition.test(change.tested[condition.column]) is not ASK:
            continue
        if isinstance(answer, QuestionFailed):
            failures.setdefault(registration.subscription, f"the filter on {condition.column} failed: {answer}")
            return False
        if _text(change.tested, condition) not in answer:
            return False
    return True


def _text(values: Values, condition: Condition) -> str:
    value = values[condition.column]
    assert value is not None
    return value.decode(errors="replace")


# -- rows -------------------------------------------------------------------------------------

_Seen = dict[tuple[int, object], set[tuple[str, ...]]]


def _refusal(match: _Match) -> str | None:
    """Why a subscriber gets no row at all: the table has no primary key to ask by, or the role may not read it."""
    change = match.change
    assert match.privileges is not None
    if change.kind == "DELETE":
        return None
    if not change.plan.key or change.primary_key() is None:
        return NO_PRIMARY_KEY
    return None if change.plan.key <= match.privileges.columns else UNAUTHORIZED


def _is_asked(match: _Match) -> bool:
    assert match.privileges is not None
    facts = match.change.plan.facts
    return (
        match.change.kind != "DELETE"
        and facts.has_rls
        and not match.privileges.bypasses_rls
        and _refusal(match) is None
    )


async def _visible(matches: Sequence[_Match], visibility: Visibility, failures: Failures) -> _Seen:
    questions: dict[int, VisibilityQuestion] = {}
    for match in matches:
        if not _is_asked(match):
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
        if failed is not None and _is_asked(match):
            name = match.change.plan.facts.quoted
            failures.setdefault(match.subscription, f"the row policies of {name} failed: {failed}")
    return seen


def _may_see(match: _Match, visible: _Seen) -> bool:
    if not _is_asked(match):
        return True
    seen = visible.get((id(match.change.plan.facts), match.subscription.identity), set())
    return match.change.primary_key() in seen


def _payloads(match: _Match) -> list[tuple[tuple[int, ...], bytes]]:
    """One message for each distinct `select`; a refused row is one message for all bindings."""
    assert match.privileges is not None
    refusal = _refusal(match)
    if refusal is not None:
        return [(_ids(match.registrations), match.change.refused(refusal))]
    groups: dict[frozenset[str] | None, list[Registration]] = {}
    for registration in match.registrations:
        select = registration.binding.select
        groups.setdefault(None if select is None else frozenset(select), []).append(registration)
    return [
        (_ids(group), match.change.data(match.privileges.columns, group[0].binding.select)) for group in groups.values()
    ]


def _ids(registrations: Sequence[Registration]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(registration.binding.id for registration in registrations))


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
