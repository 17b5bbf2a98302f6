"""A delivery proof's figures as a report shows them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from toolkit.migrate.prove.delivery.wal_judge import Phase, Tally
from toolkit.report.record import Measurement, Table

_COLUMNS = ("publication", "phase", "operation", "written", "arrived", "lost", "twice", "out of order", "p50", "worst")


def table_of(tallies: Sequence[Tally], title: str) -> tuple[Table, ...]:
    """One row for each publication, phase and operation; none when nothing was written."""
    rows = tuple(
        (
            one.publication,
            one.phase,
            one.operation,
            str(one.written),
            str(one.arrived),
            str(one.lost),
            str(one.duplicated),
            str(one.reordered),
            _ms(one.p50_ms, one),
            _ms(one.worst_ms, one),
        )
        for one in tallies
    )
    return (Table(title, _COLUMNS, rows, "delivery"),) if rows else ()


def measurements(tallies: Sequence[Tally], version: str) -> tuple[Measurement, ...]:
    """Commit to decoded, by phase, in milliseconds; and how many rows were written and lost."""
    late: dict[Phase, list[float]] = defaultdict(list)
    for one in tallies:
        late[one.phase] += one.late_s
    found = []
    for phase, seconds in late.items():
        if seconds:
            found.append(
                Measurement(f"{version} {phase}: commit to decoded, p50", median(seconds) * 1000, "ms", "delivery")
            )
            found.append(
                Measurement(f"{version} {phase}: commit to decoded, worst", max(seconds) * 1000, "ms", "delivery")
            )
    if tallies:
        written, lost = sum(one.written for one in tallies), sum(one.lost for one in tallies)
        found.append(Measurement(f"{version}: probe rows written", written, "rows", "delivery"))
        found.append(Measurement(f"{version}: probe rows lost", lost, "rows", "delivery"))
    return tuple(found)


def _ms(value: float, tally: Tally) -> str:
    return f"{value:.0f} ms" if tally.arrived else "–"
