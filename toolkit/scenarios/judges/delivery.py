"""Judges of delivery from the database to the application: nothing is lost, duplicated, reordered, altered, or given to
a stranger."""

from __future__ import annotations

from itertools import pairwise

from toolkit.scenarios.judges.judge import Broken, Held, Judged, Nothing
from toolkit.scenarios.recorded.facts import Facts, ProcessFacts, Watch, committed_at, data, event_type, sequences, wall
from toolkit.scenarios.recorded.history import Record


def no_gap(facts: Facts, process: ProcessFacts) -> Judged:
    """The sequences in the database are 1..n, each exactly once."""
    rows = process.events
    if not rows:
        return Nothing(f"{facts.store} holds no event of it, or was not read")
    if rows[0].seq != 1:
        return Broken(f"the first event has sequence {rows[0].seq}, not 1", (rows[0],))
    for before, after in pairwise(rows):
        assert before.seq is not None
        if after.seq == before.seq:
            return Broken(f"sequence {after.seq} was given to two events", (before, after))
        if after.seq != before.seq + 1:
            return Broken(f"{facts.store} goes from sequence {before.seq} to {after.seq}", (before, after))
    return Held(len(rows))


def no_loss(facts: Facts, process: ProcessFacts) -> Judged:
    """Every session was given every event of its time, and all sessions together every event."""
    rows = {row.seq: row for row in process.events if row.seq is not None}
    if not rows:
        return Nothing(f"{facts.store} holds no event of it, or was not read")
    if not process.own:
        return Nothing("nobody watched it")
    for watch in process.own:
        got = set(sequences(watch.delivered))
        upper = max(rows) if watch.closed is None else max(got, default=watch.since)
        for seq in sorted(rows):
            if watch.since < seq <= upper and seq not in got:
                return Broken(f"event {seq} was never given to {watch.actor}", _around(watch, rows[seq]))
    covered = set(range(1, min(watch.since for watch in process.own) + 1))
    covered.update(*(sequences(watch.delivered) for watch in process.own))
    for seq in sorted(rows):
        if seq not in covered:
            return Broken(f"event {seq} was given to no session", (rows[seq],))
    return Held(len(rows))


def no_duplicate(_: Facts, process: ProcessFacts) -> Judged:
    """The application is given an event once."""
    looked_at = 0
    for watch in process.own:
        by_seq: dict[int, Record] = {}
        by_id: dict[str, Record] = {}
        for record in watch.delivered:
            if record.seq is None:
                continue
            looked_at += 1
            first = by_seq.get(record.seq) or by_id.get(record.event_id or "")
            if first is not None:
                return Broken(f"event {record.seq} was given twice to {watch.actor}", (first, record))
            by_seq[record.seq] = record
            if record.event_id:
                by_id[record.event_id] = record
    return Held(looked_at) if looked_at else Nothing("no event was delivered")


def order(_: Facts, process: ProcessFacts) -> Judged:
    """The application is given events in ascending order; missing ones are for `no_loss` to judge."""
    looked_at = 0
    for watch in process.own:
        numbered = [record for record in watch.delivered if record.seq is not None]
        looked_at += len(numbered)
        if numbered and (numbered[0].seq or 0) <= watch.since:
            return Broken(f"{watch.actor} had {watch.since} and was given {numbered[0].seq}", (numbered[0],))
        for before, after in pairwise(numbered):
            assert before.seq is not None
            assert after.seq is not None
            if after.seq < before.seq:
                return Broken(f"{watch.actor} was given {after.seq} after {before.seq}", (before, after))
    return Held(looked_at) if looked_at else Nothing("no event was delivered")


def delivered_equals_database(facts: Facts, process: ProcessFacts) -> Judged:
    """What the application was given is what the database holds: id, type and data."""
    rows = {row.seq: row for row in process.events}
    looked_at = 0
    for record in process.delivered:
        row = rows.get(record.seq)
        if record.seq is None:
            return Broken("an event was given without a sequence", (record,))
        if row is None:
            if not rows:
                return Nothing(f"{facts.store} was not read")
            return Broken(f"event {record.seq} was given, and {facts.store} does not hold it", (record,))
        looked_at += 1
        if record.event_id != row.event_id:
            return Broken(f"event {record.seq} has another id in {facts.store}", (record, row))
        if event_type(record) != event_type(row):
            return Broken(f"event {record.seq} has another type in {facts.store}", (record, row))
        if data(record) != data(row):
            keys = sorted(k for k in data(record).keys() | data(row).keys() if data(record).get(k) != data(row).get(k))
            return Broken(f"event {record.seq} has other data in {facts.store}: {', '.join(keys)}", (record, row))
    return Held(looked_at) if looked_at else Nothing("no event was delivered")


def isolation_between_processes(facts: Facts, process: ProcessFacts) -> Judged:
    """A subscription to one process is sent, and given, events of that process alone."""
    if len(facts.processes) < 2:
        return Nothing("there was no second process that could have leaked")
    looked_at = 0
    for watch in process.watches:
        for record in _seen(watch):
            looked_at += 1
            if record.process != process.id:
                other = facts.owner(record.process)
                name = other.name if other else f"process {record.process}"
                return Broken(f"{watch.actor} watches {process.name} and saw {name}", (watch.opened, record))
    return Held(looked_at, "frames and deliveries") if looked_at else Nothing("nothing arrived")


def isolation_between_users(facts: Facts, process: ProcessFacts) -> Judged:
    """A user who may not read a process receives nothing of it, however broad the subscription.

    It proves something only where a stranger was live while the process had events.
    """
    allowed = {process.user, *process.readers}
    strangers = [watch for watch in facts.watches if watch.user not in allowed]
    for watch in strangers:
        for record in _seen(watch):
            if record.process == process.id:
                return Broken(f"{watch.user} was sent an event of {process.user}'s process", (watch.opened, record))
    # A user who subscribed to one process of their own asked for nothing else, so their silence proves nothing.
    listening = [w for w in strangers if w.process in (None, process.id) and any(m.op == "live" for m in w.moods)]
    if not listening:
        return Nothing("no other user had a live subscription")
    appended = [at for record in (process.events or process.delivered) if (at := committed_at(record)) is not None]
    if not appended:
        return Nothing("it had no event that could have leaked")
    proof = sum(any(_live_at(watch, at) for at in appended) for watch in listening)
    if not proof:
        return Nothing("no other user's subscription was live when its events were appended")
    return Held(proof, "subscriptions of other users")


def _live_at(watch: Watch, moment: float) -> bool:
    """Whether the subscription was up at a Unix time."""
    if watch.closed is not None and wall(watch.closed) <= moment:
        return False
    moods = [mood.op for mood in watch.moods if wall(mood) <= moment]
    return bool(moods) and moods[-1] == "live"


def _seen(watch: Watch) -> list[Record]:
    return sorted([*watch.frames, *watch.delivered], key=lambda record: (record.t_ns, record.i))


def _around(watch: Watch, row: Record) -> tuple[Record, ...]:
    """The delivery before the hole, the row that is missing, the delivery after it."""
    assert row.seq is not None
    before = [record for record in watch.delivered if record.seq is not None and record.seq < row.seq]
    after = [record for record in watch.delivered if record.seq is not None and record.seq > row.seq]
    nearest = max(before, key=lambda record: record.seq or 0, default=None)
    following = min(after, key=lambda record: record.seq or 0, default=None)
    return tuple(record for record in (nearest, row, following) if record is not None)
