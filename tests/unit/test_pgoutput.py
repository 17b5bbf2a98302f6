"""pgoutput decoding: every message form by hand-made bytes, and arbitrary bytes."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.replication.pgoutput import (
    UNCHANGED,
    Begin,
    Column,
    Commit,
    Delete,
    Insert,
    LogicalMessage,
    Origin,
    PgOutputError,
    Relation,
    Row,
    Truncate,
    Type,
    Update,
    committed_at,
    decode,
    lsn_text,
)


def row_bytes(row: Row) -> bytes:
    parts = [struct.pack(">H", len(row))]
    for value in row:
        if value is None:
            parts.append(b"n")
        elif value is UNCHANGED:
            parts.append(b"u")
        else:
            parts.append(b"t" + struct.pack(">I", len(value)) + value)
    return b"".join(parts)


ROW: Row = (b"1", None, UNCHANGED, "é".encode(), b"")
OID = struct.pack(">I", 16384)

MESSAGES = [
    (b"B" + struct.pack(">QqI", 5, -7, 9), Begin(5, -7, 9)),
    (b"C" + struct.pack(">BQQq", 0, 5, 6, 7), Commit(5, 6, 7)),
    (b"O" + struct.pack(">Q", 1 << 33) + b"node\0", Origin(1 << 33, "node")),
    (
        b"R"
        + OID
        + b"public\0todos\0d"
        + struct.pack(">H", 2)
        + b"\x01id\0"
        + struct.pack(">Ii", 23, -1)
        + b"\x00t\0"
        + struct.pack(">Ii", 1042, 12),
        Relation(16384, "public", "todos", "d", (Column("id", 23, -1, True), Column("t", 1042, 12, False))),
    ),
    (b"R" + OID + b"\0pg_class\0n" + struct.pack(">H", 0), Relation(16384, "pg_catalog", "pg_class", "n", ())),
    (b"Y" + OID + b"public\0mood\0", Type(16384, "public", "mood")),
    (b"I" + OID + b"N" + row_bytes(ROW), Insert(16384, ROW)),
    (b"U" + OID + b"N" + row_bytes(ROW), Update(16384, None, None, ROW)),
    (b"U" + OID + b"K" + row_bytes((b"0",)) + b"N" + row_bytes(ROW), Update(16384, (b"0",), None, ROW)),
    (b"U" + OID + b"O" + row_bytes((b"0",)) + b"N" + row_bytes(ROW), Update(16384, None, (b"0",), ROW)),
    (b"D" + OID + b"K" + row_bytes(ROW), Delete(16384, ROW, None)),
    (b"D" + OID + b"O" + row_bytes(ROW), Delete(16384, None, ROW)),
    (b"T" + struct.pack(">IBII", 2, 3, 7, 8), Truncate((7, 8), True, True)),
    (b"M" + struct.pack(">BQ", 1, 4) + b"p\0" + struct.pack(">I", 2) + b"hi", LogicalMessage(True, 4, "p", b"hi")),
]


@pytest.mark.parametrize(("data", "expected"), MESSAGES, ids=lambda v: type(v).__name__)
def test_each_message_form(data: bytes, expected: object) -> None:
    assert decode(data) == expected


@pytest.mark.parametrize(("data", "_expected"), MESSAGES, ids=lambda v: type(v).__name__)
def test_a_message_cut_short_or_with_bytes_left_is_refused(data: bytes, _expected: object) -> None:
    for size in range(len(data)):
        with pytest.raises(PgOutputError):
            decode(data[:size])
    with pytest.raises(PgOutputError, match="bytes left"):
        decode(data + b"\0")


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise_anything_else(data: bytes) -> None:
    _decode_or_refuse(data)


@given(st.sampled_from([data for data, _ in MESSAGES]), st.data())
def test_damaged_messages_never_raise_anything_else(message: bytes, data: st.DataObject) -> None:
    damaged = bytearray(message)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    _decode_or_refuse(bytes(damaged))


@given(st.lists(st.one_of(st.none(), st.just(UNCHANGED), st.binary(max_size=40)), max_size=30).map(tuple))
def test_rows_round_trip(row: Row) -> None:
    assert decode(b"I" + OID + b"N" + row_bytes(row)) == Insert(16384, row)


def test_positions_and_moments_read_as_postgres_prints_them() -> None:
    assert lsn_text(0x1_6B374848) == "1/6B374848"
    assert committed_at(0).isoformat() == "2000-01-01T00:00:00+00:00"


def _decode_or_refuse(data: bytes) -> None:
    with contextlib.suppress(PgOutputError):
        decode(data)
