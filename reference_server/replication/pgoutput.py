"""Decode pgoutput, the logical replication protocol (versions 1 and 2, transactions not streamed).

Bytes in, records out, nothing else. `decode` is total: whatever the bytes, it returns a message or
raises PgOutputError. The layout is PostgreSQL's "Logical Replication Message Formats".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class PgOutputError(ValueError):
    """The bytes are not a pgoutput message this decoder knows."""


class Absent(Enum):
    """Marks a column whose value the server did not send: a large value that the update left alone."""

    UNCHANGED = "unchanged"


UNCHANGED = Absent.UNCHANGED
# Postgres text form as UTF-8, None for NULL.
Value = bytes | None | Absent
Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """Start of a committed transaction; `commit_lsn` and `committed_us` are already the commit's."""

    commit_lsn: int
    committed_us: int
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """End of a transaction; `end_lsn` is the position after its commit record."""

    commit_lsn: int
    end_lsn: int
    committed_us: int


@dataclass(frozen=True, slots=True)
class Origin:
    """The transaction was replicated here from elsewhere."""

    commit_lsn: int
    name: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a relation; `is_key` means part of the replica identity."""

    name: str
    type_oid: int
    type_modifier: int
    is_key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """What the following rows of `oid` look like. `identity` is d(efault), n(othing), f(ull) or i(ndex)."""

    oid: int
    schema: str
    table: str
    identity: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Type:
    """A type that is not built in and that a following relation uses."""

    oid: int
    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Insert:
    relation_oid: int
    new: Row


@dataclass(frozen=True, slots=True)
class Update:
    """`key` is the old key when it changed, `old` the whole old row (identity FULL); at most one is set."""

    relation_oid: int
    key: Row | None
    old: Row | None
    new: Row


@dataclass(frozen=True, slots=True)
class Delete:
    """Exactly one of `key` and `old` is set."""

    relation_oid: int
    key: Row | None
    old: Row | None


@dataclass(frozen=True, slots=True)
class Truncate:
    relation_oids: tuple[int, ...]
    cascade: bool
    restart_identity: bool


@dataclass(frozen=True, slots=True)
class LogicalMessage:
    """A message of pg_logical_emit_message."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Message = Begin | Commit | Origin | Relation | Type | Insert | Update | Delete | Truncate | LogicalMessage

_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_COLUMN_TAIL = struct.Struct(">Ii")
_TRUNCATE = struct.Struct(">IB")
_MESSAGE = struct.Struct(">BQ")


def committed_at(committed_us: int) -> datetime:
    """The moment of a commit timestamp (microseconds since 2000-01-01 UTC)."""
    return POSTGRES_EPOCH + timedelta(microseconds=committed_us)


