"""Rows of `realtime.messages` without a database: what is read of them, what was sent, which partitions are due."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from reference_server.realtime.messages.partitions import Plan, day_of, plan
from reference_server.realtime.messages.stored_row import SentLately, Unsendable, is_messages, read_insert
from reference_server.realtime.protocol.channel import BadReplay, JoinRequest, Replay, read_join
from reference_server.realtime.protocol.messages import Message
from reference_server.realtime.protocol.ports import StoredMessage
from reference_server.replication.pgoutput import Column, Insert, Relation

NAMES = ("payload", "event", "topic", "private", "inserted_at", "id", "binary_payload", "extension")
RELATION = Relation(
    1, "realtime", "messages_2026_12_01", "d", tuple(Column(name, 25, -1, is_key=False) for name in NAMES)
)
ROW = {
    "payload": b'{"a": 1}',
    "event": b"e",
    "topic": b"t",
    "private": b"t",
    "inserted_at": b"2026-12-01 10:00:00.5",
    "id": b"id-1",
    "binary_payload": None,
    "extension": b"broadcast",
}
MESSAGE = StoredMessage("id-1", "t", "e", True, b'{"a": 1}', True, "2026-12-01 10:00:00.5")


def insert(**changes: bytes | None) -> Insert:
    row = ROW | changes
    return Insert(1, tuple(row[name] for name in NAMES))


def test_a_row_is_read_by_the_names_of_its_columns() -> None:
    assert read_insert(RELATION, insert()) == MESSAGE
    binary = read_insert(RELATION, insert(payload=None, binary_payload=b"\\x00ff", private=b"f"))
    assert binary == replace(MESSAGE, payload=b"\x00\xff", is_json=False, private=False)
    # Projects of before May 2026 have no column for bytes.
    older = replace(RELATION, columns=tuple(c for c in RELATION.columns if c.name != "binary_payload"))
    values = tuple(ROW[name] for name in NAMES if name != "binary_payload")
    assert read_insert(older, Insert(1, values)) == MESSAGE


@pytest.mark.parametrize("column", ["event", "topic", "private", "inserted_at", "id", "payload"])
def test_a_row_that_lacks_something_says_what(column: str) -> None:
    found = read_insert(RELATION, insert(**{column: None}))
    assert isinstance(found, Unsendable)
    assert column in found.why


def test_only_the_table_and_its_partitions_hold_messages() -> None:
    held = [("realtime", "messages"), ("realtime", "messages_2026_12_01"), ("realtime", "subscription")]
    tables = [*held, ("public", "messages"), ("realtime", "messagesx")]
    assert [is_messages(replace(RELATION, schema=s, table=t)) for s, t in tables] == [True, True, False, False, False]


def test_what_was_sent_is_remembered_up_to_a_bound_and_the_bound_is_known() -> None:
    sent = SentLately(most=2)
    messages = [replace(MESSAGE, id=str(n), inserted_at=f"2026-12-01 10:00:0{n}") for n in range(3)]
    for message in messages:
        sent.add(message)
    assert [message in sent for message in messages] == [False, True, True]
    assert sent.complete_since == "2026-12-01 10:00:00"
    assert sent.since("2026-12-01 10:00:01") == ["2"]
    assert replace(messages[2], inserted_at="2026-12-02 10:00:02") not in sent, "one id, but another row"


def test_partitions_are_due_by_the_day() -> None:
    now = datetime(2026, 12, 1, 10)
    held = [
        "messages_2026_11_27",
        "messages_2026_11_28",
        "messages_2026_12_01",
        "messages_default",
        "messages_2026_13_01",
    ]
    assert plan(held, now, timedelta(hours=72)) == Plan(
        (date(2026, 11, 30), date(2026, 12, 2), date(2026, 12, 3), date(2026, 12, 4)), ("messages_2026_11_27",)
    )
    everything = [f"messages_{now.date() + timedelta(days=d):%Y_%m_%d}" for d in range(-1, 4)]
    assert plan(everything, now, timedelta(hours=72)) == Plan((), ())
    assert [day_of(name) for name in ("messages_default", "messages_2026_02_30", "messages_2026_1_1")] == [None] * 3


REPLAYS: list[tuple[object, object]] = [
    ({"since": 5}, Replay(5, 25)),
    ({"since": 5, "limit": 3}, Replay(5, 3)),
    ({"since": -5, "limit": 0}, Replay(-5, 1)),
    ({"since": 5, "limit": 100}, Replay(5, 25)),
    ({"since": 5.0}, BadReplay(refused=True)),
    ({"since": True}, BadReplay(refused=True)),
    ({"since": "5"}, BadReplay(refused=True)),
    ({"since": 5, "limit": "3"}, BadReplay(refused=True)),
    ({"limit": 3}, BadReplay(refused=True)),
    (None, BadReplay(refused=False)),
    (True, BadReplay(refused=False)),
]


@pytest.mark.parametrize(("asked", "read"), REPLAYS)
def test_what_a_join_asks_to_have_replayed(asked: object, read: object) -> None:
    request = read_join(Message("realtime:t", "phx_join", {"config": {"broadcast": {"replay": asked}}}))
    assert isinstance(request, JoinRequest)
    assert request.replay == read


@pytest.mark.parametrize(
    ("options", "wait_s"),
    [
        (None, None),
        ({"timeout": 5}, None),
        ({"wait": False}, None),
        ({"wait": True}, 15),
        ({"wait": "true", "timeout": "250"}, 0.25),
        ({"wait": True, "timeout": 60_000}, 20),
        ({"wait": True, "timeout": "soon"}, 15),
    ],
)
def test_for_how_long_a_join_waits_for_its_changes(options: object, wait_s: float | None) -> None:
    request = read_join(Message("realtime:t", "phx_join", {"config": {"postgres_changes_options": options}}))
    assert isinstance(request, JoinRequest)
    assert request.wait_for_changes == wait_s
