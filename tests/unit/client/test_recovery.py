"""Single decisions of the recovery machine, each with its reason."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.unit.client.test_recovery_properties import event
from toolkit.client.effects import (
    Connect,
    Deliver,
    Disconnect,
    Effect,
    End,
    Fetch,
    HistoryExpired,
    HistoryRestarted,
    Stalled,
)
from toolkit.client.events import EventPage
from toolkit.client.recovery import Phase, Recovery, RecoveryLimits
from toolkit.contract.events import EventType

LIMITS = RecoveryLimits(silence_s=10, live_grace_s=0.25, stable_s=5, connect_base_s=1, connect_cap_s=8, stalled_s=60)


class Highest(random.Random):
    """Draws the upper end, so that waits can be read off."""

    def uniform(self, a: float, b: float) -> float:
        return b


def machine(limits: RecoveryLimits = LIMITS, **options: object) -> Recovery:
    """A machine that is connecting, and has found an empty log meanwhile; its tickets begin anew, at 1."""
    recovery = Recovery(limits=limits, rng=Highest(), **options)  # type: ignore[arg-type]
    recovery.start(0)
    recovery.page(1, EventPage((), options.get("since", 0), 0), 0)  # type: ignore[arg-type]
    recovery._ticket = 0
    return recovery


def live(recovery: Recovery, now: float = 1.0) -> list[Effect]:
    recovery.joined(recovery._epoch, now)
    return recovery.live(recovery._epoch, now)


def pages(*sequences: int, last: int | None = None, oldest: int = 1) -> EventPage:
    return EventPage(tuple(event(s) for s in sequences), max(sequences, default=0) if last is None else last, oldest)


def caught_up(recovery: Recovery, upto: int, now: float = 1.0) -> None:
    (fetch,) = live(recovery, now)
    assert isinstance(fetch, Fetch)
    recovery.page(fetch.ticket, pages(*range(fetch.since + 1, upto + 1), last=upto), now)


def sequences(effects: list[Effect]) -> list[int]:
    return [effect.event.sequence for effect in effects if isinstance(effect, Deliver)]


def test_what_is_there_is_read_while_joining_and_again_when_the_subscription_is_live() -> None:
    recovery = Recovery(limits=LIMITS)
    assert recovery.start(0) == [Connect(1), Fetch(1, 0)]
    assert sequences(recovery.page(1, pages(1, 2), 0.5)) == [1, 2]
    assert recovery.joined(1, 1) == []
    assert recovery.live(1, 1.1) == [Fetch(2, 2)]
    recovery.page(2, pages(3), 1.2)
    assert recovery.missed_live == 0, "nothing was live yet"


def test_a_read_that_began_before_the_subscription_was_live_is_repeated_when_it_is() -> None:
    recovery = Recovery(limits=LIMITS)
    recovery.start(0)
    recovery.joined(1, 1)
    assert recovery.live(1, 1.1) == []  # one read at a time
    assert recovery.page(1, pages(1), 1.2)[-1] == Fetch(2, 1)


def test_a_server_that_never_says_live_is_taken_as_live_and_asked_again_when_it_does() -> None:
    recovery = machine()
    recovery.joined(1, 1)
    assert recovery.next_wake() == 1.25
    assert recovery.tick(1.25) == [Fetch(1, 0)]
    recovery.page(1, pages(last=0, oldest=0), 1.3)
    assert recovery.live(1, 3.0) == [Fetch(2, 0)]


def test_a_catch_up_begun_before_the_subscription_was_live_is_repeated() -> None:
    recovery = machine()
    recovery.joined(1, 1)
    assert recovery.tick(1.25) == [Fetch(1, 0)]
    assert recovery.live(1, 1.3) == []
    assert recovery.page(1, pages(last=0, oldest=0), 1.4) == [Fetch(2, 0)]


def test_pages_are_read_until_nothing_is_left() -> None:
    recovery = machine()
    live(recovery)
    first = recovery.page(1, pages(1, 2, last=5), 2)
    assert sequences(first) == [1, 2]
    assert first[-1] == Fetch(2, 2)
    second = recovery.page(2, pages(3, 4, 5), 2)
    assert sequences(second) == [3, 4, 5]
    assert not any(isinstance(e, Fetch) for e in second)


def test_without_a_last_sequence_an_empty_page_is_the_end() -> None:
    recovery = machine()
    live(recovery)
    assert recovery.page(1, EventPage((event(1),)), 2)[-1] == Fetch(2, 1)
    assert recovery.page(2, EventPage(()), 2) == []


def test_a_jump_is_filled_before_anything_behind_it_is_delivered() -> None:
    recovery = machine()
    caught_up(recovery, 3)
    assert recovery.change(event(6), 2) == [Fetch(2, 3)]
    assert sequences(recovery.page(2, pages(4, 5, 6), 2)) == [4, 5, 6]
    assert (recovery.missed_live, recovery.delivered_live) == (2, 1)


def test_the_buffer_is_bounded_and_what_overflows_is_fetched() -> None:
    recovery = machine(RecoveryLimits(max_buffer=2))
    caught_up(recovery, 1)
    for sequence in (3, 4, 5, 6):
        recovery.change(event(sequence), 2)
    assert recovery.overflowed == 2
    effects = recovery.page(2, pages(2, last=2), 2)  # an answer from before they were written
    assert sequences(effects) == [2, 3, 4]
    assert effects[-1] == Fetch(3, 4)
    assert sequences(recovery.page(3, pages(5, 6), 2)) == [5, 6]


def test_duplicates_are_dropped_and_counted() -> None:
    recovery = machine()
    caught_up(recovery, 3)
    assert recovery.change(event(2), 2) == []
    assert recovery.duplicates_dropped == 1


def test_waits_grow_are_capped_and_start_anew_after_a_stable_connection() -> None:
    recovery = machine()
    waits, now = [], 0.0
    for _ in range(6):
        recovery.lost(recovery._epoch, "refused", now)
        wake = recovery._connect_at
        assert wake is not None
        waits.append(wake - now)
        now = wake
        assert any(isinstance(e, Connect) for e in recovery.tick(now))
    assert waits == [1, 2, 4, 8, 8, 8]
    live(recovery, now)
    recovery.lost(recovery._epoch, "cut", now + 1)  # too short a life to count as stable
    assert recovery._connect_at == now + 1 + 8
    recovery.tick(now + 9)
    live(recovery, now + 9)
    recovery.lost(recovery._epoch, "cut", now + 9 + 5)
    assert recovery._connect_at == now + 9 + 5 + 1


def test_a_network_that_is_back_is_used_at_once() -> None:
    recovery = machine()
    caught_up(recovery, 3)
    recovery.lost(recovery._epoch, "cut", 5)
    assert recovery._connect_at is not None
    assert recovery._connect_at > 5.1
    assert recovery.back_online(5.1) == [Connect(2), Fetch(2, 3)]
    assert recovery.back_online(5.2) == []  # already connecting and reading


def test_a_join_that_is_never_answered_is_a_loss() -> None:
    recovery = machine()
    effects = recovery.tick(LIMITS.connect_deadline_s)
    assert Disconnect(1, "the join was not answered in time") in effects


def test_news_from_an_earlier_connection_changes_nothing_but_its_events_count() -> None:
    recovery = machine()
    caught_up(recovery, 1)
    recovery.lost(1, "cut", 2)
    recovery.tick(20)
    assert recovery.lost(1, "late news", 21) == []
    assert recovery.live(1, 21) == []
    assert sequences(recovery.change(event(2), 21)) == [2]


def test_silence_leads_to_a_look_also_while_disconnected() -> None:
    recovery = machine()
    caught_up(recovery, 1)
    recovery.lost(1, "cut", 2)
    effects = recovery.tick(1 + LIMITS.silence_s)
    assert Fetch(2, 1) in effects


def test_a_subscription_that_brings_nothing_is_replaced_at_the_second_proof() -> None:
    recovery = machine()
    caught_up(recovery, 1)
    (look,) = recovery.tick(11)
    assert isinstance(look, Fetch)
    assert sequences(recovery.page(look.ticket, pages(2), 11)) == [2]
    assert recovery.phase is Phase.LIVE, "once may be slowness"
    (look,) = recovery.tick(21)
    assert isinstance(look, Fetch)
    effects = recovery.page(look.ticket, pages(3), 21)
    assert any(isinstance(e, Disconnect) for e in effects)
    assert recovery.silent_subscriptions == 1


def test_a_slow_subscription_is_kept() -> None:
    recovery = machine()
    caught_up(recovery, 1)
    for sequence, now in ((2, 11), (3, 31), (4, 51)):
        (look,) = recovery.tick(now)
        assert isinstance(look, Fetch)
        recovery.page(look.ticket, pages(sequence), now)
        recovery.change(event(sequence), now + 1)  # it does come, late
    assert recovery.silent_subscriptions == 0
    assert recovery.missed_live == 0


def test_history_below_the_oldest_stored_event_is_declared_gone_at_once() -> None:
    recovery = machine()
    live(recovery)
    effects = recovery.page(1, pages(8, 9, oldest=8), 2)
    assert effects[0] == HistoryExpired(1, 7)
    assert sequences(effects) == [8, 9]


def test_a_hole_between_stored_events_is_declared_gone_only_when_two_pages_agree() -> None:
    recovery = machine()
    live(recovery)
    first = recovery.page(1, pages(1, 5, 9), 2)
    assert sequences(first) == [1]
    assert not any(isinstance(e, HistoryExpired) for e in first)
    again = next(e for e in first if isinstance(e, Fetch))
    effects = recovery.page(again.ticket, pages(5, 9), 3)
    assert [e for e in effects if isinstance(e, HistoryExpired)] == [HistoryExpired(2, 4), HistoryExpired(6, 8)]
    assert sequences(effects) == [5, 9]


def test_a_tail_that_was_cleaned_up_does_not_make_it_ask_for_ever() -> None:
    recovery = machine()
    live(recovery)
    first = recovery.page(1, pages(1, last=4), 2)
    again = next(e for e in first if isinstance(e, Fetch))
    assert recovery.page(again.ticket, pages(last=4), 2) == []  # no progress: it waits before it asks again
    (third,) = recovery.tick(10)
    assert isinstance(third, Fetch)
    effects = recovery.page(third.ticket, pages(last=4), 10)
    assert effects == [HistoryExpired(2, 4)]
    assert recovery.last_sequence == 4


def test_a_failed_fetch_is_repeated_after_growing_waits() -> None:
    recovery = machine()
    live(recovery)
    assert recovery.fetch_failed(1, 2) == []
    assert recovery._fetch_at == 2 + 0.5
    assert recovery.tick(2.5) == [Fetch(2, 0)]
    recovery.fetch_failed(2, 3)
    assert recovery._fetch_at == 3 + 1.0


def test_when_nothing_can_be_heard_or_read_it_is_said_once() -> None:
    recovery = machine()
    said = [e for now in range(0, 200, 5) for e in recovery.tick(now) if isinstance(e, Stalled)]
    assert len(said) == 1
    assert recovery.stalled
    live(recovery, 200)
    ticket = recovery._ticket
    recovery.page(ticket, pages(1), 201)
    assert not recovery.stalled


@pytest.mark.parametrize("kind", [EventType.GENERATION_COMPLETED, EventType.GENERATION_CANCELLED])
def test_the_stream_ends_with_the_process(kind: EventType) -> None:
    recovery = machine()
    caught_up(recovery, 1)
    effects = recovery.change(event(2, kind), 2)
    assert [type(e) for e in effects] == [Deliver, Disconnect, End]
    assert recovery.next_wake() is None
    assert recovery.change(event(3), 3) == recovery.tick(99) == []


def test_an_error_keeps_it_open_unless_told_otherwise() -> None:
    resumable = machine()
    caught_up(resumable, 1)
    resumable.change(event(2, EventType.GENERATION_ERROR), 2)
    assert not resumable.ended
    strict = machine(end_on_error=True)
    caught_up(strict, 1)
    strict.change(event(2, EventType.GENERATION_ERROR), 2)
    assert strict.ended


# -- a log that begins anew ---------------------------------------------------------------------


def test_a_log_that_ends_below_the_cursor_is_announced_and_read_from_its_beginning() -> None:
    recovery = machine(since=500)
    (fetch,) = live(recovery)
    assert fetch == Fetch(1, 500)
    assert recovery.page(1, pages(last=15), 2) == [HistoryRestarted(500, 15), Fetch(2, 0)]
    assert sequences(recovery.page(2, pages(*range(1, 16)), 3)) == list(range(1, 16))
    assert sequences(recovery.change(event(16), 4)) == [16]


def test_an_emptied_log_is_announced_too() -> None:
    recovery = machine(since=3)
    live(recovery)
    assert recovery.page(1, pages(last=0, oldest=0), 2) == [HistoryRestarted(3, 0), Fetch(2, 0)]


class ComparesWithTheCursor(Recovery):
    """Planted: not with what was asked for, so that a page which the subscription overtook looks like a restart."""

    def page(self, ticket: int, page: EventPage, now: float) -> list[Effect]:
        if self._asked is not None:
            self._asked = replace(self._asked, since=self.last_sequence)
        return super().page(ticket, page, now)


@pytest.mark.parametrize("kind", [Recovery, pytest.param(ComparesWithTheCursor, marks=pytest.mark.xfail(strict=True))])
def test_a_page_that_the_subscription_overtook_is_no_restart(kind: type[Recovery]) -> None:
    recovery = kind(limits=LIMITS)
    recovery.start(0)
    live(recovery)
    recovery.change(event(1), 1.1)
    recovery.change(event(2), 1.2)
    effects = recovery.page(1, pages(1), 1.3)
    assert not any(isinstance(effect, HistoryRestarted) for effect in effects)
    assert recovery.last_sequence == 2


def test_changes_that_are_no_news_do_not_keep_it_from_looking() -> None:
    # After a restart everything that arrives is below the cursor: dropped, but not taken for a sign of health.
    recovery = machine(since=500)
    caught_up(recovery, 500)
    effects: list[Effect] = []
    for second in range(2, 13):
        effects += recovery.change(event(second), float(second))
        effects += recovery.tick(float(second))
    assert Fetch(2, 500) in effects
