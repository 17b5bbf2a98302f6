"""Postgres text values as JSON, the way Realtime puts them on the wire.

Pure. The rules are those of `to_jsonb`, seen through the recorded frames: numbers keep all their
digits and have no exponent, `NaN` and infinities are null (strings inside arrays and composites),
bytea loses its `\\x` (but keeps it inside arrays), timestamps are ISO 8601. jsonb is passed on as
Postgres wrote it.

Encoders take a value's text form as UTF-8 bytes and return JSON as UTF-8 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from reference_server.realtime.changes.pgtext import parse_array, parse_composite
from reference_server.replication.facts import PgType

Encoder = Callable[[bytes], bytes]
# Beyond this many digits a number stays as it was written; Postgres itself stops there.
MAX_DIGITS = 131_072
_NOT_FINITE = (b"NaN", b"Infinity", b"-Infinity")
_INTEGERS = frozenset({"int2", "int4", "int8"})
_FRACTIONS = frozenset({"numeric", "float4", "float8"})
_SPACED_VECTORS = frozenset({"int2vector", "oidvector"})


def jsonb_order(name: str) -> tuple[int, bytes]:
    """Sort key of an object's keys in jsonb: shorter first, then by bytes."""
    raw = name.encode()
    return len(raw), raw


def json_string(raw: bytes) -> bytes:
    """A text value as a JSON string."""
    return orjson.dumps(raw.decode(errors="replace"))


def encoder(oid: int, types: Mapping[int, PgType], *, nested: bool = False) -> Encoder:
    """The encoder for values of type `oid`; `nested` inside an array or a composite.

    Raises KeyError when `types` lacks a type that the value is made of.
    """
    pg = types[oid]
    if pg.kind == "d":
        return encoder(pg.base, types, nested=nested)
    if pg.kind == "c":
        return _composite(pg, types)
    if pg.name in _SPACED_VECTORS and pg.schema == "pg_catalog":
        item = encoder(pg.element, types, nested=True)
        return lambda raw: b"[" + b",".join(item(word) for word in raw.split()) + b"]"
    if pg.element:
        return _array(types[pg.element], encoder(pg.element, types, nested=True))
    if pg.schema != "pg_catalog":
        return json_string
    if pg.name in _INTEGERS:
        return _same
    if pg.name in _FRACTIONS:
        return _nested_number if nested else _number
    if pg.name == "bytea" and not nested:
        return _bytea
    return _SCALARS.get(pg.name, json_string)


def _same(raw: bytes) -> bytes:
    return raw


def _bool(raw: bytes) -> bytes:
    return b"true" if raw == b"t" else b"false"


def _number(raw: bytes) -> bytes:
    return b"null" if raw in _NOT_FINITE else plain_number(raw)


def _nested_number(raw: bytes) -> bytes:
    return b'"' + raw + b'"' if raw in _NOT_FINITE else plain_number(raw)


def plain_number(raw: bytes) -> bytes:
    """A finite number without exponent and without a negative zero, all other digits kept."""
    if b"e" not in raw and b"E" not in raw and not raw.startswith(b"-"):
        return raw
    try:
        value = Decimal(raw.decode())
    except InvalidOperation:
        return raw
    if not value:
        value = abs(value)
    if value.adjusted() > MAX_DIGITS or int(value.as_tuple().exponent) < -MAX_DIGITS:
        return raw
    return format(value, "f").encode()


def _bytea(raw: bytes) -> bytes:
    return b'"' + raw.removeprefix(b"\\x") + b'"'


def _timestamp(raw: bytes) -> bytes:
    return b'"' + raw.replace(b" ", b"T", 1) + b'"' if raw[:1].isdigit() else json_string(raw)


def _timestamptz(raw: bytes) -> bytes:
    """`2026-08-01 10:34:56+00 BC` → `"2026-08-01T10:34:56+00:00 BC"`."""
    if not raw[:1].isdigit():
        return json_string(raw)
    moment, era = (raw[:-3], b" BC") if raw.endswith(b" BC") else (raw, b"")
    moment = moment.replace(b" ", b"T", 1)
    if moment[-3:-2] in (b"+", b"-"):
        moment += b":00"
    return b'"' + moment + era + b'"'


def _json(raw: bytes) -> bytes:
    """`json` keeps its text in Postgres; on the wire it reads like jsonb."""
    try:
        return normalise_json(raw)
    except (ValueError, RecursionError):
        # Lone surrogates or very deep nesting: what Postgres accepted is still valid JSON.
        return raw


class _Number(str):
    __slots__ = ()


def normalise_json(raw: bytes) -> bytes:
    """JSON with jsonb's key order, last duplicate winning, and numbers in plain notation.

    Raises ValueError for text that has no UTF-8 form, RecursionError for extreme nesting.
    """
    value = json.loads(raw, parse_float=_Number, parse_int=_Number)
    return _write(value).encode()


def _write(value: Any) -> str:
    match value:
        case _Number():
            return plain_number(value.encode()).decode()
        case dict():
            keys = sorted(value, key=jsonb_order)
            return "{" + ", ".join(f"{json.dumps(k, ensure_ascii=False)}: {_write(value[k])}" for k in keys) + "}"
        case list():
            return "[" + ", ".join(map(_write, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _array(element: PgType, item: Encoder) -> Encoder:
    delimiter = element.delimiter

    def write(node: object) -> bytes:
        if node is None:
            return b"null"
        if isinstance(node, list):
            return b"[" + b",".join(write(child) for child in node) + b"]"
        assert isinstance(node, str)
        return item(node.encode())

    return lambda raw: write(parse_array(raw.decode(errors="replace"), delimiter))


def _composite(pg: PgType, types: Mapping[int, PgType]) -> Encoder:
    fields = [(name, encoder(oid, types, nested=True)) for name, oid in pg.fields]
    # Positions in jsonb's key order.
    order = sorted(range(len(fields)), key=lambda at: jsonb_order(fields[at][0]))
    keys = [orjson.dumps(name) for name, _ in fields]

    def write(raw: bytes) -> bytes:
        parts = parse_composite(raw.decode(errors="replace"))
        if len(parts) != len(fields):
            return json_string(raw)  # the type was altered after the row was written
        texts = [
            keys[at] + b":" + (b"null" if (part := parts[at]) is None else fields[at][1](part.encode())) for at in order
        ]
        return b"{" + b",".join(texts) + b"}"

    return write


_SCALARS: dict[str, Encoder] = {
    "bool": _bool,
    "json": _json,
    "jsonb": _same,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
}
