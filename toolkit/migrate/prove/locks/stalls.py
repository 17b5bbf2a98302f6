"""Finds who was stalled, for how long and by which statement, from requests, waits and moments. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from toolkit.migrate.prove.locks.modes import ROWS, WRITES, conflict, in_words
from toolkit.migrate.prove.locks.statement_locks import StatementLocks
from toolkit.migrate.prove.locks.traffic import Request, Role
from toolkit.migrate.prove.locks.waits import Wait, Watched
from toolkit.migrate.run.history import Direction
from toolkit.migrate.run.run_model import Moment

# Errors that no synthetic row can bring about by itself; rows that stand in the way are looked for without traffic.
_OF_THE_CLIENT = ("08", "23")
_ROW_LOCKS = ("transactionid", "tuple", "spectoken")
_SHOWN = 12


@dataclass(frozen=True)
class Passage:
    """A file's run: its moments and times are seconds on the clock of the run. `failure` is '' when it got through."""

    direction: Direction
    started: float
    ended: float
    moments: tuple[tuple[float, Moment], ...]
    pid: int | None = None
    attempts: int = 1
    failure: str = ""

    def statement_at(self, at: float) -> int:
        """The statement that ran, or had run last, at a time; 0 before the first."""
        begun = [moment.index for when, moment in self.moments if when <= at and moment.kind == "before_statement"]
        return begun[-1] if begun else 0

    def held_ms(self, index: int) -> float | None:
        """From the beginning of a statement to the end of its transaction, in the last attempt; None: it never ran."""
        begun = [when for when, moment in self.moments if moment.kind == "before_statement" and moment.index == index]
        if not begun:
            return None
        ends = [when for when, moment in self.moments if moment.kind == "after_commit" and when >= begun[-1]]
        return ((ends[0] if ends else self.ended) - begun[-1]) * 1000


@dataclass(frozen=True)
class Stall:
    """A request that waited for a lock of the migration: `ms` is what was seen of the wait. `by` is the statement
    whose lock it was, `mode` that lock ('' when it was for rows), `meanwhile` what ran for most of the wait."""

    role: Role
    table: str
    start: float
    end: float
    relation: str
    mode: str
    by: StatementLocks | None
    meanwhile: StatementLocks | None

    @property
    def ms(self) -> float:
        """How long."""
        return (self.end - self.start) * 1000

    def __str__(self) -> str:
        lock = f"{in_words(self.mode)} on {self.relation}" if self.mode else f"rows of {self.table}"
        where = f"{self.by.where} ({self.by.text}), {lock}" if self.by else f"the migration, {lock}"
        also = ""
        if self.meanwhile and self.by and self.meanwhile.index != self.by.index:
            also = f"; meanwhile {self.meanwhile.where} ran ({self.meanwhile.text})"
        return f"{where}: a {self.role} of {self.table} waited {self.ms:.0f} ms{also}"


def stalls(
    passage: Passage, watched: Watched, requests: Sequence[Request], statements: Sequence[StatementLocks]
) -> tuple[Stall, ...]:
    """Every wait of the traffic for the session that migrated, the longest first.

    Only what `pg_blocking_pids` saw is counted: a request that is slow because the machine is slow is no stall.
    """
    by_index = {statement.index: statement for statement in statements}
    found = []
    for wait in watched.waits:
        request = _request_of(wait, requests)
        if request is None or wait.for_it is None or not passage.started <= wait.for_it[0] <= passage.ended:
            continue
        start, end = wait.for_it
        running = by_index.get(passage.statement_at((start + end) / 2))
        by, mode = _blamed(passage, wait, request.table, statements)
        found.append(Stall(request.role, request.table, start, end, wait.relation, mode, by or running, running))
    return tuple(sorted(found, key=lambda stall: -stall.ms))


def _request_of(wait: Wait, requests: Sequence[Request]) -> Request | None:
    return next((one for one in requests if one.pid == wait.pid and one.due <= wait.until <= one.ended), None)


def _blamed(
    passage: Passage, wait: Wait, table: str, statements: Sequence[StatementLocks]
) -> tuple[StatementLocks | None, str]:
    """The first statement whose lock stands against the one that is waited for, and that lock ('': it is for rows)."""
    assert wait.for_it is not None
    begun = {0} | {
        moment.index for when, moment in passage.moments if moment.kind == "before_statement" and when <= wait.for_it[1]
    }
    for_rows = wait.kind in _ROW_LOCKS
    for statement in statements:
        for lock in statement.locks if statement.index in begun else ():
            if for_rows and lock.table == table and lock.mode in (ROWS, WRITES):
                return statement, ""
            if not for_rows and lock.relation == wait.relation and conflict(lock.mode, wait.mode):
                return statement, lock.mode
    return None, "" if for_rows or not wait.relation else wait.mode


