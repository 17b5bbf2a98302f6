"""Filters and bindings: reading them, deciding them, and finding subscribers by them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.realtime.changes.bindings import Binding, binding_id, parse_bindings
from reference_server.realtime.changes.filters import (
    ASK,
    Condition,
    Decision,
    FilterError,
    Predicate,
    Unknown,
    decision_for,
    parse_filter,
)
from reference_server.realtime.changes.row_change import Values
from reference_server.realtime.changes.subscriptions import Registration, Subscription, SubscriptionIndex
from reference_server.realtime.changes.visibility import Identity, in_progress
from reference_server.realtime.protocol.inspect_text import inspect_tuples, inspect_value
from reference_server.realtime.protocol.ports import BindingsRejected
from reference_server.replication.facts import ColumnFacts, PgType


def condition(
    operator: str, *operands: str | None, decision: Decision = "number", negated: bool = False, column: str = "n"
) -> Condition:
    return Condition(column, 23, '"pg_catalog"."int4"', None, decision, operator, operands, negated)


@pytest.mark.parametrize(
    ("text", "predicates"),
    [
        ("", []),
        ("  ", []),
        ("n=eq.5", [("n", "eq", "5", False)]),
        ("n=not.lt.5", [("n", "lt", "5", True)]),
        (" a=eq.x , b=is.null ", [("a", "eq", "x", False), ("b", "is", "null", False)]),
        ('a=eq."x,y",b=in.("p,q",r)', [("a", "eq", "x,y", False), ("b", "in", '{"p,q",r}', False)]),
        (r'a=eq."q\"\\,"', [("a", "eq", 'q"\\,', False)]),
        ("a=eq.b=eq.c", [("a", "eq", "b=eq.c", False)]),
        ("a=match.^(x|y,z)$", [("a", "match", "^(x|y,z)$", False)]),
        ("a=eq.1.5.2", [("a", "eq", "1.5.2", False)]),
    ],
)
def test_filters_are_read(text: str, predicates: list[tuple[str, str, str, bool]]) -> None:
    assert parse_filter(text) == tuple(Predicate(*found) for found in predicates)


@given(st.text(alphabet='ab=.,()"\\ not.eq.in{}', max_size=40) | st.text(max_size=30))
def test_any_text_is_read_or_refused_with_a_reason(text: str) -> None:
    try:
        parse_filter(text)
        reason = ""
    except FilterError as error:
        reason = str(error)
    assert not reason or reason.startswith("Error parsing `filter` params: ")


@pytest.mark.parametrize(
    ("test", "value", "passes"),
    [
        (condition("eq", "1.5"), b"1.50", True),
        (condition("eq", "NaN"), b"NaN", True),
        (condition("lt", "NaN"), b"Infinity", True),
        (condition("gte", "10"), b"9", False),
        (condition("gt", "9"), b"10", True),
        (condition("eq", "5"), None, False),
        (condition("eq", "5", negated=True), None, False),
        (condition("neq", "5"), None, False),
        (condition("isdistinct", "5"), None, True),
        (condition("isdistinct", "5", negated=True), None, False),
        (condition("isdistinct", "5", negated=True), b"5", True),
        (condition("in", "1", "2"), b"2.0", True),
        (condition("in", "1", None), b"2", False),
        (condition("in", "1", None, negated=True), b"2", False),
        (condition("in", "1", negated=True), b"2", True),
        (condition("in"), None, False),
        (condition("in", negated=True), None, True),
        (condition("is", "null"), None, True),
        (condition("is", "null", negated=True), None, False),
        (condition("is", "true"), b"t", True),
        (condition("is", "false"), b"t", False),
        (condition("is", "unknown"), None, True),
        (condition("is", "true"), None, False),
        (condition("eq", "a", decision="exact"), b"a", True),
        (condition("eq", "a", decision="exact"), b"a ", False),
        (condition("lt", "a", decision="exact"), b"b", ASK),
        (condition("like", "a%", decision="exact"), b"b", ASK),
        (condition("like", "a%", decision="exact", negated=True), None, False),
        (condition("eq", "a", decision="ask"), b"a", ASK),
    ],
)
def test_conditions_follow_sql(test: Condition, value: bytes | None, passes: bool | Unknown) -> None:
    assert test.test(value) is passes


def test_a_negated_comparison_is_asked_as_one() -> None:
    assert condition("like", "a%", negated=True).sql("v.x", "$1") == (
        '(not (v.x::"pg_catalog"."int4"::text like $1)) is true'
    )


@pytest.mark.parametrize(
    ("pg", "deterministic", "decision"),
    [
        (PgType(1, "pg_catalog", "uuid"), True, "exact"),
        (PgType(1, "pg_catalog", "text"), True, "exact"),
        (PgType(1, "pg_catalog", "text"), False, "ask"),
        (PgType(1, "public", "citext"), True, "ask"),
        (PgType(1, "pg_catalog", "bpchar"), True, "ask"),
        (PgType(1, "public", "mood", "e"), True, "exact"),
        (PgType(1, "public", "positive", "d", base=2), True, "number"),
    ],
)
def test_only_what_has_one_text_form_is_compared_as_text(pg: PgType, deterministic: bool, decision: str) -> None:
    column = ColumnFacts("c", 1, "", "", None, deterministic, None)
    assert decision_for(column, {1: pg, 2: PgType(2, "pg_catalog", "numeric")}) == decision


# -- bindings ---------------------------------------------------------------------------------


def test_bindings_keep_what_the_client_sent_and_have_stable_ids() -> None:
    raw: list[Any] = [{"event": "insert", "table": "t", "extra": [1e400, {"é": None}]}, None, {"schema": "s"}]
    first, second = parse_bindings(raw)
    assert (first.raw, first.event, first.schema, first.table) == (raw[0], "INSERT", "public", "t")
    assert (second.schema, second.table, second.problem) == ("s", "*", None)
    assert first.id == parse_bindings([dict(reversed(raw[0].items()))])[0].id
    assert first.id != second.id


@pytest.mark.parametrize("raw", [None, [], [None], "x", {}, 5])
def test_no_bindings(raw: object) -> None:
    assert parse_bindings(raw) == ()


def test_an_entry_that_is_no_object_refuses_the_join() -> None:
    with pytest.raises(BindingsRejected) as error:
        parse_bindings([{"table": "t"}, ["text"]])
    assert error.value.reason == 'UnknownErrorOnChannel: expected a map, got: ["text"]'


Scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(
    st.dictionaries(
        st.sampled_from(["event", "schema", "table", "filter", "select", "x"]),
        Scalar | st.lists(Scalar, max_size=3),
        max_size=6,
    )
)
def test_any_object_is_a_binding_or_carries_its_problem(raw: dict[str, Any]) -> None:
    (binding,) = parse_bindings([raw])
    assert 0 < binding.id < 1 << 27
    assert binding.raw is raw
    assert binding.problem is not None or (binding.schema is not None and binding.table is not None)
    assert binding.shown().startswith("[event: ")


def test_texts_read_as_the_real_server_prints_them() -> None:
    assert inspect_value({"b": [1.5, None, True], "a": 'q"\n\\'}) == r'%{"a" => "q\"\n\\", "b" => [1.5, nil, true]}'
    assert inspect_tuples([("n", "in", "{1}", False)]) == '[{"n", "in", "{1}", false}]'
    assert inspect_tuples([("n", "eq", "x" * 90, True)]).startswith('[\n  {"n", "eq",\n   "xxx')


# -- index ------------------------------------------------------------------------------------


def registered(
    index: SubscriptionIndex, *conditions: Condition, event: str = "*", where: tuple[str, str] = ("public", "t")
) -> Subscription:
    binding = Binding({}, binding_id({}), event, *where)
    subscription = Subscription((binding,), Identity("anon", "{}"), lambda change: None)
    index.add(subscription, [Registration(subscription, binding, *where, conditions)])
    return subscription


def found(index: SubscriptionIndex, values: Values, kind: str = "INSERT") -> list[Subscription]:
    return [registration.subscription for registration in index.candidates("public", "t", kind, values)]


def test_equality_is_looked_up_and_everything_else_is_tried() -> None:
    index = SubscriptionIndex()
    five = registered(index, condition("eq", "5"))
    either = registered(index, condition("gt", "0"), condition("in", "5", "6", "5.0"))
    scanned = registered(index, condition("neq", "5"))
    inserts, anywhere = registered(index, event="INSERT"), registered(index, where=("*", "*"))
    assert found(index, {"n": b"5.0"}) == [scanned, inserts, five, either, anywhere]
    assert found(index, {"n": b"6"}, "DELETE") == [scanned, either, anywhere]
    assert found(index, {"n": None}, "UPDATE") == found(index, {}, "UPDATE") == [scanned, anywhere]


def test_nothing_is_left_of_subscriptions_that_are_gone() -> None:
    index = SubscriptionIndex()
    gone = [registered(index, condition("in", "1", "2")), registered(index, condition("eq", "1")), registered(index)]
    assert index.concerns("public", "t")
    index.replace(gone[0].registrations[0], (condition("eq", "3"),))
    assert found(index, {"n": b"3"}) == [gone[2], gone[0]]
    for subscription in gone:
        index.remove(subscription)
        index.remove(subscription)
    assert not index.concerns("public", "t")
    assert (len(index), index._tables) == (0, {})


@given(st.lists(st.lists(st.integers(0, 5), max_size=3), max_size=12), st.integers(0, 5))
def test_the_index_finds_whom_trying_all_would_find(wanted: list[list[int]], value: int) -> None:
    index = SubscriptionIndex()
    subscriptions = [registered(index, condition("in", *map(str, values))) for values in wanted]
    expected = [s for s, values in zip(subscriptions, wanted, strict=True) if value in values]
    assert set(found(index, {"n": str(Decimal(value)).encode()})) == set(expected)
    assert len(found(index, {"n": str(value).encode()})) == len(expected)


# -- snapshots --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("xid", "snapshot", "running"),
    [
        (7, "5:10:", False),
        (7, "5:10:7,8", True),
        (10, "5:10:", True),
        (12, "5:10:", True),
        (7, f"{5 + 2**32}:{10 + 2**32}:{7 + 2**32}", True),
        (7, f"{5 + 2**32}:{10 + 2**32}:", False),
        (2**32 - 1, f"{2**32 - 5}:{2**32 + 3}:", False),
        (3, f"{2**32 - 5}:{2**32 + 3}:", True),
        (5, f"{2**32 - 9}:{2**32 - 3}:", True),
    ],
)
def test_a_transaction_is_found_in_a_snapshot_also_across_the_wraparound(
    xid: int, snapshot: str, running: bool
) -> None:
    assert in_progress(xid, snapshot) is running
