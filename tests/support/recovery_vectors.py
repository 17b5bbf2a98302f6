"""Test vectors of the recovery machine: what the Python model answers to thousands of random histories.

The browser's machine is run over the same file and must answer the same, effect for effect. A vector is one history:

    {"limits": {…}, "since": 0, "endOnError": false, "draws": [0.1, …],
     "steps": [{"input": "page", "args": […], "now": 1.5, "effects": [["deliver", 3, "step_started", "live"], …],
                "wake": 2.0, "facts": ["live", 3, …]}, …]}

Half of the steps are what a server would do, with losses, repetitions, late and disordered changes, clean-up and a log
that begins anew; the rest is noise: answers nobody asked for, epochs that are over, events from nowhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

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
from toolkit.client.events import EventPage, ProcessEvent
from toolkit.client.recovery import Recovery, RecoveryLimits

_ORDINARY = ("step_started", "step_completed", "user_input_required", "research_progress")
_SMALL = RecoveryLimits(max_buffer=3, silence_s=2.0, stalled_s=5.0)


class _Draws(random.Random):
    """Numbers from 0 to 1 that are written down as they are drawn."""

    def __init__(self, seed: float) -> None:
        super().__init__(seed)
        self.drawn: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        drawn = self.random()
        self.drawn.append(drawn)
        return a + (b - a) * drawn


@dataclass
class _World:
    """A server's log, and what is under way between it and the machine."""

    chance: random.Random
    tells_sequences: bool
    events: list[ProcessEvent] = field(default_factory=list)
    last: int = 0
    oldest: int = 1
    on_the_way: list[ProcessEvent] = field(default_factory=list)
    epoch: int = 0
    ticket: int = 0
    since: int = 0

    def commit(self) -> None:
        self.last += 1
        kinds = (*_ORDINARY, "generation_error") if self.chance.random() > 0.03 else ("generation_completed",)
        event = _event(self.last, self.chance.choice(kinds))
        self.events.append(event)
        self.on_the_way += [event] * self.chance.choice((0, 1, 1, 1, 1, 2))

    def clean_up(self) -> None:
        self.oldest = self.chance.randint(self.oldest, self.last + 1)
        # Sometimes from the middle, as a retention by type would.
        self.events = [e for e in self.events if e.sequence >= self.oldest and self.chance.random() > 0.1]

    def begin_anew(self) -> None:
        self.events, self.on_the_way, self.last, self.oldest = [], [], 0, 1
        for _ in range(self.chance.randint(0, 3)):
            self.commit()

    def page(self) -> EventPage:
        found = tuple(e for e in self.events if e.sequence > self.since)[: self.chance.randint(1, 5)]
        if not self.tells_sequences:
            return EventPage(found)
        return EventPage(found, self.last, min((e.sequence for e in self.events), default=0))

    def hear(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Connect(epoch):
                    self.epoch = epoch
                case Fetch(ticket, since):
                    self.ticket, self.since = ticket, since


def vectors(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """`count` histories, the same for the same seed."""
    for number in range(count):
        yield _history(random.Random(f"{seed}:{number}"))


def _history(chance: random.Random) -> dict[str, Any]:
    since, end_on_error = chance.choice((0, 0, 0, 4)), chance.random() < 0.2
    limits = chance.choice((RecoveryLimits(), _SMALL))
    draws = _Draws(chance.random())
    machine = Recovery(since=since, end_on_error=end_on_error, limits=limits, rng=draws)
    world = _World(chance, tells_sequences=chance.random() < 0.8)
    for _ in range(chance.randint(0, 8)):
        world.commit()
    steps, now = [_step(machine, world, "start", [], 0.0)], 0.0
    for _ in range(chance.randint(20, 60)):
        now += chance.choice((0.0, 0.0, 0.01, 0.1, 0.3, 1.0, 4.0))
        if chance.random() < 0.25:
            wake = machine.next_wake()
            now = now if wake is None else max(now, wake)
        name, args = _input(machine, world)
        steps.append(_step(machine, world, name, args, now))
    return {
        "limits": {camel(one.name): getattr(limits, one.name) for one in fields(limits)},
        "since": since,
        "endOnError": end_on_error,
        "draws": draws.drawn,
        "steps": steps,
    }


def _input(machine: Recovery, world: _World) -> tuple[str, list[Any]]:
    chance = world.chance
    for _ in range(chance.choice((0, 0, 1, 1, 3))):
        world.commit()
    if chance.random() < 0.02:
        world.clean_up()
    if chance.random() < 0.01:
        world.begin_anew()
    epoch = world.epoch if chance.random() < 0.9 else chance.randint(0, world.epoch + 1)
    ticket = world.ticket if chance.random() < 0.9 else chance.randint(0, world.ticket + 1)
    name = chance.choice(
        ("tick",) * 5
        + ("change",) * 6
        + ("page",) * 5
        + (
            "joined",
            "joined",
            "live",
            "live",
            "fetch_failed",
            "lost",
            "look",
            "back_online",
            "hold",
            "release",
            "release",
        )
    )
    match name:
        case "joined" | "live":
            return name, [epoch]
        case "lost":
            return name, [epoch, "closed"]
        case "fetch_failed":
            return name, [ticket]
        case "page":
            return name, [ticket, world.page()]
        case "change":
            return name, [_change(world)]
        case _:
            return name, []


def _change(world: _World) -> ProcessEvent:
    if world.on_the_way and world.chance.random() < 0.95:
        at = 0 if world.chance.random() < 0.8 else world.chance.randrange(len(world.on_the_way))
        return world.on_the_way.pop(at)
    return _event(world.chance.randint(1, world.last + 3), "step_started")


def _event(sequence: int, kind: str) -> ProcessEvent:
    return ProcessEvent(sequence=sequence, id=str(sequence), type=kind)


def _step(machine: Recovery, world: _World, name: str, args: list[Any], now: float) -> dict[str, Any]:
    effects: list[Effect] = [] if name == "hold" else getattr(machine, name)(*args, now)
    if name == "hold":
        machine.hold()
    world.hear(effects)
    return {
        "input": camel(name),
        "args": [_written(one) for one in args],
        "now": now,
        "effects": [_told(one) for one in effects],
        "wake": machine.next_wake(),
        "facts": [
            str(machine.phase),
            machine.last_sequence,
            machine.reconnects,
            machine.duplicates_dropped,
            machine.overflowed,
            machine.delivered_live,
            machine.delivered_backfill,
            machine.silent_subscriptions,
            machine.stalled,
            machine.missed_live,
        ],
    }


def _written(value: Any) -> Any:
    match value:
        case ProcessEvent():
            return [value.sequence, value.type]
        case EventPage():
            return {
                "events": [_written(one) for one in value.events],
                "lastSequence": value.last_sequence,
                "oldestSequence": value.oldest_sequence,
            }
        case _:
            return value


def _told(effect: Effect) -> list[Any]:
    match effect:
        case Connect(epoch):
            return ["connect", epoch]
        case Disconnect(epoch, reason):
            return ["disconnect", epoch, reason]
        case Fetch(ticket, since):
            return ["fetch", ticket, since]
        case Deliver(event):
            return ["deliver", event.sequence, event.type, event.via]
        case HistoryExpired(first, last):
            return ["history_expired", first, last]
        case HistoryRestarted(known, last):
            return ["history_restarted", known, last]
        case Stalled(seconds):
            return ["stalled", seconds]
        case End(event):
            return ["end", event.sequence]


def camel(name: str) -> str:
    """A name as TypeScript writes it."""
    head, *rest = name.removesuffix("_s").split("_")
    return head + "".join(word.capitalize() for word in rest)
