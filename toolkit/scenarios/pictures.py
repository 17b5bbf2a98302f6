"""Pictures of a run: a timeline with stored, live and backfill lanes for each process, faults as bands, losses in
red."""

from __future__ import annotations

from toolkit.report.record import Band, Distribution, Lane, Tick, Timeline, Tone
from toolkit.scenarios.recorded.facts import Facts, ProcessFacts, committed_at, event_type, wall
from toolkit.scenarios.recorded.history import Record

MAX_PROCESSES = 12


def timeline(facts: Facts, *, title: str, group: str = "") -> Timeline:
    """The timeline of a run, in seconds from its first record; the database lane uses the rows' own times."""
    start = wall(facts.records[0]) if facts.records else 0.0
    end = facts.seconds(facts.records[-1]) if facts.records else 0.0
    lanes = [
        lane
        for process in sorted(facts.processes, key=lambda p: p.name)[:MAX_PROCESSES]
        for lane in _lanes(facts, process, start)
    ]
    bands = tuple(
        Band(
            facts.seconds(fault.begun),
            facts.seconds(fault.healed) if fault.healed else end,
            f"{fault.op} {fault.target}",
            "warn" if fault.confirmed else "plain",
        )
        for fault in facts.faults
    )
    return Timeline(title, tuple(lanes), bands, group=group)


def latencies(facts: Facts) -> tuple[float, ...]:
    """Milliseconds from the row's time to the application, for live events while no fault was on."""
    found = []
    for process in facts.processes:
        for record in process.delivered:
            at = committed_at(record)
            if record.via == "live" and at is not None and not _disturbed(facts, record):
                found.append(max(0.0, (wall(record) - at) * 1000))
    return tuple(found)


def distribution(facts: Facts, *, group: str = "") -> Distribution:
    """The `latencies` as a histogram."""
    return Distribution("From commit to the application, live events", "ms", latencies(facts), group)


def _disturbed(facts: Facts, record: Record) -> bool:
    return any(
        fault.begun.t_ns <= record.t_ns and (fault.healed is None or record.t_ns <= fault.healed.t_ns + 2_000_000_000)
        for fault in facts.faults
    )


def _lanes(facts: Facts, process: ProcessFacts, start: float) -> list[Lane]:
    given = {record.seq for record in process.delivered}
    rows = []
    for row in process.events:
        at = committed_at(row)
        if at is not None:
            lost = bool(process.own) and row.seq not in given
            label = f"{row.seq} {event_type(row)}" + (" never delivered" if lost else "")
            rows.append(Tick(max(0.0, at - start), label, "bad" if lost else "plain"))
    lanes = [Lane(f"{process.name} · {facts.store.removeprefix('the ')}", tuple(rows))] if rows else []
    seen: set[int] = set()
    arrivals: dict[str, list[Tick]] = {}
    for record in process.delivered:
        wrong = record.seq is not None and (record.seq in seen or any(seq > record.seq for seq in seen))
        if record.seq is not None:
            seen.add(record.seq)
        label = f"{record.seq or ''} {event_type(record)}".strip()
        tone: Tone = "bad" if wrong else "warn" if record.via == "backfill" else "good"
        arrivals.setdefault(record.via or "live", []).append(Tick(facts.seconds(record), label, tone))
    lanes += [
        Lane(f"{process.name} · {via}", tuple(arrivals[via]))
        for via in ("live", "backfill", "socket")
        if via in arrivals
    ]
    return lanes
