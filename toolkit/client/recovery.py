"""The lossless stream as a pure state machine: inputs are events and the time, outputs are effects to carry out.

Realtime has no replay: what commits while nobody listens, or before a subscription is live, is never
sent. So the log is read over HTTP from the last delivered sequence on, whenever something may have
been missed:

    join, and fetch meanwhile → the subscription is live → fetch, page by page → deliver in order, each sequence once
    a sequence jumps → keep what came, fetch what is missing
    the log ends below what was asked for → it is another one: say so, begin at its beginning
    the socket is lost → wait (full jitter) → connect again → the same
    nothing received for a while, connected or not → read the log

A fetch that begins after the subscription is live sees everything that committed before, and the
subscription brings everything after; sequence order is commit order, so nothing can appear later below
what was delivered. The browser's hook follows the same machine.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from enum import StrEnum

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
from toolkit.client.events import EventPage, ProcessEvent, Via
from toolkit.contract.events import EventType

ENDS = frozenset({EventType.GENERATION_COMPLETED, EventType.GENERATION_CANCELLED})


@dataclass(frozen=True)
class RecoveryLimits:
    """Times in seconds. Waits before a new attempt are drawn from [0, min(cap, base · 2^attempts)]."""

    silence_s: float = 10.0  # nothing received for so long → read the log
    live_grace_s: float = 0.25  # joined, but not told for so long that the subscription is live
    connect_deadline_s: float = 20.0
    stable_s: float = 5.0  # a connection that lasted so long resets the waits
    connect_base_s: float = 0.5
    connect_cap_s: float = 10.0
    fetch_base_s: float = 0.25
    fetch_cap_s: float = 5.0
    stalled_s: float = 60.0  # neither a change nor a page for so long → Stalled
    max_buffer: int = 1000  # events kept while something before them is missing


class Phase(StrEnum):
    """The state of the subscription."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    JOINED = "joined"
    LIVE = "live"
    ENDED = "ended"


@dataclass(frozen=True)
class _Asked:
    ticket: int
    since: int
    looking: bool
    epoch: int
    live: bool


