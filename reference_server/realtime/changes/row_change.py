"""From a decoded row change to the `data` of a postgres_changes message. Pure.

A change is encoded once; each distinct set of columns (a role's privileges, a binding's `select`)
is one serialised object, shared by every subscriber it goes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import orjson

from reference_server.realtime.changes.values import Encoder, encoder, jsonb_order
from reference_server.replication.facts import PgType, TableFacts
from reference_server.replication.pgoutput import (
    UNCHANGED,
    Delete,
    Insert,
    Relation,
    Row,
    Update,
    committed_at,
)

Kind = Literal["INSERT", "UPDATE", "DELETE"]
# A little below 1 MiB, so that the whole frame stays below the 1 MiB at which the Python client
# closes its socket.
MAX_DATA_BYTES = 1_048_576 - 4_096
# In a row that is too large, only values of at most so many bytes of JSON are sent.
KEPT_VALUE_BYTES = 64
NO_PRIMARY_KEY = "Error 400: Bad Request, no primary key"
UNAUTHORIZED = "Error 401: Unauthorized"
TOO_LARGE = "Error 413: Payload Too Large"

# Column name → text form, None for NULL. A column whose value is unknown is missing.
Values = dict[str, bytes | None]


@dataclass
class TablePlan:
    """How rows of one relation are written: made when the relation is announced."""

    relation: Relation
    facts: TableFacts
    encoders: dict[str, Encoder]
    column_json: dict[str, bytes]  # in the table's order
    field_json: dict[str, bytes]  # `"name":` in the order of jsonb's keys
    generated: tuple[str, ...]
    key: frozenset[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that can be sent, in the table's order."""
        return tuple(self.column_json)


def plan_table(relation: Relation, facts: TableFacts, types: Mapping[int, PgType]) -> TablePlan:
    """Prepare for rows of `relation`. Raises KeyError when `types` lacks one of their types."""
    oids = {column.name: column.type_oid for column in relation.columns}
    stored = {name for name, column in facts.columns.items() if column.generated is None}
    # pgoutput leaves generated columns out. A publication's column list leaves out others as well,
    # and then nobody asked for the generated ones.
    has_column_list = bool(stored - oids.keys())
    generated = tuple(
        name
        for name, column in facts.columns.items()
        if column.generated is not None and name not in oids and not has_column_list
    )
    oids |= {name: facts.columns[name].type_oid for name in generated}
    order = [name for name in facts.columns if name in oids] + [name for name in oids if name not in facts.columns]
    return TablePlan(
        relation,
        facts,
        {name: encoder(oid, types) for name, oid in oids.items()},
        {name: orjson.dumps({"name": name, "type": types[oids[name]].name}) for name in order},
        {name: orjson.dumps(name) + b":" for name in sorted(oids, key=jsonb_order)},
        generated,
        frozenset(facts.key),
    )


