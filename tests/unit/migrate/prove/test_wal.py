"""The reader of pgoutput, on messages recorded from a slot of Postgres 16."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from toolkit.migrate.prove.delivery.wal import Change, Transaction, WalDecoder, WalUnreadable

BIG = "79" * 3000
BEGIN = "42000000000148d938000303f5574803dc000002dc"
COMMIT = "4300000000000148d938000000000148d968000303f5574803dc"
# create table "T x" (id int primary key, note text, big text)
RELATION = (
    "52000040007075626c696300542078006400030169640000000017ffffffff"
    "006e6f74650000000019ffffffff006269670000000019ffffffff"
)
INSERT = f"49000040004e00037400000001317400000002c3a97400000bb8{BIG}"
# The large value is left alone, the note becomes NULL; then the key changes.
UPDATE = "55000040004e00037400000001316e75"
UPDATE_KEY = "55000040004b00037400000001316e6e4e00037400000001326e75"
DELETE = "44000040004b00037400000001326e6e"
# create table f (a text), replica identity full
FULL = "52000040077075626c696300660066000101610000000019ffffffff"
FULL_UPDATE = "55000040074f00017400000001614e0001740000000162"
FULL_DELETE = "44000040074f0001740000000162"
TRUNCATE = "54000000010000004007"
TYPE = "590000400d7075626c6963006d6f6f6400"
MESSAGE = "4d01000000000148e3c070000000000163"


def read(*messages: str) -> list[Transaction]:
    text = WalDecoder()
    found = [text.feed(bytes.fromhex(message)) for message in messages]
    return [transaction for transaction in found if transaction is not None]


def test_a_transaction_is_given_when_its_commit_arrives() -> None:
    (transaction,) = read(BEGIN, RELATION, INSERT, UPDATE, UPDATE_KEY, DELETE, COMMIT)

    assert transaction.xid == 732
    assert datetime.fromtimestamp(transaction.committed_at, UTC).year == 2026
    assert transaction.changes == (
        Change("INSERT", "public.T x", {"id": "1", "note": "é", "big": "y" * 3000}, {}),
        Change("UPDATE", "public.T x", {"id": "1", "note": None}, {}, ("big",)),
        Change("UPDATE", "public.T x", {"id": "2", "note": None}, {"id": "1"}, ("big",)),
        Change("DELETE", "public.T x", {}, {"id": "2"}),
    )


def test_the_whole_old_row_is_read_where_it_is_sent() -> None:
    (transaction,) = read(BEGIN, FULL, FULL_UPDATE, FULL_DELETE, TYPE, TRUNCATE, MESSAGE, COMMIT)

    assert transaction.changes == (
        Change("UPDATE", "public.f", {"a": "b"}, {"a": "a"}),
        Change("DELETE", "public.f", {}, {"a": "b"}),
        Change("TRUNCATE", "public.f", {}, {}),
    )


def test_nothing_is_given_before_the_commit() -> None:
    assert read(BEGIN, RELATION, INSERT) == []


def test_what_was_begun_anew_forgets_what_never_committed() -> None:
    assert read(BEGIN, RELATION, INSERT, BEGIN, COMMIT)[0].changes == ()


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ((BEGIN, INSERT), "never described"),
        ((COMMIT,), "without a beginning"),
        (("7a",), "unknown kind 'z'"),
        (("",), "ends within"),
        ((BEGIN[:-2],), "ends within"),
        ((BEGIN, RELATION[:-2]), "ends within"),
        ((BEGIN, RELATION[:20]), "no end"),
        ((BEGIN, RELATION + "00"), "left after"),
        ((BEGIN, RELATION, INSERT[:-2]), "longer than its message"),
        ((BEGIN, RELATION, UPDATE.replace("0003", "0002")), "a row of 2 arrived"),
        ((BEGIN, RELATION, UPDATE.replace("4e", "58")), "a row of unknown kind 'X'"),
        ((BEGIN, RELATION, UPDATE[:-2] + "78"), "a value of unknown kind 'x'"),
        ((BEGIN, RELATION, INSERT.replace("c3a9", "c328")), "not UTF-8"),
    ],
)
def test_bytes_that_are_no_message_are_refused(messages: tuple[str, ...], words: str) -> None:
    with pytest.raises(WalUnreadable, match=words):
        read(*messages)