def lsn_text(lsn: int) -> str:
    """An LSN as Postgres prints it, e.g. `0/16B3748`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def decode(data: bytes) -> Message:
    """Decode one message. Raises PgOutputError and nothing else."""
    if not data:
        raise PgOutputError("empty message")
    reader = _DECODERS.get(data[0])
    if reader is None:
        raise PgOutputError(f"unknown message kind 0x{data[0]:02x}")
    try:
        message, end = reader(data, 1)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise PgOutputError(f"truncated or malformed {chr(data[0])!r} message: {error}") from None
    if end != len(data):
        raise PgOutputError(f"{len(data) - end} bytes left after a {chr(data[0])!r} message")
    return message


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(b"\0", at)
    if end < 0:
        raise PgOutputError("unterminated string")
    return data[at:end].decode(), end + 1


def _row(data: bytes, at: int) -> tuple[Row, int]:
    (count,) = _U16.unpack_from(data, at)
    at += 2
    values: list[Value] = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == 0x74:  # t: text
            (size,) = _U32.unpack_from(data, at)
            at += 4
            end = at + size
            if end > len(data):
                raise PgOutputError("a value is longer than its message")
            values.append(data[at:end])
            at = end
        elif kind == 0x6E:  # n: null
            values.append(None)
        elif kind == 0x75:  # u: unchanged TOAST value
            values.append(UNCHANGED)
        else:
            raise PgOutputError(f"unknown value kind 0x{kind:02x}")
    return tuple(values), at


def _begin(data: bytes, at: int) -> tuple[Begin, int]:
    return Begin(*_BEGIN.unpack_from(data, at)), at + _BEGIN.size


def _commit(data: bytes, at: int) -> tuple[Commit, int]:
    _flags, commit_lsn, end_lsn, committed_us = _COMMIT.unpack_from(data, at)
    return Commit(commit_lsn, end_lsn, committed_us), at + _COMMIT.size


def _origin(data: bytes, at: int) -> tuple[Origin, int]:
    high, low = _U32.unpack_from(data, at)[0], _U32.unpack_from(data, at + 4)[0]
    name, at = _text(data, at + 8)
    return Origin(high << 32 | low, name), at


def _relation(data: bytes, at: int) -> tuple[Relation, int]:
    (oid,) = _U32.unpack_from(data, at)
    schema, at = _text(data, at + 4)
    table, at = _text(data, at)
    identity = chr(data[at])
    (count,) = _U16.unpack_from(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        flags = data[at]
        name, at = _text(data, at + 1)
        type_oid, modifier = _COLUMN_TAIL.unpack_from(data, at)
        at += _COLUMN_TAIL.size
        columns.append(Column(name, type_oid, modifier, bool(flags & 1)))
    # An empty schema name stands for pg_catalog.
    return Relation(oid, schema or "pg_catalog", table, identity, tuple(columns)), at


def _type(data: bytes, at: int) -> tuple[Type, int]:
    (oid,) = _U32.unpack_from(data, at)
    schema, at = _text(data, at + 4)
    name, at = _text(data, at)
    return Type(oid, schema or "pg_catalog", name), at


def _marker(data: bytes, at: int, allowed: bytes) -> str:
    if data[at] not in allowed:
        raise PgOutputError(f"unexpected row marker 0x{data[at]:02x}")
    return chr(data[at])


def _insert(data: bytes, at: int) -> tuple[Insert, int]:
    (oid,) = _U32.unpack_from(data, at)
    _marker(data, at + 4, b"N")
    new, at = _row(data, at + 5)
    return Insert(oid, new), at


def _update(data: bytes, at: int) -> tuple[Update, int]:
    (oid,) = _U32.unpack_from(data, at)
    marker = _marker(data, at + 4, b"KON")
    first, at = _row(data, at + 5)
    if marker == "N":
        return Update(oid, None, None, first), at
    _marker(data, at, b"N")
    new, at = _row(data, at + 1)
    return Update(oid, first if marker == "K" else None, first if marker == "O" else None, new), at


def _delete(data: bytes, at: int) -> tuple[Delete, int]:
    (oid,) = _U32.unpack_from(data, at)
    marker = _marker(data, at + 4, b"KO")
    row, at = _row(data, at + 5)
    return Delete(oid, row if marker == "K" else None, row if marker == "O" else None), at


def _truncate(data: bytes, at: int) -> tuple[Truncate, int]:
    count, options = _TRUNCATE.unpack_from(data, at)
    at += _TRUNCATE.size
    if at + 4 * count > len(data):
        raise PgOutputError("fewer relations than announced")
    oids = struct.unpack_from(f">{count}I", data, at)
    return Truncate(oids, bool(options & 1), bool(options & 2)), at + 4 * count


def _message(data: bytes, at: int) -> tuple[LogicalMessage, int]:
    flags, lsn = _MESSAGE.unpack_from(data, at)
    prefix, at = _text(data, at + _MESSAGE.size)
    (size,) = _U32.unpack_from(data, at)
    at += 4
    if at + size > len(data):
        raise PgOutputError("content is longer than its message")
    return LogicalMessage(bool(flags & 1), lsn, prefix, data[at : at + size]), at + size


_DECODERS: dict[int, Callable[[bytes, int], tuple[Message, int]]] = {
    ord("B"): _begin,
    ord("C"): _commit,
    ord("O"): _origin,
    ord("R"): _relation,
    ord("Y"): _type,
    ord("I"): _insert,
    ord("U"): _update,
    ord("D"): _delete,
    ord("T"): _truncate,
    ord("M"): _message,
}
