"""The limits of the monitor: pure rules over a sample, which decide its exit code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from toolkit.checks.absent import known
from toolkit.checks.named_check import NamedCheck, failed, passed, unknown
from toolkit.monitor.figures import Application, Database, Realtime, Sample
from toolkit.report.record import Check

_MIB = 1024**2
_GROUP = "Thresholds"


@dataclass(frozen=True)
class Thresholds:
    """The limits; a figure beyond its limit fails."""

    pending_age_s: float = 60.0
    failed_rate: float = 0.05
    delivery_p95_ms: float = 1000.0
    slot_retained_mib: float = 1024.0
    connection_failures: int = 0
    dead_rows_rate: float = 0.5


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed. Raises ValueError without values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def judge(sample: Sample, limits: Thresholds) -> tuple[Check, ...]:
    """One check for each limit of the requested groups; a figure that is not known makes it unknown."""
    found: list[Check] = []
    if (database := sample.database) is not None:
        found += [
            _check(
                "pending-age",
                "Tasks that are due are taken in time",
                "Start workers, or more of them.",
                lambda: _pending(database, limits),
            ),
            _check(
                "slot-retained",
                "No idle replication slot keeps WAL",
                "select pg_drop_replication_slot('<name>') when nobody needs it.",
                lambda: _slots(database, limits),
            ),
            _check(
                "dead-rows",
                "Tables are vacuumed",
                "vacuum (analyze) public.<table>; look for long transactions that hold it up (pg_stat_activity).",
                lambda: _dead(database, limits),
            ),
        ]
    if (realtime := sample.realtime) is not None:
        found += [
            _check(
                "connections",
                "Realtime connections succeed",
                "toolkit doctor shows how far they come.",
                lambda: _connections(realtime, limits),
            ),
            _check(
                "delivery-p95",
                "Events arrive in time, and all of them",
                "Look at the lag of the replication slots, at the load of Realtime, and at RLS policies.",
                lambda: _delivery(realtime, limits),
            ),
        ]
    if (application := sample.application) is not None:
        found.append(
            _check(
                "failed-rate",
                "Tasks succeed",
                "Read their errors: the table of failed processes, toolkit doctor.",
                lambda: _failed(application, limits),
            )
        )
    return tuple(found)


def _check(id: str, title: str, remedy: str, rule: Callable[[], Check]) -> Check:
    return NamedCheck[None](id, title, remedy, _GROUP, lambda _: rule()).run(None)


def _pending(database: Database, limits: Thresholds) -> Check:
    oldest = known(database.queue).oldest_due_s
    if oldest is None:
        return passed("none is due")
    seen = f"the oldest waits for {oldest:.1f} s (limit {limits.pending_age_s:g} s)"
    return failed(seen) if oldest > limits.pending_age_s else passed(seen)


def _slots(database: Database, limits: Thresholds) -> Check:
    slots = known(database.slots)
    bad = [
        f"{one.slot.name}: {one.slot.retained_bytes / _MIB:.0f} MiB"
        for one in slots
        if not one.slot.active and one.slot.retained_bytes > limits.slot_retained_mib * _MIB
    ]
    if bad:
        return failed(f"more than {limits.slot_retained_mib:g} MiB kept for nobody", bad)
    return passed(f"{len(slots)} slots")


def _dead(database: Database, limits: Thresholds) -> Check:
    # Autovacuum rightly leaves small tables alone, so they are not judged.
    bad = [
        f"{table.name}: {table.dead} dead of {table.live + table.dead} rows"
        for table in known(database.tables)
        if table.dead > 10_000 and table.dead > limits.dead_rows_rate * (table.live + table.dead)
    ]
    return failed(f"more than {limits.dead_rows_rate:.0%} of the rows are dead", bad) if bad else passed("they are")


def _connections(realtime: Realtime, limits: Thresholds) -> Check:
    seen = known(realtime.connections)
    words = f"{seen.live} of {seen.tried} went live (limit {limits.connection_failures} failures)"
    if seen.tried - seen.live > limits.connection_failures:
        return failed(f"{words}: {seen.trouble or 'no answer in time'}")
    return passed(words)


def _delivery(realtime: Realtime, limits: Thresholds) -> Check:
    seen = known(realtime.delivered)
    missing = seen.written - len(seen.latencies_ms)
    if missing:
        return failed(f"{missing} of {seen.written} events did not arrive as they happened")
    if not seen.latencies_ms:
        raise unknown("no event was written", "Ask for at least one (--probe-events).")
    p95 = percentile(seen.latencies_ms, 0.95)
    words = f"p95 {p95:.1f} ms over {seen.written} events (limit {limits.delivery_p95_ms:g} ms)"
    return failed(words) if p95 > limits.delivery_p95_ms else passed(words)


def _failed(application: Application, limits: Thresholds) -> Check:
    tasks = known(application.tasks)
    ended, bad = sum(t.completed + t.failed for t in tasks), sum(t.failed for t in tasks)
    if not ended:
        return passed("no task ended within the window")
    words = f"{bad} of {ended} tasks failed ({bad / ended:.1%}, limit {limits.failed_rate:.1%})"
    return failed(words) if bad / ended > limits.failed_rate else passed(words)
