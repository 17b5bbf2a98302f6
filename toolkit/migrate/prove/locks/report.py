"""What the locks proof shows beside its claims: tables, figures and a timeline. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from toolkit.migrate.prove.locks.modes import in_words, stops, strongest
from toolkit.migrate.prove.locks.observed_runs import Inspection, UnderTraffic
from toolkit.migrate.prove.locks.stalls import Passage, Stall, during, percentile, session_names, who_waited
from toolkit.migrate.prove.locks.statement_locks import StatementLocks
from toolkit.migrate.prove.locks.traffic import Role
from toolkit.migrate.run.history import Direction
from toolkit.report.record import Band, Curve, Lane, Measurement, Table, Tick, Timeline

_ROLES: tuple[Role, ...] = ("reader", "writer")
GROUP = "locks"  # the proof's name: its pictures stand with its claims
_MOST_TICKS, _BIN_S = 150, 0.02
_SHOWN_MS = 5.0  # shorter stalls are no bands: nobody could see them


def locks_table(version: str, inspection: Inspection, run: UnderTraffic | None) -> Table:
    """A row for each statement that took a lock on an older table or worked through one."""
    rows = []
    passages = {passage.direction: passage for passage in run.passages} if run else {}
    for look in inspection.looks:
        for statement in look.statements:
            older = [lock for lock in statement.locks if lock.existed]
            if not older and not statement.work:
                continue
            mode = strongest(lock.mode for lock in older)
            on = ", ".join(dict.fromkeys(lock.relation for lock in older if lock.mode == mode))
            held = passages[look.direction].held_ms(statement.index) if look.direction in passages else None
            rows.append(
                (
                    look.direction,
                    statement.where,
                    statement.text,
                    in_words(mode),
                    on,
                    stops(mode) or "nobody",
                    "" if held is None else f"{held:.1f}",
                    "; ".join(f"{work.what} {work.table}" for work in statement.work),
                )
            )
    columns = ("", "line", "statement", "strongest new lock", "on", "stops", "held, ms", "work that grows")
    return Table(f"{version}: locks by statement", columns, tuple(rows), GROUP)


def traffic_tables(version: str, runs: Sequence[tuple[str, UnderTraffic]]) -> tuple[Table, ...]:
    """Who waited for whom, and what the traffic was refused by phase; tables without rows are left out."""
    waited: list[tuple[str, ...]] = []
    refused: list[tuple[str, ...]] = []
    for title, run in runs:
        for passage, watched in zip(run.passages, run.watched, strict=True):
            names = session_names(passage, run.requests, run.others)
            waited += [(f"{passage.direction}{title}", *row) for row in who_waited(watched, names)]
        counted = Counter(
            (phase_of(one.ended, run.passages), one.sqlstate, one.role, f"{one.verb} {one.table}", one.message)
            for one in run.requests
            if one.sqlstate
        )
        refused += [
            (f"{phase}{title}", *rest, str(times)) for (phase, *rest), times in counted.most_common(_MOST_TICKS)
        ]
    group = GROUP
    tables = (
        Table(
            f"{version}: who waited for whom",
            ("run", "who", "for", "behind", "times", "longest, ms"),
            tuple(waited),
            group,
        ),
        Table(
            f"{version}: errors of the traffic",
            ("when", "SQLSTATE", "role", "statement", "message", "times"),
            tuple(refused),
            group,
        ),
    )
    return tuple(table for table in tables if table.rows)


def phase_of(at: float, passages: Sequence[Passage]) -> str:
    """In words: "before", "during up", "after up", …"""
    phase = "before"
    for passage in passages:
        if at >= passage.started:
            phase = f"{'during' if at <= passage.ended else 'after'} {passage.direction}"
    return phase


def figures(version: str, runs: Sequence[tuple[str, UnderTraffic]]) -> tuple[Measurement, ...]:
    """p50, p99 and worst of what readers and writers waited while the file ran, from the client's side."""
    found = []
    for title, run in runs:
        for passage in run.passages:
            for role in _ROLES:
                if waited := during(passage, run.requests, role):
                    name = f"{passage.direction}{title}, {role}"
                    found += [
                        Measurement(f"{name} p50", percentile(waited, 0.5), "ms", f"stalls {version}"),
                        Measurement(f"{name} p99", percentile(waited, 0.99), "ms", f"stalls {version}"),
                        Measurement(f"{name} worst", waited[-1], "ms", f"stalls {version}"),
                    ]
    return tuple(found)


def timeline(
    title: str,
    run: UnderTraffic,
    found: Sequence[Stall],
    statements: Mapping[Direction, Sequence[StatementLocks]],
    budget_ms: float,
) -> Timeline:
    """Statements, refused requests, the runs and the stalls as bands, the clients' waiting as curves."""
    ticks = [
        Tick(at, f"{texts.get(moment.index, '')}"[:100])
        for passage in run.passages
        for texts in (
            {statement.index: f"{statement.where} {statement.text}" for statement in statements[passage.direction]},
        )
        for at, moment in passage.moments
        if moment.kind == "before_statement"
    ]
    lanes = [Lane("statements", tuple(ticks[:_MOST_TICKS]))]
    for role in _ROLES:
        refused = [
            Tick(one.ended, f"{one.verb} {one.table}: {one.message} [{one.sqlstate}]"[:120], "bad")
            for one in run.requests
            if one.role == role and one.sqlstate
        ]
        lanes.append(Lane(f"{role}s refused", tuple(refused[:_MOST_TICKS])))
    bands = [Band(one.started, one.ended, one.direction, "plain") for one in run.passages]
    shown = [stall for stall in found if stall.ms >= _SHOWN_MS][:_MOST_TICKS]
    bands += [Band(one.start, one.end, str(one), "bad" if one.ms > budget_ms else "warn") for one in shown]
    return Timeline(
        title,
        tuple(lanes),
        tuple(bands),
        tuple(_curve(run, role) for role in _ROLES),
        GROUP,
    )


def _curve(run: UnderTraffic, role: Role) -> Curve:
    """The longest wait of each stretch of time: means would hide what is looked for."""
    worst: dict[int, float] = {}
    for one in run.requests:
        if one.role == role:
            at = int(one.due / _BIN_S)
            worst[at] = max(worst.get(at, 0.0), one.ms)
    return Curve(
        f"{role} waited", "ms", tuple((round(at * _BIN_S, 3), round(ms, 2)) for at, ms in sorted(worst.items()))
    )
