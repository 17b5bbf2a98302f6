"""Judges recovery: after a fault has healed, a watched process is live and caught up within the bound."""

from __future__ import annotations

from toolkit.contract.statuses import ENDED, Status
from toolkit.scenarios.judges.judge import Broken, Held, Judged, Nothing
from toolkit.scenarios.recorded.facts import Facts, Fault, ProcessFacts, Watch, change, committed_at, wall
from toolkit.scenarios.recorded.history import Record

_RESTING = {Status.USER_INPUT_REQUIRED, Status.PAUSED, *ENDED}


def recovers_in_time(facts: Facts, process: ProcessFacts) -> Judged:
    """After each healed fault the process is live again, every event committed before the heal is delivered, and work
    goes on."""
    bound = facts.limits["recovery"]
    if not facts.faults:
        return Nothing("no fault was injected")
    looked_at = 0
    for fault in facts.faults:
        if not fault.confirmed:
            return Nothing(f"fault {fault.number} ({fault.op} {fault.target}) was not seen to take effect")
        if fault.healed is None:
            return Nothing(f"fault {fault.number} ({fault.op} {fault.target}) was never healed")
        if fault.processes and process.id not in fault.processes:
            continue
        watches = [w for w in process.own if _open_during(w, fault)]
        for watch in watches:
            broken = _live_again(facts, watch, fault, bound) or _caught_up(facts, process, watch, fault, bound)
            if broken is not None:
                return broken
            looked_at += 1
        if fault.op in ("kill", "restart"):
            broken = _goes_on(process, fault, bound)
            if broken is not None:
                return broken
    return Held(looked_at, "recoveries") if looked_at else Nothing("no subscription was open during a fault")


def recovery_seconds(process: ProcessFacts, fault: Fault) -> float | None:
    """Seconds from the heal until the last event committed before it was delivered; 0 when it was delivered earlier."""
    if fault.healed is None:
        return None
    worst: float | None = None
    for watch in process.own:
        if not _open_during(watch, fault):
            continue
        late = [
            (record.t_ns - fault.healed.t_ns) / 1e9
            for record in watch.delivered
            if (at := committed_at(record)) is not None and at <= wall(fault.healed)
        ]
        worst = max([worst or 0.0, *late])
    return worst


def _open_during(watch: Watch, fault: Fault) -> bool:
    assert fault.healed is not None
    closed = watch.closed
    return watch.opened.t_ns <= fault.begun.t_ns and (closed is None or closed.t_ns > fault.healed.t_ns)


def _live_again(facts: Facts, watch: Watch, fault: Fault, bound: float) -> Broken | None:
    """A session that this fault interrupted must be live again, or have ended, by heal + bound.

    An interruption after the next fault has begun is caused by that fault, and judged with it.
    """
    assert fault.healed is not None
    limit = fault.healed.t_ns + int(bound * 1e9)
    following = [other.begun.t_ns for other in facts.faults if other.begun.t_ns > fault.begun.t_ns]
    until = min([limit, *following])
    before = [m for m in watch.moods if m.t_ns < fault.begun.t_ns]
    during = (m for m in watch.moods if m.op == "down" and fault.begun.t_ns <= m.t_ns <= until)
    # A session that the previous fault interrupted may still be down, and is then judged with this fault.
    down = before[-1] if before and before[-1].op == "down" else next(during, None)
    if down is None:
        return None
    up = next((m for m in watch.moods if m.op in ("live", "ended") and m.t_ns >= down.t_ns), None)
    if up is not None and up.t_ns <= limit:
        return None
    if any(begun < limit for begun in following):
        return None
    return Broken(
        f"{watch.actor} was not live again {bound:g} s after the fault had healed",
        (fault.begun, down, fault.healed, *([up] if up else [])),
    )


def _caught_up(facts: Facts, process: ProcessFacts, watch: Watch, fault: Fault, bound: float) -> Broken | None:
    assert fault.healed is not None
    limit = fault.healed.t_ns + int(bound * 1e9)
    got = {record.seq: record for record in watch.delivered}
    for row in process.events:
        at = committed_at(row)
        if at is None or at > wall(fault.healed) or (row.seq or 0) <= watch.since:
            continue
        delivery = got.get(row.seq)
        if delivery is None or delivery.t_ns > limit:
            when = (
                "never" if delivery is None else f"{facts.seconds(delivery) - facts.seconds(fault.healed):.1f} s late"
            )
            witness: tuple[Record, ...] = (fault.begun, row, fault.healed, *([delivery] if delivery else []))
            return Broken(f"event {row.seq}, committed before the heal, was delivered {when}", witness)
    return None


def _goes_on(process: ProcessFacts, fault: Fault, bound: float) -> Broken | None:
    """A process that was being worked on when the fault began moves again by heal + bound."""
    assert fault.healed is not None
    healed = wall(fault.healed)
    status: str | None = None
    for row in process.events:
        at = committed_at(row)
        if at is None:
            continue
        if at > healed:
            if status in _RESTING or status is None or at <= healed + bound:
                return None
            return Broken(f"it moved again only {at - healed:.1f} s after the heal", (fault.begun, fault.healed, row))
        changed = change(row, "status")
        status = changed[1] if changed else status
    if status is None or status in _RESTING:
        return None
    return Broken("it never moved again after the heal", (fault.begun, fault.healed))