def over_budget(found: Iterable[Stall], budget_ms: float, when: str = "") -> tuple[str, ...]:
    """Violations: for each role and statement the longest stall, where that is more than the budget."""
    worst: dict[tuple[Role, int], tuple[Stall, int]] = {}
    for stall in found:
        key = (stall.role, stall.by.index if stall.by else 0)
        longest, times = worst.get(key, (stall, 0))
        worst[key] = (max(longest, stall, key=lambda one: one.ms), times + 1)
    return tuple(
        f"{stall}{f' ({times} waits in all)' if times > 1 else ''}; the budget is {budget_ms:.0f} ms{when}"
        for stall, times in sorted(worst.values(), key=lambda pair: -pair[0].ms)
        if stall.ms > budget_ms
    )


def harmed(passage: Passage, requests: Sequence[Request], watched: Watched, names: dict[int, str]) -> tuple[str, ...]:
    """Violations: what the traffic was refused while the file ran, and a file that did not get through."""
    before = {(one.table, one.verb, one.sqlstate) for one in requests if one.sqlstate and one.ended < passage.started}
    counted = Counter(
        (one.sqlstate, one.role, one.verb, one.table, one.message)
        for one in requests
        if one.sqlstate
        and passage.started <= one.ended
        and one.due <= passage.ended
        and not one.sqlstate.startswith(_OF_THE_CLIENT)
        and (one.table, one.verb, one.sqlstate) not in before
    )
    found = [
        f"while it ran, {verb} on {table} failed for a {role} ({times} times): {message} [{code}]"
        for (code, role, verb, table, message), times in counted.most_common(5)
    ]
    if passage.failure:
        found.append(f"under traffic it did not get through: {passage.failure}")
        found += [f"a deadlock: {circle_in_words(circle, names)}" for circle in watched.circles[:2]]
    return tuple(found)


def circle_in_words(circle: Sequence[int], names: dict[int, str]) -> str:
    """Sessions that waited for each other in a ring."""
    return " waits for ".join(names.get(pid, f"pid {pid}") for pid in (*circle, circle[0]))


def session_names(passage: Passage, requests: Sequence[Request], others: dict[int, str]) -> dict[int, str]:
    """Backends in words: the migration, a reader or writer (of a table, where it works on one only), and `others`."""
    tables: dict[int, set[str]] = {}
    roles: dict[int, Role] = {}
    for one in requests:
        tables.setdefault(one.pid, set()).add(one.table)
        roles[one.pid] = one.role
    names = {
        pid: f"a {role} of {next(iter(tables[pid]))}" if len(tables[pid]) == 1 else f"a {role} of several tables"
        for pid, role in roles.items()
    }
    return names | ({passage.pid: "the migration"} if passage.pid is not None else {}) | others


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the sorted values do not exceed. Raises ValueError when there are none."""
    if not sorted_values:
        raise ValueError("no values")
    return sorted_values[min(len(sorted_values) - 1, max(0, -(-int(share * 1000) * len(sorted_values) // 1000) - 1))]


def during(passage: Passage, requests: Iterable[Request], role: Role) -> list[float]:
    """What the clients of one role waited while the file ran, in milliseconds, sorted."""
    return sorted(
        one.ms for one in requests if one.role == role and one.ended >= passage.started and one.due <= passage.ended
    )


def who_waited(watched: Watched, names: dict[int, str]) -> tuple[tuple[str, ...], ...]:
    """Rows: who, for which lock on what, behind whom, how often, for how long at most (ms); the longest first."""
    grouped: dict[tuple[str, ...], list[float]] = {}
    for wait in watched.waits:
        if wait.pid not in names:
            continue
        lock = f"{in_words(wait.mode)} on {wait.relation}" if wait.relation else f"{wait.kind} lock"
        behind = ", ".join(sorted({names.get(pid, f"pid {pid}") for pid in wait.blockers})) or "nobody any more"
        grouped.setdefault((names[wait.pid], lock, behind), []).append((wait.until - wait.since) * 1000)
    ordered = sorted(grouped.items(), key=lambda item: -max(item[1]))[:_SHOWN]
    return tuple((*key, str(len(times)), f"{max(times):.0f}") for key, times in ordered)
