"""Whatever is lost, doubled, reordered, cut or refused: the application sees 1..n, each once, in order."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Stage
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from toolkit.client.effects import Connect, Deliver, Disconnect, Effect, End, Fetch, HistoryExpired, HistoryRestarted
from toolkit.client.events import EventPage, ProcessEvent
from toolkit.client.recovery import Phase, Recovery, RecoveryLimits
from toolkit.contract.events import EventType

PAGE = 3
LIMITS = RecoveryLimits(silence_s=5, live_grace_s=1, connect_deadline_s=8, stable_s=2, stalled_s=20, max_buffer=4)


def event(sequence: int, kind: str = "step_started") -> ProcessEvent:
    return ProcessEvent(sequence=sequence, id=f"e{sequence}", type=kind)


@dataclass
class Reading:
    ticket: int
    since: int
    answer: EventPage | None = None


class World(RuleBasedStateMachine):
    """A log, a subscription that may lose anything, a reader that may fail, and the machine between them."""

    machine: type[Recovery] = Recovery

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.log: list[ProcessEvent] = []
        self.wire: list[ProcessEvent] = []
        self.seen: list[int] = []
        self.epoch: int | None = None  # a connection that is being joined or is joined
        self.server_live = False
        self.readings: list[Reading] = []
        self.ended = False
        self.held = False
        self.recovery = self.machine(limits=LIMITS, rng=random.Random(7))
        self.perform(self.recovery.start(self.now))

    # -- the shell ----------------------------------------------------------------------------

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Deliver(found):
                    assert not self.ended, "something was delivered after the end"
                    self.seen.append(found.sequence)
                case Connect(epoch):
                    self.epoch, self.server_live = epoch, False
                case Disconnect():
                    self.epoch, self.server_live = None, False
                case Fetch(ticket, since):
                    self.readings.append(Reading(ticket, since))
                case End():
                    self.ended = True
                case HistoryExpired(first, last):
                    raise AssertionError(f"{first}..{last} was declared gone; nothing was ever cleaned up")
                case HistoryRestarted():
                    self.told_of_a_restart(effect)

    def told_of_a_restart(self, effect: HistoryRestarted) -> None:
        raise AssertionError(f"{effect}, but there was only ever one log")

    def may_write(self, number: int) -> bool:
        return not self.ended

    def snapshot(self, reading: Reading) -> EventPage:
        after = [e for e in self.log if e.sequence > reading.since][:PAGE]
        return EventPage(tuple(after), last_sequence=len(self.log), oldest_sequence=1 if self.log else 0)

    # -- what the world does ------------------------------------------------------------------

    @precondition(lambda self: self.may_write(1))
    @rule(lost=st.booleans())
    def write(self, lost: bool) -> None:
        self.log.append(event(len(self.log) + 1))
        if self.server_live and not lost:
            self.wire.append(self.log[-1])

    @precondition(lambda self: self.server_live and self.may_write(2))
    @rule()
    def one_is_lost_and_the_next_arrives(self) -> None:
        self.write(lost=True)
        self.log.append(event(len(self.log) + 1))
        self.perform(self.recovery.change(self.log[-1], self.now))

    @precondition(lambda self: self.epoch is not None)
    @rule()
    def answer_join(self) -> None:
        assert self.epoch is not None
        self.perform(self.recovery.joined(self.epoch, self.now))

    @precondition(lambda self: self.epoch is not None and self.recovery.phase in {Phase.JOINED, Phase.LIVE})
    @rule(told=st.booleans())
    def become_live(self, told: bool) -> None:
        assert self.epoch is not None
        self.server_live = True
        if told:
            self.perform(self.recovery.live(self.epoch, self.now))

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.wire) - 1))
        found = self.wire[index] if data.draw(st.booleans()) else self.wire.pop(index)  # else: again later
        self.perform(self.recovery.change(found, self.now))

    @rule(for_long=st.booleans())
    def application_is_slow(self, for_long: bool) -> None:
        self.held = True
        self.recovery.hold()
        if for_long:
            self.now += 100
            self.perform(self.recovery.tick(self.now))

    @precondition(lambda self: self.held)
    @rule()
    def application_has_room(self) -> None:
        self.held = False
        self.perform(self.recovery.release(self.now))

    @precondition(lambda self: self.wire)
    @rule()
    def arrive_twice(self) -> None:
        found = self.wire.pop(0)
        for _ in range(2):
            self.perform(self.recovery.change(found, self.now))

    @precondition(lambda self: self.epoch is not None)
    @rule(clean=st.booleans())
    def cut(self, clean: bool) -> None:
        assert self.epoch is not None
        self.server_live = False
        if clean:
            self.wire.clear()
        self.perform(self.recovery.lost(self.epoch, "cut", self.now))

    @rule()
    def subscription_dies_silently(self) -> None:
        self.server_live = False

    @precondition(lambda self: any(r.answer is None for r in self.readings))
    @rule()
    def database_answers(self) -> None:
        reading = next(r for r in self.readings if r.answer is None)
        reading.answer = self.snapshot(reading)

    @precondition(lambda self: any(r.answer is not None for r in self.readings))
    @rule()
    def answer_arrives(self) -> None:
        reading = next(r for r in self.readings if r.answer is not None)
        self.readings.remove(reading)
        assert reading.answer is not None
        self.perform(self.recovery.page(reading.ticket, reading.answer, self.now))

    @precondition(lambda self: self.readings)
    @rule()
    def reading_fails(self) -> None:
        self.perform(self.recovery.fetch_failed(self.readings.pop(0).ticket, self.now))

    @rule(seconds=st.floats(0.01, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.perform(self.recovery.tick(self.now))

    @rule()
    def all_goes_well_for_a_moment(self) -> None:
        if self.epoch is not None and self.recovery.phase in {Phase.CONNECTING, Phase.JOINED}:
            self.perform(self.recovery.joined(self.epoch, self.now))
            self.server_live = True
            self.perform(self.recovery.live(self.epoch, self.now))
        while self.readings:
            reading = self.readings.pop(0)
            self.perform(self.recovery.page(reading.ticket, reading.answer or self.snapshot(reading), self.now))

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def in_order_each_once(self) -> None:
        assert self.seen == list(range(1, len(self.seen) + 1))

    @invariant()
    def bounded(self) -> None:
        assert len(self.recovery._buffer) <= LIMITS.max_buffer + PAGE
        assert len(self.readings) <= 1, "two readings at once"

    def teardown(self) -> None:
        """The faults stop, the process completes: the machine must reach the end by itself."""
        if not self.ended:
            self.log.append(event(len(self.log) + 1, EventType.GENERATION_COMPLETED))
        if self.held:
            self.perform(self.recovery.release(self.now))
        for _ in range(200):
            if self.ended:
                break
            if self.epoch is not None and self.recovery.phase is Phase.CONNECTING:
                self.perform(self.recovery.joined(self.epoch, self.now))
                self.server_live = True
                self.perform(self.recovery.live(self.epoch, self.now))
            elif self.readings:
                reading = self.readings.pop(0)
                self.perform(self.recovery.page(reading.ticket, reading.answer or self.snapshot(reading), self.now))
            else:
                wake = self.recovery.next_wake()
                assert wake is not None, "the machine would sleep for ever"
                self.now = max(self.now + 0.001, wake)
                self.perform(self.recovery.tick(self.now))
        assert self.ended, "the stream never reached the end"
        assert self.seen == [e.sequence for e in self.log]


# Generous in steps, modest in number: the whole file must stay quick.
QUICK = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_every_event_once_and_in_order() -> None:
    run_state_machine_as_test(World, settings=QUICK)


def expect_failure(world: type[World], defect: type[Recovery]) -> None:
    planted = type(f"{world.__name__}{defect.__name__}", (world,), {"machine": defect})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            planted, settings=settings(QUICK, max_examples=2000, phases=[Stage.generate], report_multiple_bugs=False)
        )


class RestartingWorld(World):
    """Once or more the log is replaced by a shorter one, as after a rollback without its counters. Until the machine
    has noticed, the new log stays below the old cursor: beyond it no number can tell the two apart."""

    def __init__(self) -> None:
        self.unnoticed = False
        super().__init__()

    def told_of_a_restart(self, effect: HistoryRestarted) -> None:
        assert self.unnoticed, f"{effect}, but the log is the one it was"
        assert effect.last < effect.known
        self.unnoticed = False
        self.seen.clear()

    def may_write(self, number: int) -> bool:
        return not self.ended and (not self.unnoticed or len(self.log) + number <= self.recovery.last_sequence - 2)

    @precondition(lambda self: not self.ended and not self.unnoticed and self.recovery.last_sequence >= 2)
    @rule(data=st.data())
    def log_begins_anew(self, data: st.DataObject) -> None:
        length = data.draw(st.integers(0, self.recovery.last_sequence - 2))
        self.log = [event(sequence) for sequence in range(1, length + 1)]
        self.wire.clear()
        self.server_live, self.unnoticed = False, True

    def teardown(self) -> None:
        super().teardown()
        assert not self.unnoticed, "nobody was told that the log began anew"


def test_a_log_that_begins_anew_is_announced_and_read_from_its_beginning() -> None:
    run_state_machine_as_test(RestartingWorld, settings=QUICK)


class StarvesInSilence(Recovery):
    """As it was: a log that ends below the cursor looks like one in which nothing happens."""

    def page(self, ticket: int, page: EventPage, now: float) -> list[Effect]:
        last = max(page.last_sequence or 0, self.last_sequence)
        return super().page(ticket, replace(page, last_sequence=last), now)


class BeginsAnewWhereItWas(Recovery):
    def _begin_anew(self, last: int, now: float) -> list[Effect]:
        known = self.last_sequence
        effects = super()._begin_anew(last, now)
        self.last_sequence = min(known, last)
        return effects


@pytest.mark.parametrize("defect", [StarvesInSilence, BeginsAnewWhereItWas])
def test_the_property_of_restarts_finds_a_planted_defect(defect: type[Recovery]) -> None:
    expect_failure(RestartingWorld, defect)


class NoFetchAfterRejoin(Recovery):
    def live(self, epoch: int, now: float) -> list[Effect]:
        self._enter(Phase.LIVE, now)
        return []

    def tick(self, now: float) -> list[Effect]:
        self._hear(now)  # nor does it look
        return super().tick(now)


class TrustsTheFirstPage(Recovery):
    def _complete(self, page: EventPage) -> bool:
        return True

    def look(self, now: float) -> list[Effect]:
        return []

    def tick(self, now: float) -> list[Effect]:
        self._hear(now)
        return super().tick(now)


class DeliversAsItComes(Recovery):
    def change(self, event: ProcessEvent, now: float) -> list[Effect]:
        self.last_sequence = max(self.last_sequence, event.sequence)
        return [Deliver(event)]


class ForgetsWhatItDelivered(Recovery):
    def change(self, event: ProcessEvent, now: float) -> list[Effect]:
        if event.sequence == self.last_sequence:
            return [Deliver(event)]
        return super().change(event, now)


class NeverLooks(Recovery):
    def tick(self, now: float) -> list[Effect]:
        self._hear(now)
        return super().tick(now)


class GivesUpAfterALoss(Recovery):
    def lost(self, epoch: int, reason: str, now: float) -> list[Effect]:
        effects = super().lost(epoch, reason, now)
        self._connect_at = None
        return effects

    def tick(self, now: float) -> list[Effect]:
        self._hear(now)
        return super().tick(now)


class FetchInFlightIsEnough(Recovery):
    """The fetch that was already under way when the subscription went live counts as the catch-up."""

    def live(self, epoch: int, now: float) -> list[Effect]:
        if self._asked is not None:
            self._enter(Phase.LIVE, now)
            return []
        return super().live(epoch, now)

    def tick(self, now: float) -> list[Effect]:
        self._hear(now)
        return super().tick(now)


@pytest.mark.parametrize(
    "defect",
    [
        NoFetchAfterRejoin,
        TrustsTheFirstPage,
        DeliversAsItComes,
        ForgetsWhatItDelivered,
        NeverLooks,
        GivesUpAfterALoss,
        FetchInFlightIsEnough,
    ],
)
def test_the_property_finds_a_planted_defect(defect: type[Recovery]) -> None:
    expect_failure(World, defect)
