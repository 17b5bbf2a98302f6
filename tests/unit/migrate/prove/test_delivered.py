"""The judges of delivery, on made-up logs: each trouble is found, and its absence raises nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from toolkit.migrate.prove.delivery.endpoint_judge import SERVICE, ReceivedChange, Subscriber, judge_endpoint, missing
from toolkit.migrate.prove.delivery.publications import Member, Publication, Published
from toolkit.migrate.prove.delivery.wal import Arrival, Change, Transaction
from toolkit.migrate.prove.delivery.wal_judge import OPERATIONS, Phase, Write, judge_wal

P, T = "supabase_realtime", "public.orders"
STATE = Published(
    {P: Publication(1, P, frozenset(OPERATIONS), via_root=False, every_table=False)},
    {(P, T): Member(P, T, 10, ("id",), ("id",), ("id",))},
    {10: T},
    {T: T, "public.orders_1": T},
    {},
)
PHASES: tuple[Phase, ...] = ("before", "during the migration", "after it")
PROMISED = {phase: frozenset((P, T, operation) for operation in OPERATIONS) for phase in PHASES}


def write(serial: int, phase: Phase = "after it") -> Write:
    return Write(
        serial, phase, T, "INSERT", "service_role", xid=serial, row={"id": str(serial), "buyer": "anna"}, key=("id",)
    )


def arrival(serial: int, table: str = T, *, value: str | None = None) -> Arrival:
    new = {"id": value or str(serial)}
    return Arrival(Transaction(serial, 0.0, (Change("INSERT", table, new, {}),)), late_s=serial / 1000)


def judged(writes: Sequence[Write], arrivals: Sequence[Arrival]) -> tuple[str, ...]:
    return judge_wal(writes, {P: arrivals}, PROMISED, dict.fromkeys(PHASES, STATE)).of(PHASES)


THREE = (write(1, "before"), write(2), write(3))


@pytest.mark.parametrize(
    ("arrivals", "words"),
    [
        ((arrival(1), arrival(3)), "lost after it: 1 of 2 rows by INSERT of public.orders"),
        ((arrival(1), arrival(2), arrival(2), arrival(3)), "duplicated after it: 1 of 2"),
        ((arrival(1), arrival(3), arrival(2)), "reordered after it: 1 of 2"),
        ((arrival(1), arrival(2, value="9"), arrival(3)), "lost after it: 1 of 2"),
        ((arrival(1), arrival(2, "public.orders_1"), arrival(3)), "arrives as public.orders_1 after it"),
    ],
    ids=["lost", "duplicated", "reordered", "another-row", "another-name"],
)
def test_each_trouble_is_found(arrivals: Sequence[Arrival], words: str) -> None:
    assert [line for line in judged(THREE, arrivals) if line.startswith(words) or words in line]


def test_what_arrives_once_and_in_order_raises_nothing_and_is_counted() -> None:
    result = judge_wal(THREE, {P: [arrival(1), arrival(2), arrival(3)]}, PROMISED, dict.fromkeys(PHASES, STATE))

    assert result.violations == ()
    assert [(t.phase, t.written, t.arrived, t.lost) for t in result.tallies] == [
        ("before", 1, 1, 0),
        ("after it", 2, 2, 0),
    ]
    assert result.tallies[1].p50_ms == pytest.approx(2.5)
    assert result.tallies[1].worst_ms == pytest.approx(3)


def test_what_did_not_happen_is_not_lost() -> None:
    refused = Write(2, "after it", T, "INSERT", "service_role", refused="no", sqlstate="23514")

    assert judged((write(1, "before"), refused), [arrival(1)]) == ()


def test_what_never_arrived_is_not_the_migrations_doing() -> None:
    assert judged(THREE, []) == ()


def test_a_row_that_moved_to_another_part_was_updated() -> None:
    moved = replace(write(1), operation="UPDATE")
    changes = (
        Change("DELETE", "public.orders_1", {}, {"id": "1"}),
        Change("INSERT", "public.orders_1", {"id": "1"}, {}),
    )

    assert judged((moved,), [Arrival(Transaction(1, 0.0, changes), 0.0)]) == ()


def message(serial: int) -> ReceivedChange:
    return ReceivedChange(T, "INSERT", {"id": serial})


def subscriber(*serials: int, name: str = SERVICE) -> Subscriber:
    owns = {} if name == SERVICE else {T: "buyer"}
    return Subscriber(name, {T: 0}, owns, [message(serial) for serial in serials])


@pytest.mark.parametrize(
    ("serials", "words"),
    [
        ((1, 2), "lost after it, at the endpoint: 1 of 2 INSERTs of public.orders"),
        ((1, 2, 2, 3), "duplicated after it, at the endpoint: 1 of 2"),
        ((1, 3, 2), "reordered after it, at the endpoint: 1 of 2"),
    ],
)
def test_each_trouble_at_the_endpoint_is_found(serials: tuple[int, ...], words: str) -> None:
    found = judge_endpoint(THREE, [subscriber(*serials)], PROMISED, STATE)

    assert [line for line in found.violations if words in line]


def test_an_endpoint_that_sends_everything_raises_nothing() -> None:
    found = judge_endpoint(THREE, [subscriber(1, 2, 3), subscriber(1, 2, 3, name="anna")], PROMISED, STATE)

    assert (found.expected, found.violations) == (3, ())
    assert missing(THREE, subscriber(1, 3), PROMISED, STATE) == 1


def test_an_owner_who_hears_nothing_any_more_is_found_and_one_who_never_did_is_not() -> None:
    service = subscriber(1, 2, 3)

    assert "after it, the owner anna hears no INSERT of public.orders" in "".join(
        judge_endpoint(THREE, [service, subscriber(1, name="anna")], PROMISED, STATE).violations
    )
    assert judge_endpoint(THREE, [service, subscriber(name="anna")], PROMISED, STATE).violations == ()
    assert judge_endpoint(THREE, [service, subscriber(1, name="berta")], PROMISED, STATE).violations == ()


def test_a_row_that_something_else_wrote_again_is_heard_again() -> None:
    again = [arrival(1), arrival(2), arrival(2), arrival(3)]

    assert judge_endpoint(THREE, [subscriber(1, 2, 2, 3)], PROMISED, STATE, again).violations == ()
    assert judge_endpoint(THREE, [subscriber(1, 2, 2, 2, 3)], PROMISED, STATE, again).violations != ()


def test_an_interruption_is_a_violation_in_the_endpoints_words() -> None:
    received = subscriber(1, 2, 3)
    received.trouble.append("CHANNEL_ERROR: the stream was lost")

    assert judge_endpoint(THREE, [received], PROMISED, STATE).violations == (
        "the endpoint tells service_role: CHANNEL_ERROR: the stream was lost",
    )


def test_what_was_written_before_a_table_was_bound_need_not_be_heard() -> None:
    late = Subscriber(SERVICE, {T: 2}, {}, [message(3)])

    assert judge_endpoint(THREE, [late], PROMISED, STATE) == judge_endpoint(THREE[2:], [subscriber(3)], PROMISED, STATE)