@dataclass
class RowChange:
    """One row of a committed transaction. `new` and `old` are what filters see."""

    plan: TablePlan
    kind: Kind
    xid: int
    committed_us: int
    commit_lsn: int
    new: Values
    old: Values
    _encoded: tuple[dict[str, bytes], dict[str, bytes], bool] | None = None
    _rendered: dict[frozenset[str] | str, bytes] = field(default_factory=dict)

    @property
    def tested(self) -> Values:
        """The row that filters are compared with: the new one, for DELETE the old one."""
        return self.old if self.kind == "DELETE" else self.new

    @property
    def timestamp(self) -> str:
        """Commit time as sent: UTC, milliseconds, `Z`."""
        moment = committed_at(self.committed_us - self.committed_us % 1000)
        return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"

    def primary_key(self) -> tuple[str, ...] | None:
        """The row's present primary key as text, None when it is not known."""
        values = [self.new.get(name) for name in self.plan.facts.key]
        return None if None in values else tuple(value.decode() for value in values if value is not None)

    def data(self, readable: frozenset[str], select: tuple[str, ...] | None) -> bytes:
        """The JSON object for a role that may read `readable` and a binding that selects `select`."""
        if select is not None:
            readable = readable & (self.plan.key | set(select))
        found = self._rendered.get(readable)
        if found is None:
            found = self._rendered[readable] = self._render(readable)
        return found

    def refused(self, error: str) -> bytes:
        """The empty object that says why there is no row.

        With the commit's time: upstream sends null there, and the Python client drops such a frame.
        """
        found = self._rendered.get(error)
        if found is None:
            parts = [b'"record":{},"columns":[],"errors":', orjson.dumps([error])]
            found = self._rendered[error] = self._assemble(parts, None if self.kind == "INSERT" else b"{}")
        return found

    def _render(self, readable: frozenset[str]) -> bytes:
        record, old, too_large = self._encode()
        parts = []
        if self.kind != "DELETE":
            parts += [b'"record":', self._object(record, readable), b","]
        columns = [text for name, text in self.plan.column_json.items() if name in readable]
        parts += [b'"columns":[', b",".join(columns), b'],"errors":']
        parts.append(orjson.dumps([TOO_LARGE]) if too_large else b"null")
        return self._assemble(parts, None if self.kind == "INSERT" else self._object(old, readable))

    def _object(self, values: Mapping[str, bytes], readable: frozenset[str]) -> bytes:
        fields = [
            key + values[name] for name, key in self.plan.field_json.items() if name in values and name in readable
        ]
        return b"{" + b",".join(fields) + b"}"

    def _assemble(self, middle: list[bytes], old_record: bytes | None) -> bytes:
        relation = self.plan.relation
        head = b'{"table":' + orjson.dumps(relation.table) + b',"type":"' + self.kind.encode() + b'",'
        tail = b',"schema":' + orjson.dumps(relation.schema) + b',"commit_timestamp":"' + self.timestamp.encode() + b'"'
        if old_record is not None:
            tail += b',"old_record":' + old_record
        return head + b"".join(middle) + tail + b"}"

    def _encode(self) -> tuple[dict[str, bytes], dict[str, bytes], bool]:
        if self._encoded is None:
            encoders = self.plan.encoders

            def encode(values: Values) -> dict[str, bytes]:
                return {
                    name: b"null" if value is None else encoders[name](value)
                    for name, value in values.items()
                    if name in encoders
                }

            record = encode(self.new)
            shown = self.old
            if self.kind == "DELETE" and self.plan.facts.has_rls:
                # The policies cannot be asked about a row that is gone, so only its key is sent.
                shown = {name: value for name, value in self.old.items() if name in self.plan.key}
            old = encode(shown)
            size = sum(len(name) + len(text) + 4 for values in (record, old) for name, text in values.items())
            too_large = size + sum(map(len, self.plan.column_json.values())) > MAX_DATA_BYTES
            if too_large:
                record, old = _small_values(record), _small_values(old)
            self._encoded = record, old, too_large
        return self._encoded


def row_change(
    plan: TablePlan, message: Insert | Update | Delete, xid: int, committed_us: int, commit_lsn: int
) -> RowChange:
    """The change that a message describes. Raises ValueError when its rows do not fit the relation."""
    relation = plan.relation
    match message:
        case Insert():
            kind: Kind = "INSERT"
            new, old = _named(relation, message.new), {}
        case Update():
            kind = "UPDATE"
            new = _named(relation, message.new)
            if message.old is not None:
                old = _named(relation, message.old)
                # A large value that the update left alone is in the old row.
                new = {name: value for name, value in old.items() if name not in new} | new
            elif message.key is not None:
                old = _named(relation, message.key, key_only=True)
            else:  # the key did not change and was not sent
                old = {
                    column.name: new[column.name] for column in relation.columns if column.is_key and column.name in new
                }
        case Delete():
            kind, new = "DELETE", {}
            if message.old is not None:
                old = _named(relation, message.old)
            else:
                old = _named(relation, message.key or (), key_only=True)
    return RowChange(plan, kind, xid, committed_us, commit_lsn, new, old)


def lag_s(committed_us: int, now_s: float) -> float:
    """Seconds between a commit and `now_s` (Unix time), never negative."""
    return max(0.0, now_s - (committed_at(0) + timedelta(microseconds=committed_us)).timestamp())


def _named(relation: Relation, row: Row, *, key_only: bool = False) -> Values:
    values: Values = {}
    for column, value in zip(relation.columns, row, strict=True):
        if value is not UNCHANGED and (column.is_key or not key_only):
            assert value is None or isinstance(value, bytes)
            values[column.name] = value
    return values


def _small_values(values: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: text for name, text in values.items() if len(text) <= KEPT_VALUE_BYTES}
