"""Samples of who waits for whom, put together: what leads to the migration, the longest queue, circles."""

from __future__ import annotations

import itertools

import pytest

from toolkit.migrate.prove.locks.modes import MODES, conflict, in_words, stops, strongest
from toolkit.migrate.prove.locks.waits import Sampled, Watch, circle_through, longest_chain

MIGRATION, AHEAD, READER, SECOND = 1, 2, 3, 4


def sampled(pid: int, since: float, seen: float, *blockers: int) -> Sampled:
    return Sampled(pid, "relation", "public.t", "AccessShareLock", since, seen, frozenset(blockers))


def test_a_wait_grows_from_sample_to_sample_and_is_for_the_migration_by_way_of_others() -> None:
    watch = Watch(MIGRATION)
    watch.add([sampled(READER, 0.5, 0.6, SECOND), sampled(SECOND, 0.5, 0.6, MIGRATION)])
    watch.add([sampled(READER, 0.5, 0.9, SECOND), sampled(SECOND, 0.5, 0.9, MIGRATION)])
    watch.add([])
    reader = next(wait for wait in watch.watched().waits if wait.pid == READER)
    assert reader.for_it == (0.5, 0.9)
    assert reader.for_it_ms == pytest.approx(400)
    assert watch.watched().samples == 3


def test_only_the_part_of_a_wait_that_was_for_the_migration_counts() -> None:
    watch = Watch(MIGRATION)
    watch.add([sampled(READER, 0.5, 0.6, SECOND)])
    watch.add([sampled(READER, 0.5, 0.8, MIGRATION)])
    watch.add([sampled(READER, 0.5, 0.9, MIGRATION)])
    watch.add([sampled(READER, 0.5, 2.0, SECOND)])
    (reader,) = watch.watched().waits
    assert reader.for_it == (0.8, 0.9)
    assert (reader.since, reader.until) == (0.5, 2.0)
    assert reader.blockers == {SECOND, MIGRATION}


def test_two_waits_of_one_session_are_two() -> None:
    watch = Watch(MIGRATION)
    watch.add([sampled(READER, 0.5, 0.6, MIGRATION)])
    watch.add([sampled(READER, 0.7, 0.8, MIGRATION)])
    assert [wait.for_it_ms for wait in watch.watched().waits] == pytest.approx([100, 100])


@pytest.mark.parametrize("migrating", [None, 77])
def test_a_wait_for_somebody_else_is_not_for_the_migration(migrating: int | None) -> None:
    watch = Watch(migrating)
    watch.add([sampled(READER, 0.5, 0.6, SECOND)])
    assert [wait.for_it for wait in watch.watched().waits] == [None]
    assert watch.watched().circles == ()


def test_what_the_migration_itself_waits_for_is_no_stall_of_its_own() -> None:
    watch = Watch(MIGRATION)
    watch.add([sampled(MIGRATION, 0.5, 0.6, AHEAD)])
    assert [wait.for_it for wait in watch.watched().waits] == [None]


def test_the_longest_queue_is_kept() -> None:
    watch = Watch(MIGRATION)
    watch.add([sampled(MIGRATION, 0, 1, AHEAD), sampled(READER, 0, 1, MIGRATION)])
    watch.add([sampled(READER, 2, 3, AHEAD)])
    assert watch.watched().chain == (READER, MIGRATION, AHEAD)
    assert longest_chain(5, {5: [6, 7], 6: [8], 7: [6]}) == (5, 7, 6, 8)
    assert longest_chain(5, {5: [6], 6: [5]}) == (5, 6)


def test_circles_are_found_once_and_only_through_the_migration() -> None:
    watch = Watch(MIGRATION)
    for _ in range(2):
        watch.add([sampled(MIGRATION, 0, 1, READER), sampled(READER, 0, 1, MIGRATION)])
    assert watch.watched().circles == ((MIGRATION, READER),)
    assert circle_through(1, {1: [2], 2: [3], 3: [1], 4: [1]}) == (1, 2, 3)
    assert circle_through(1, {1: [2], 2: [3], 3: [2]}) == ()


def test_lock_modes_conflict_as_the_manual_says() -> None:
    # The table "Conflicting Lock Modes" of the Postgres manual, a row a mode, X where the two conflict.
    table = (".......X", "......XX", "....XXXX", "...XXXXX", "..XX.XXX", "..XXXXXX", ".XXXXXXX", "XXXXXXXX")
    for (row, one), (column, other) in itertools.product(enumerate(MODES), repeat=2):
        assert conflict(one, other) is (table[row][column] == "X"), (one, other)
    assert not conflict("SIReadLock", "AccessExclusiveLock")


def test_whom_a_lock_stops() -> None:
    assert [stops(mode) for mode in MODES] == ["", "", "", "", "writers", "writers", "writers", "readers and writers"]
    assert strongest(["ShareLock", "AccessShareLock", "ShareUpdateExclusiveLock"]) == "ShareLock"
    assert strongest([]) == ""
    assert in_words("ShareRowExclusiveLock") == "SHARE ROW EXCLUSIVE"
