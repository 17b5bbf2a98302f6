"""From waits and requests to stalls: who is blamed, what counts, what does not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from toolkit.migrate.prove.locks.stalls import (
    Passage,
    during,
    harmed,
    over_budget,
    percentile,
    session_names,
    stalls,
    who_waited,
)
from toolkit.migrate.prove.locks.statement_locks import Lock, StatementLocks
from toolkit.migrate.prove.locks.traffic import Request, Role
from toolkit.migrate.prove.locks.waits import Wait, Watched
from toolkit.migrate.run.run_model import Kind, Moment

READER, WRITER, MIGRATION, STRANGER = 11, 12, 99, 50


def moment(at: float, kind: Kind, index: int) -> tuple[float, Moment]:
    return at, Moment("1", "up", kind, index, MIGRATION)


PASSAGE = Passage(
    "up",
    1.0,
    3.0,
    (
        moment(1.1, "before_statement", 1),
        moment(1.2, "after_statement", 1),
        moment(1.3, "before_statement", 2),
        moment(2.9, "after_statement", 2),
        moment(3.0, "after_commit", 0),
    ),
    MIGRATION,
)


def taken(index: int, *locks: tuple[str, str]) -> StatementLocks:
    return StatementLocks(
        index,
        f"a.sql:{index}",
        f"statement {index}",
        tuple(Lock(name, name, mode, existed=True) for name, mode in locks),
    )


ALTER, SLEEP = taken(1, ("public.t", "AccessExclusiveLock")), taken(2)


def wait(
    pid: int,
    since: float,
    until: float,
    *,
    mode: str = "AccessShareLock",
    kind: str = "relation",
    relation: str = "public.t",
    for_it: bool = True,
) -> Wait:
    blockers = frozenset({MIGRATION if for_it else STRANGER})
    return Wait(pid, kind, relation, mode, since, until, blockers, (since, until) if for_it else None)


def request(pid: int, role: Role, due: float, ended: float, sqlstate: str = "", verb: str = "select") -> Request:
    return Request(pid, role, "public.t", verb, due, ended, sqlstate, "no" if sqlstate else "")


def judged(
    waits: Sequence[Wait], requests: Sequence[Request], statements: Sequence[StatementLocks] = (ALTER, SLEEP)
) -> list[str]:
    return [str(one) for one in stalls(PASSAGE, Watched(tuple(waits)), requests, statements)]


def test_a_stall_names_the_lock_that_was_taken_first_and_what_ran_meanwhile() -> None:
    assert judged([wait(READER, 1.4, 2.9)], [request(READER, "reader", 1.4, 3.0)]) == [
        "a.sql:1 (statement 1), ACCESS EXCLUSIVE on public.t: a reader of public.t waited 1500 ms; "
        "meanwhile a.sql:2 ran (statement 2)"
    ]


def test_a_lock_that_does_not_stand_in_the_way_is_not_blamed() -> None:
    weak = taken(1, ("public.t", "ShareUpdateExclusiveLock"))
    strong = taken(2, ("public.other", "AccessExclusiveLock"), ("public.t", "ShareLock"))
    found = judged(
        [wait(WRITER, 1.4, 2.9, mode="RowExclusiveLock")], [request(WRITER, "writer", 1.4, 3.0)], (weak, strong)
    )
    assert found == ["a.sql:2 (statement 2), SHARE on public.t: a writer of public.t waited 1500 ms"]


def test_a_wait_for_rows_is_laid_at_the_door_of_the_statement_that_wrote_them() -> None:
    update = taken(1, ("public.t", "RowExclusiveLock"))
    rows = wait(WRITER, 1.4, 2.9, mode="ShareLock", kind="transactionid", relation="")
    (found,) = judged([rows], [request(WRITER, "writer", 1.4, 3.0)], (update, SLEEP))
    assert found.startswith("a.sql:1 (statement 1), rows of public.t: a writer of public.t waited 1500 ms")


@pytest.mark.parametrize(
    "waits",
    [
        [],  # the request is slow, but nobody was seen to block it
        [wait(READER, 1.4, 2.9, for_it=False)],  # blocked by somebody else
        [wait(READER, 3.1, 3.5)],  # after the run
        [wait(STRANGER, 1.4, 2.9)],  # no session of the traffic
    ],
)
def test_what_is_no_stall_of_the_migration(waits: list[Wait]) -> None:
    assert judged(waits, [request(READER, "reader", 1.4, 3.6)]) == []


def test_the_longest_stall_of_each_role_and_statement_is_told_when_it_is_over_the_budget() -> None:
    waits = [wait(READER, 1.4, 1.5), wait(READER, 1.6, 2.4), wait(WRITER, 1.4, 1.45)]
    requests = [
        request(READER, "reader", 1.4, 1.55),
        request(READER, "reader", 1.6, 2.5),
        request(WRITER, "writer", 1.4, 1.5),
    ]
    found = stalls(PASSAGE, Watched(tuple(waits)), requests, (ALTER, SLEEP))
    (line,) = over_budget(found, 500)
    assert "a reader of public.t waited 800 ms" in line
    assert line.endswith("(2 waits in all); the budget is 500 ms")
    assert over_budget(found, 900) == ()


def test_how_long_a_lock_is_held_is_told_by_the_last_attempt() -> None:
    again = (moment(0.1, "before_statement", 1), moment(0.2, "before_statement", 2), *PASSAGE.moments)
    passage = Passage("up", 0.0, 3.0, again, MIGRATION, 2)
    assert passage.held_ms(1) == pytest.approx(1900)
    assert passage.held_ms(2) == pytest.approx(1700)
    assert passage.held_ms(3) is None


def test_errors_of_the_traffic_count_unless_they_were_there_before_or_are_of_its_own_rows() -> None:
    killed = request(WRITER, "writer", 1.5, 2.0, "40P01", "update")
    (line,) = harmed(PASSAGE, [killed], Watched(), {})
    assert line == "while it ran, update on public.t failed for a writer (1 times): no [40P01]"
    known = [request(READER, "reader", 0.1, 0.2, "42703"), request(READER, "reader", 1.5, 1.6, "42703")]
    own_row = request(WRITER, "writer", 1.5, 2.0, "23505", "insert")
    later = request(READER, "reader", 3.5, 3.6, "42703")
    assert harmed(PASSAGE, [*known, own_row, later], Watched(), {}) == ()


def test_a_file_that_does_not_get_through_is_told_with_the_circle_it_was_caught_in() -> None:
    failed = Passage("up", 1.0, 3.0, (), MIGRATION, 4, "a.sql:2: lock timeout [55P03]")
    names = {MIGRATION: "the migration", WRITER: "a writer of public.t"}
    assert harmed(failed, [], Watched(circles=((MIGRATION, WRITER),)), names) == (
        "under traffic it did not get through: a.sql:2: lock timeout [55P03]",
        "a deadlock: the migration waits for a writer of public.t waits for the migration",
    )


def test_requests_that_stood_in_line_count_from_when_they_were_due() -> None:
    in_line = [
        request(READER, "reader", 1.5, 2.5),
        request(READER, "reader", 1.6, 2.51),
        request(WRITER, "writer", 1.6, 9),
    ]
    before = request(READER, "reader", 0.2, 0.9)
    assert during(PASSAGE, [before, *in_line], "reader") == pytest.approx([910, 1000])


def test_percentiles() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0, 0.0)] == [50, 99, 100, 1]
    assert percentile([7.0], 0.99) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_who_waited_for_whom_is_in_words_and_by_length() -> None:
    requests = [request(READER, "reader", 1.4, 2.0), request(WRITER, "writer", 1.4, 3.0)]
    names = session_names(PASSAGE, requests, {STRANGER: "the transaction ahead"})
    waits = (
        wait(READER, 1.4, 1.5),
        wait(READER, 1.6, 1.9),
        wait(WRITER, 1.4, 2.4, mode="RowExclusiveLock"),
        wait(MIGRATION, 1.0, 1.2, mode="AccessExclusiveLock", for_it=False),
    )
    assert who_waited(Watched(waits), names) == (
        ("a writer of public.t", "ROW EXCLUSIVE on public.t", "the migration", "1", "1000"),
        ("a reader of public.t", "ACCESS SHARE on public.t", "the migration", "2", "300"),
        ("the migration", "ACCESS EXCLUSIVE on public.t", "the transaction ahead", "1", "200"),
    )
