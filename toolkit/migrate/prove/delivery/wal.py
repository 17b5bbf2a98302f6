"""Decodes pgoutput, the stream of logical replication: bytes in, committed transactions out. Pure.

The formats are those of the Postgres manual, "Logical Replication Message Formats", protocol version 1. It shares no
code with the reference server's decoder on purpose: the proof must find what that one gets wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Operation = Literal["INSERT", "UPDATE", "DELETE", "TRUNCATE"]
# Seconds from 1970 to 2000, where Postgres' clock begins.
_EPOCH_S = 946_684_800


class WalUnreadable(ValueError):
    """The bytes are not a message of protocol version 1."""


@dataclass(frozen=True)
class Change:
    """One row's change. `table` is `schema.name`, unquoted, as the publication names it.

    `new`: the columns that were sent; `old`: the old row's replica identity, or all of it; both in Postgres' text form,
    None for NULL. `unchanged`: columns with large values that an UPDATE did not change and that are not sent.
    """

    operation: Operation
    table: str
    new: Mapping[str, str | None]
    old: Mapping[str, str | None]
    unchanged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transaction:
    """A committed transaction; `committed_at` in seconds since 1970 by the server's clock, `xid` its low 32 bits."""

    xid: int
    committed_at: float
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Arrival:
    """A decoded transaction; `late_s`: seconds from its commit until it was read, by the server's clock."""

    transaction: Transaction
    late_s: float


@dataclass(frozen=True)
class _Relation:
    table: str
    columns: tuple[str, ...]
    key: tuple[bool, ...]


class _Bytes:
    """The bytes of one message, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, shape: str) -> int:
        layout = struct.Struct(f">{shape}")
        try:
            (value,) = layout.unpack_from(self._data, self._at)
        except struct.error:
            raise WalUnreadable(f"a message ends within a number, at byte {self._at}") from None
        self._at += layout.size
        return int(value)

    def letter(self) -> str:
        return chr(self.number("B"))

    def text(self) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise WalUnreadable("a name has no end")
        return self._decoded(end, skip=1)

    def value(self) -> str:
        size = self.number("I")
        if self._at + size > len(self._data):
            raise WalUnreadable("a value is longer than its message")
        return self._decoded(self._at + size)

    @property
    def over(self) -> bool:
        return self._at >= len(self._data)

    def _decoded(self, end: int, skip: int = 0) -> str:
        try:
            text = self._data[self._at : end].decode()
        except UnicodeDecodeError:
            raise WalUnreadable("a text is not UTF-8: read with client_encoding UTF8") from None
        self._at = end + skip
        return text


class WalDecoder:
    """Takes the messages of one slot in order, and returns each transaction when its commit arrives."""

    def __init__(self) -> None:
        self._relations: dict[int, _Relation] = {}
        self._begun: tuple[int, float] | None = None
        self._changes: list[Change] = []

    def feed(self, data: bytes) -> Transaction | None:
        """Decode one message; returns the transaction that it commits, if any. Raises WalUnreadable."""
        message = _Bytes(data)
        kind = message.letter()
        match kind:
            case "B":
                message.number("Q")
                committed_us = message.number("q")
                self._begun, self._changes = (message.number("I"), committed_us / 1e6 + _EPOCH_S), []
            case "C":
                if self._begun is None:
                    raise WalUnreadable("a commit without a beginning")
                (xid, at), self._begun = self._begun, None
                return Transaction(xid, at, tuple(self._changes))
            case "R":
                self._relation(message)
            case "I" | "U" | "D":
                self._changes.append(self._change(kind, message))
            case "T":
                self._truncate(message)
            case "O" | "Y" | "M":
                return None  # an origin, a type's name, an application's message: no row changed
            case _:
                raise WalUnreadable(f"a message of unknown kind {kind!r}")
        if kind in "RIUDT" and not message.over:
            raise WalUnreadable(f"bytes are left after a message of kind {kind}")
        return None

    def _relation(self, message: _Bytes) -> None:
        oid = message.number("I")
        schema, name = message.text() or "pg_catalog", message.text()
        message.letter()  # the replica identity's kind: what it leads to is in the columns' flags
        columns, key = [], []
        for _ in range(message.number("H")):
            key.append(bool(message.number("B") & 1))
            columns.append(message.text())
            message.number("I")
            message.number("i")
        self._relations[oid] = _Relation(f"{schema}.{name}", tuple(columns), tuple(key))

    def _change(self, kind: str, message: _Bytes) -> Change:
        relation = self._known(message.number("I"))
        new: Mapping[str, str | None] = {}
        old: Mapping[str, str | None] = {}
        unchanged: tuple[str, ...] = ()
        while not message.over:
            match marker := message.letter():
                case "N":
                    new, unchanged = self._row(relation, message)
                case "O":
                    old, _ = self._row(relation, message)
                case "K":
                    sent, _ = self._row(relation, message)
                    key = dict(zip(relation.columns, relation.key, strict=True))
                    old = {name: value for name, value in sent.items() if key[name]}
                case _:
                    raise WalUnreadable(f"a row of unknown kind {marker!r}")
        names: Mapping[str, Operation] = {"I": "INSERT", "U": "UPDATE", "D": "DELETE"}
        return Change(names[kind], relation.table, new, old, unchanged)

    def _row(self, relation: _Relation, message: _Bytes) -> tuple[Mapping[str, str | None], tuple[str, ...]]:
        values: dict[str, str | None] = {}
        unchanged = []
        count = message.number("H")
        if count != len(relation.columns):
            raise WalUnreadable(f"{relation.table} has {len(relation.columns)} columns, and a row of {count} arrived")
        for name in relation.columns:
            match kind := message.letter():
                case "n":
                    values[name] = None
                case "t":
                    values[name] = message.value()
                case "u":
                    unchanged.append(name)
                case _:
                    raise WalUnreadable(f"a value of unknown kind {kind!r}")
        return values, tuple(unchanged)

    def _truncate(self, message: _Bytes) -> None:
        count = message.number("I")
        message.number("B")
        tables = [self._known(message.number("I")).table for _ in range(count)]
        self._changes += [Change("TRUNCATE", table, {}, {}) for table in tables]

    def _known(self, oid: int) -> _Relation:
        if oid not in self._relations:
            raise WalUnreadable(f"a row of relation {oid}, which was never described")
        return self._relations[oid]
