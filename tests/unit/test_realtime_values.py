"""Postgres text to wire JSON: what the recorded frames do not show, and any input at all."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.realtime.changes.pgtext import PgTextError, parse_array, parse_composite
from reference_server.realtime.changes.values import encoder, normalise_json, plain_number
from reference_server.replication.facts import PgType

NAMES = [
    "bool",
    "int4",
    "int8",
    "numeric",
    "float8",
    "text",
    "bytea",
    "json",
    "jsonb",
    "timestamptz",
    "timestamp",
    "bpchar",
    "oid",
]
TYPES: dict[int, PgType] = {oid: PgType(oid, "pg_catalog", name) for oid, name in enumerate(NAMES, 1)}
OID = {pg.name: oid for oid, pg in TYPES.items()}
TYPES |= {oid + 100: PgType(oid + 100, "pg_catalog", "_" + pg.name, element=oid) for oid, pg in list(TYPES.items())} | {
    201: PgType(201, "public", "positive", "d", base=OID["int4"]),
    202: PgType(202, "public", "pair", "c", fields=(("second", OID["float8"]), ("a", OID["text"]), ("p", 201))),
    203: PgType(203, "public", "_pair", element=202),
    204: PgType(204, "pg_catalog", "box", delimiter=";"),
    205: PgType(205, "pg_catalog", "_box", element=204),
    206: PgType(206, "pg_catalog", "int2vector", element=OID["int4"]),
    207: PgType(207, "public", "bool", "e"),
}


def wire(type_name: str | int, text: str) -> str:
    oid = type_name if isinstance(type_name, int) else OID[type_name]
    return encoder(oid, TYPES)(text.encode()).decode()


@pytest.mark.parametrize(
    ("type_name", "text", "expected"),
    [
        ("bool", "t", "true"),
        ("bool", "f", "false"),
        ("int8", "-9223372036854775808", "-9223372036854775808"),
        ("numeric", "1.50", "1.50"),
        ("numeric", "NaN", "null"),
        ("float8", "-Infinity", "null"),
        ("float8", "-0", "0"),
        ("float8", "-1.5e-05", "-0.000015"),
        ("float8", "1e+21", "1" + "0" * 21),
        ("oid", "7", '"7"'),
        ("bpchar", "ab  ", '"ab  "'),
        ("text", 'q"\\\n\x01é\u2028', json.dumps('q"\\\n\x01é\u2028', ensure_ascii=False)),
        ("bytea", "\\xdeadbeef", '"deadbeef"'),
        ("bytea", "\\x", '""'),
        ("timestamp", "2026-08-01 12:00:00.5", '"2026-08-01T12:00:00.5"'),
        ("timestamp", "-infinity", '"-infinity"'),
        ("timestamptz", "2026-08-01 12:00:00.5+00", '"2026-08-01T12:00:00.5+00:00"'),
        ("timestamptz", "2026-08-01 12:00:00+05:30", '"2026-08-01T12:00:00+05:30"'),
        ("timestamptz", "0044-03-15 00:00:00+00 BC", '"0044-03-15T00:00:00+00:00 BC"'),
        ("json", ' {"b" : 1e2, "a": -0.0, "b": 2 , "long": 1} ', '{"a": 0.0, "b": 2, "long": 1}'),
        ("json", '"\\ud800"', '"\\ud800"'),
        ("json", "1e999999999", "1e999999999"),
        ("jsonb", '{"a": 1.50}', '{"a": 1.50}'),
        (201, "3", "3"),
        (202, '(NaN,"y, ""z""",)', '{"a":"y, \\"z\\"","p":null,"second":"NaN"}'),
        (203, '{"(1e3,x,2)",NULL}', '[{"a":"x","p":2,"second":1000},null]'),
        (205, "{(1,1),(0,0);(2,2),(1,1)}", '["(1,1),(0,0)","(2,2),(1,1)"]'),
        (206, "1 2", "[1,2]"),
        (207, "t", '"t"'),
        (OID["bytea"] + 100, '{"\\\\x01"}', '["\\\\x01"]'),
        (OID["int4"] + 100, "[2:3][0:1]={{1,2},{NULL,4}}", "[[1,2],[null,4]]"),
        (OID["float8"] + 100, "{NaN,-0,1e+20}", '["NaN",0,100000000000000000000]'),
        (OID["timestamptz"] + 100, '{"2026-08-01 12:00:00+00"}', '["2026-08-01T12:00:00+00:00"]'),
    ],
)
def test_wire_form(type_name: str | int, text: str, expected: str) -> None:
    assert wire(type_name, text) == expected


def test_a_composite_altered_after_the_row_was_written_is_sent_as_text() -> None:
    assert wire(202, "(1)") == '"(1)"'


def test_json_too_deep_for_us_is_passed_on() -> None:
    deep = "[" * 5000 + "]" * 5000
    assert wire("json", deep) == deep


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_lose_their_exponent_and_no_digit(value: float) -> None:
    plain = plain_number(repr(value).encode()).decode()
    assert "e" not in plain
    assert not (value == 0 and plain.startswith("-"))
    assert math.isclose(float(plain), value, rel_tol=0, abs_tol=0) or value == 0
    assert Decimal(plain) == Decimal(repr(value))


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(Json)
def test_normalised_json_means_the_same(value: Any) -> None:
    assert json.loads(normalise_json(json.dumps(value).encode())) == value


Leaf = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def quoted(text: str, quote: str = '\\"') -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', quote) + '"'


@given(st.lists(Leaf, max_size=6))
def test_arrays_read_back(items: list[str | None]) -> None:
    text = "{" + ",".join("NULL" if item is None else quoted(item) for item in items) + "}"
    assert parse_array(text) == items


@given(st.lists(Leaf, min_size=2, max_size=6))
def test_composites_read_back(items: list[str | None]) -> None:
    text = "(" + ",".join("" if item is None else quoted(item, '""') for item in items) + ")"
    assert parse_composite(text) == items


@given(st.text(alphabet='{}(),"\\ ab;=[]1', max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_array, parse_composite):
        try:
            assert isinstance(parse(text), list)
        except PgTextError:
            continue


@given(st.sampled_from(sorted(set(TYPES) - {OID["json"], OID["jsonb"], OID["bool"]})), st.text(max_size=20))
def test_every_encoder_is_total_on_text_or_says_so(oid: int, text: str) -> None:
    raw = text.encode(errors="replace")
    try:
        encoder(oid, TYPES)(raw)
    except PgTextError:
        assert TYPES[oid].element or TYPES[oid].kind == "c"