class Recovery:
    """One process' stream. Every input takes `now` (seconds, monotonic) and returns what to do, in order."""

    def __init__(
        self,
        *,
        since: int = 0,
        end_on_error: bool = False,
        limits: RecoveryLimits | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.limits = limits or RecoveryLimits()
        self.last_sequence = since
        self.phase = Phase.WAITING
        self.reconnects = 0
        self.duplicates_dropped = 0
        self.overflowed = 0
        self.delivered_live = 0
        self.delivered_backfill = 0
        self.silent_subscriptions = 0
        self.stalled = False
        self._ends = ENDS | ({EventType.GENERATION_ERROR} if end_on_error else set())
        # Spreading reconnects needs no secrecy.
        self._rng = rng or random.Random()  # noqa: S311
        self._buffer: dict[int, ProcessEvent] = {}
        self._highest_seen = since
        self._baseline: int | None = None
        self._unseen: set[int] = set()
        self._epoch = 0
        self._connect_attempts = 0
        self._connect_at: float | None = None
        self._phase_since = 0.0
        self._ticket = 0
        self._asked: _Asked | None = None
        self._want_fetch = False
        self._fetch_attempts = 0
        self._fetch_at = 0.0
        self._suspected: frozenset[tuple[int, int]] = frozenset()
        self._silent_looks = 0
        self._heard_at = 0.0
        self._held = False

    @property
    def missed_live(self) -> int:
        """How many events were written after the first catch-up and came by reading, not (yet) by the subscription."""
        return len(self._unseen)

    @property
    def ended(self) -> bool:
        """Whether the stream has ended; inputs then have no effect."""
        return self.phase is Phase.ENDED

    # -- inputs -------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Begin: connect, and read meanwhile what is there, since nobody should wait for a join to see it."""
        self._heard_at = now
        return self._connect(now) + self._catch_up(now)

    def joined(self, epoch: int, now: float) -> list[Effect]:
        """The join was answered ok; the subscription may or may not be live yet."""
        if epoch == self._epoch and self.phase is Phase.CONNECTING:
            self._enter(Phase.JOINED, now)
        return []

    def live(self, epoch: int, now: float) -> list[Effect]:
        """The server says that changes flow: at first, and again when it renewed the subscription."""
        if epoch != self._epoch or self.phase not in {Phase.JOINED, Phase.LIVE}:
            return []
        if self.phase is Phase.JOINED:
            self._enter(Phase.LIVE, now)
        return self._catch_up(now)

    def change(self, event: ProcessEvent, now: float) -> list[Effect]:
        """An event came over the subscription."""
        if self.ended:
            return []
        self._silent_looks = 0
        self._unseen.discard(event.sequence)
        self._highest_seen = max(self._highest_seen, event.sequence)
        if event.sequence <= self.last_sequence or event.sequence in self._buffer:
            # Not new, but no sign that all is well either: a log that began anew brings such changes only.
            self.duplicates_dropped += 1
            return []
        self._hear(now)
        full = len(self._buffer) >= self.limits.max_buffer and event.sequence != self.last_sequence + 1
        if self._held or full:
            self.overflowed += 1  # the next fetch brings it
        else:
            self._buffer[event.sequence] = replace(event, via="live")
        effects = self._drain()
        if not self.ended and self.last_sequence < self._highest_seen:
            effects += self._catch_up(now)
        return effects

    def page(self, ticket: int, page: EventPage, now: float) -> list[Effect]:
        """A page was read."""
        asked = self._asked
        if self.ended or asked is None or asked.ticket != ticket:
            return []
        self._asked = None
        self._hear(now)
        # Compared with what was asked for, since the subscription may meanwhile have brought more than this page holds.
        if page.last_sequence is not None and page.last_sequence < asked.since:
            return self._begin_anew(page.last_sequence, now)
        before = self.last_sequence
        for event in page.events:
            if event.sequence > self.last_sequence:
                self._buffer.setdefault(event.sequence, replace(event, via="backfill"))
        effects = self._drain()
        effects += self._skip_expired(page)
        if self.ended:
            return effects
        self._fetch_attempts = 0 if self.last_sequence > before else self._fetch_attempts + 1
        if not self._complete(page):
            self._want_fetch = True
            # After progress, fetch again at once; without progress, wait a moment first.
            self._fetch_at = now if self.last_sequence > before else now + self._fetch_wait()
        else:
            self._fetch_attempts, self._fetch_at = 0, now
            if self._baseline is None and asked.live:
                self._baseline = self.last_sequence
        if asked.looking and asked.live and asked.epoch == self._epoch and self.last_sequence > before:
            effects += self._doubt_subscription(now)
        return effects + self._ask_if_due(now)

    def fetch_failed(self, ticket: int, now: float) -> list[Effect]:
        """A page could not be read; it will be asked for again."""
        if self.ended or self._asked is None or self._asked.ticket != ticket:
            return []
        self._asked = None
        self._fetch_attempts += 1
        self._want_fetch = True
        self._fetch_at = now + self._fetch_wait()
        return []

    def lost(self, epoch: int, reason: str, now: float) -> list[Effect]:
        """The connection of `epoch` failed, was refused, or ended."""
        if self.ended or epoch != self._epoch or self.phase is Phase.WAITING:
            return []
        if self.phase is Phase.LIVE and now - self._phase_since >= self.limits.stable_s:
            self._connect_attempts = 0
        self.reconnects += 1
        self._enter(Phase.WAITING, now)
        self._connect_at = now + self._jitter(
            self.limits.connect_base_s, self.limits.connect_cap_s, self._connect_attempts
        )
        self._connect_attempts += 1
        return [Disconnect(epoch, reason)]

    def look(self, now: float) -> list[Effect]:
        """The caller has a reason to believe that there are more events: read the log."""
        return [] if self.ended else self._catch_up(now)

    def back_online(self, now: float) -> list[Effect]:
        """The network is there again, as the caller knows: connect at once, without the wait, and read the log."""
        if self.ended:
            return []
        effects = self._connect(now) if self.phase is Phase.WAITING and self._connect_at is not None else []
        return effects + self._catch_up(now)

    def hold(self) -> None:
        """The application does not keep up: fetch and accept nothing until `release`."""
        self._held = True

    def release(self, now: float) -> list[Effect]:
        """The application has room again."""
        self._held = False
        self._hear(now)
        return self.look(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed; call this at `next_wake`, or at any other time."""
        if self.ended:
            return []
        effects: list[Effect] = []
        if self.phase is Phase.WAITING and self._connect_at is not None and now >= self._connect_at:
            effects += self._connect(now)
        elif self.phase is Phase.CONNECTING and now >= self._phase_since + self.limits.connect_deadline_s:
            effects += self.lost(self._epoch, "the join was not answered in time", now)
        elif self.phase is Phase.JOINED and now >= self._phase_since + self.limits.live_grace_s:
            # Other servers may never send it; if it comes later, another fetch follows.
            self._enter(Phase.LIVE, now)
            effects += self._catch_up(now)
        if self._held:
            return effects
        if now >= self._heard_at + self.limits.stalled_s and not self.stalled:
            self.stalled = True
            effects.append(Stalled(now - self._heard_at))
        if now >= self._heard_at + self.limits.silence_s and self._asked is None and not self._want_fetch:
            self._want_fetch = True
            self._fetch_at = now
            effects += self._ask_if_due(now, looking=True)
        return effects + self._ask_if_due(now)

    def next_wake(self) -> float | None:
        """The time at which `tick` has something to do if no input comes before; None: never."""
        if self.ended:
            return None
        times = []
        if self.phase is Phase.WAITING and self._connect_at is not None:
            times.append(self._connect_at)
        if self.phase is Phase.CONNECTING:
            times.append(self._phase_since + self.limits.connect_deadline_s)
        if self.phase is Phase.JOINED:
            times.append(self._phase_since + self.limits.live_grace_s)
        if self._held:
            return min(times, default=None)
        if not self.stalled:
            times.append(self._heard_at + self.limits.stalled_s)
        if self._asked is None:
            times.append(self._fetch_at if self._want_fetch else self._heard_at + self.limits.silence_s)
        return min(times, default=None)

    # -- connection ---------------------------------------------------------------------------

    def _connect(self, now: float) -> list[Effect]:
        self._epoch += 1
        self._connect_at = None
        self._silent_looks = 0
        self._enter(Phase.CONNECTING, now)
        return [Connect(self._epoch)]

    def _enter(self, phase: Phase, now: float) -> None:
        self.phase = phase
        self._phase_since = now

    def _doubt_subscription(self, now: float) -> list[Effect]:
        """A read found what a live subscription should have brought: once may be slowness; twice means that it is
        dead."""
        self._silent_looks += 1
        if self._silent_looks < 2:
            return []
        self.silent_subscriptions += 1
        return self.lost(self._epoch, "the subscription brings nothing although events are written", now)

    # -- reading ------------------------------------------------------------------------------

    def _catch_up(self, now: float) -> list[Effect]:
        self._want_fetch = True
        return self._ask_if_due(now)

    def _ask_if_due(self, now: float, *, looking: bool = False) -> list[Effect]:
        if self.ended or self._held or not self._want_fetch or self._asked is not None or now < self._fetch_at:
            return []
        self._want_fetch = False
        self._ticket += 1
        self._asked = _Asked(self._ticket, self.last_sequence, looking, self._epoch, self.phase is Phase.LIVE)
        return [Fetch(self._ticket, self.last_sequence)]

    def _complete(self, page: EventPage) -> bool:
        if self.last_sequence < self._highest_seen:
            return False
        if page.last_sequence is None:
            return not page.events
        return self.last_sequence >= page.last_sequence

    def _begin_anew(self, last: int, now: float) -> list[Effect]:
        known, self.last_sequence = self.last_sequence, 0
        self._buffer.clear()
        self._unseen.clear()
        self._highest_seen, self._baseline, self._suspected = last, None, frozenset()
        self._fetch_attempts, self._fetch_at = 0, now
        return [HistoryRestarted(known, last), *self._catch_up(now)]

    def _skip_expired(self, page: EventPage) -> list[Effect]:
        """Events that are missing between stored ones, or below the oldest, were cleaned up: report that once it is
        certain.

        A page is one snapshot, and nothing can commit below its events; even so, a second page must agree before an
        event is given up.
        """
        effects: list[Effect] = []
        covered = max((event.sequence for event in page.events), default=page.last_sequence or 0)
        holes = self._holes(covered)
        below_oldest = page.oldest_sequence or 0
        while holes and not self.ended and (holes[0] in self._suspected or holes[0][1] < below_oldest):
            first, last = holes[0]
            effects.append(HistoryExpired(first, last))
            self.last_sequence = last
            effects += self._drain()
            holes = holes[1:]
        self._suspected = frozenset(holes)
        return effects

    def _holes(self, covered: int) -> list[tuple[int, int]]:
        holes, expected = [], self.last_sequence + 1
        for sequence in [*sorted(s for s in self._buffer if s <= covered), covered + 1]:
            if sequence > expected:
                holes.append((expected, sequence - 1))
            expected = max(expected, sequence + 1)
        return holes

    # -- delivery -----------------------------------------------------------------------------

    def _drain(self) -> list[Effect]:
        effects: list[Effect] = []
        while not self.ended and (event := self._buffer.pop(self.last_sequence + 1, None)) is not None:
            self.last_sequence = event.sequence
            self._count(event.sequence, event.via)
            effects.append(Deliver(event))
            if event.type in self._ends:
                effects.append(Disconnect(self._epoch, "the process is over"))
                effects.append(End(event))
                self.phase = Phase.ENDED
        return effects

    def _count(self, sequence: int, via: Via) -> None:
        if via == "live":
            self.delivered_live += 1
            return
        self.delivered_backfill += 1
        if self._baseline is not None and sequence > self._baseline:
            self._unseen.add(sequence)

    def _hear(self, now: float) -> None:
        self._heard_at = now
        self.stalled = False

    def _fetch_wait(self) -> float:
        return self._jitter(self.limits.fetch_base_s, self.limits.fetch_cap_s, self._fetch_attempts)

    def _jitter(self, base: float, cap: float, attempts: int) -> float:
        return self._rng.uniform(0, min(cap, base * 2 ** min(attempts, 20)))
