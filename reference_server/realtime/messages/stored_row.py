"""Rows of `realtime.messages` as the WAL and queries give them, and which of them were sent already. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from reference_server.realtime.protocol.ports import StoredMessage
from reference_server.replication.pgoutput import Insert, Relation

SCHEMA, TABLE = "realtime", "messages"
# Ids that are remembered, so that nothing is sent twice after a lost stream.
REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Unsendable:
    """A row that no client can be sent; `why` says what it lacks."""

    why: str


def is_messages(relation: Relation) -> bool:
    """Whether the relation is `realtime.messages` or one of its daily partitions."""
    return relation.schema == SCHEMA and (relation.table == TABLE or relation.table.startswith(f"{TABLE}_"))


def read_insert(relation: Relation, insert: Insert) -> StoredMessage | Unsendable:
    """The message of an inserted row. Columns are found by name: their order differs between projects."""
    row = {
        column.name: value
        for column, value in zip(relation.columns, insert.new, strict=True)
        if isinstance(value, bytes)
    }
    missing = [name for name in ("id", "topic", "event", "private", "inserted_at") if name not in row]
    if missing:
        return Unsendable(f"{', '.join(missing)} is null")
    if (binary := row.get("binary_payload")) is not None:
        if not binary.startswith(b"\\x"):
            return Unsendable("binary_payload is not in hex form")
        payload, is_json = bytes.fromhex(binary[2:].decode()), False
    elif (json := row.get("payload")) is not None:
        payload, is_json = json, True
    else:
        return Unsendable("payload and binary_payload are null")
    return StoredMessage(
        id=row["id"].decode(),
        topic=row["topic"].decode(),
        event=row["event"].decode(),
        private=row["private"] == b"t",
        payload=payload,
        is_json=is_json,
        inserted_at=row["inserted_at"].decode(),
    )


@dataclass
class SentLately:
    """The ids of the messages sent last. `complete_since` is the `inserted_at` after which none was forgotten."""

    most: int = REMEMBERED
    complete_since: str = ""
    _inserted_at: OrderedDict[str, str] = field(default_factory=OrderedDict)

    def add(self, message: StoredMessage) -> None:
        self._inserted_at[message.id] = message.inserted_at
        if len(self._inserted_at) > self.most:
            _, inserted_at = self._inserted_at.popitem(last=False)
            # Text of one form and one length up to the fraction: the order of the text is that of time.
            self.complete_since = max(self.complete_since, inserted_at)

    def __contains__(self, message: StoredMessage) -> bool:
        return self._inserted_at.get(message.id) == message.inserted_at

    def since(self, inserted_at: str) -> list[str]:
        """The ids of those that were inserted after this."""
        return [name for name, at in self._inserted_at.items() if at > inserted_at]
