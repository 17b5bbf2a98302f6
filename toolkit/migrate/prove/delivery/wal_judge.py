"""Compares what was written with what was decoded: lost, duplicated, reordered, changed or renamed. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from toolkit.migrate.prove.delivery.publications import Published
from toolkit.migrate.prove.delivery.wal import Arrival, Change, Operation, Transaction

Phase = Literal["before", "during the migration", "after it", "during the rollback", "after the rollback"]
OPERATIONS: tuple[Operation, ...] = ("INSERT", "UPDATE", "DELETE")


# The SQLSTATE of a write to a published table without a usable replica identity.
NO_IDENTITY = frozenset({"55000", "42P10"})


@dataclass(frozen=True)
class Write:
    """One probe: a transaction of its own, numbered in the order of commits.

    `table` is `schema.name`; `row` what was inserted, or the row that was updated or deleted; `key` its primary key's
    columns. `refused` holds Postgres' words when it did not happen, `sqlstate` its code; a write that changed no row
    without an error is `suppressed`. `altered` are columns that were given a value and hold another.
    """

    serial: int
    phase: Phase
    table: str
    operation: Operation
    role: str
    xid: int | None = None
    row: Mapping[str, str | None] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    refused: str = ""
    sqlstate: str = ""
    suppressed: bool = False
    altered: tuple[str, ...] = ()

    @property
    def committed(self) -> bool:
        """Whether it made a change that must arrive."""
        return self.xid is not None


# (publication, written table, operation) that must arrive in a phase.
Promise = tuple[str, str, Operation]
_Steps = set[tuple[str, Operation]]


@dataclass(frozen=True)
class Tally:
    """The counts of one phase, publication and operation; latencies from commit to decoding, in seconds."""

    publication: str
    phase: Phase
    operation: Operation
    written: int = 0
    arrived: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    late_s: tuple[float, ...] = ()

    @property
    def p50_ms(self) -> float:
        """The median latency in milliseconds; 0 when nothing arrived."""
        return median(self.late_s) * 1000 if self.late_s else 0.0

    @property
    def worst_ms(self) -> float:
        """The longest latency in milliseconds; 0 when nothing arrived."""
        return max(self.late_s, default=0.0) * 1000


@dataclass(frozen=True)
class WalJudgement:
    """The tallies in the order of phases, and the violations by phase."""

    tallies: tuple[Tally, ...]
    violations: tuple[tuple[Phase, str], ...]

    def of(self, phases: Iterable[Phase]) -> tuple[str, ...]:
        """The violations of these phases."""
        wanted = set(phases)
        return tuple(dict.fromkeys(line for phase, line in self.violations if phase in wanted))


def judge_wal(
    writes: Sequence[Write],
    arrivals: Mapping[str, Sequence[Arrival]],
    promised: Mapping[Phase, frozenset[Promise]],
    roots: Mapping[Phase, Published],
) -> WalJudgement:
    """Judge `arrivals` (by publication). A write without a promise may arrive or not."""
    tallies: list[Tally] = []
    violations: list[tuple[Phase, str]] = []
    for publication, arrived in arrivals.items():
        by_xid: dict[int, list[tuple[int, Arrival]]] = defaultdict(list)
        for position, arrival in enumerate(arrived):
            by_xid[arrival.transaction.xid].append((position, arrival))
        book = _PublicationTally(publication, by_xid, roots)
        latest = -1
        for write in writes:
            expected = (publication, write.table, write.operation) in promised.get(write.phase, frozenset())
            if write.committed and expected:
                latest = book.enter(write, latest)
        tallies += book.tallies()
        violations += book.violations()
    return WalJudgement(tuple(tallies), tuple(violations))


class _PublicationTally:
    """Compares the writes with the arrivals of one publication."""

    def __init__(
        self, publication: str, by_xid: Mapping[int, list[tuple[int, Arrival]]], roots: Mapping[Phase, Published]
    ) -> None:
        self.publication = publication
        self._by_xid, self._roots = by_xid, roots
        self._late: dict[tuple[Phase, Operation], list[float]] = defaultdict(list)
        self._cases: dict[tuple[Phase, str, Operation], Counter[str]] = defaultdict(Counter)
        self._names: dict[tuple[Phase, str], set[str]] = defaultdict(set)
        self._changed: list[tuple[Phase, str]] = []
        self._derived: dict[tuple[Phase, str, Operation], list[_Steps]] = defaultdict(list)

    def enter(self, write: Write, latest: int) -> int:
        """Add one write; returns the position of the latest arrival so far."""
        case = self._cases[write.phase, write.table, write.operation]
        case["written"] += 1
        root = self._roots[write.phase].root
        found: list[tuple[int, Arrival, Change]] = []
        others: _Steps = set()
        for position, arrival in self._by_xid.get(write.xid or 0, []):
            mine = [c for c in _moved(arrival.transaction, write, root) if _is(write, c)]
            found += [(position, arrival, change) for change in mine]
            others |= {
                (root(c.table), c.operation) for c in arrival.transaction.changes if root(c.table) != write.table
            }
        self._derived[write.phase, write.table, write.operation].append(others)
        if not found:
            case["lost"] += 1
            return latest
        case["arrived"] += 1
        case["duplicated"] += len(found) > 1
        position, arrival, change = found[0]
        case["reordered"] += position < latest
        self._names[write.phase, write.table].add(change.table)
        if write.operation == "INSERT":
            self._compare(write, change)
        self._late[write.phase, write.operation].append(arrival.late_s)
        return max(latest, position)

    def tallies(self) -> Iterator[Tally]:
        keys = dict.fromkeys((phase, operation) for phase, _, operation in self._cases)
        for phase, operation in keys:
            total: Counter[str] = Counter()
            for (p, _, o), case in self._cases.items():
                total += case if (p, o) == (phase, operation) else Counter()
            yield Tally(
                self.publication,
                phase,
                operation,
                total["written"],
                total["arrived"],
                total["lost"],
                total["duplicated"],
                total["reordered"],
                tuple(self._late[phase, operation]),
            )

    def violations(self) -> Iterator[tuple[Phase, str]]:
        for (phase, table, operation), case in self._cases.items():
            if phase == "before":
                continue  # what is lost before the migration is not caused by it
            was = self._cases.get(("before", table, operation), Counter())
            for trouble in ("lost", "duplicated", "reordered"):
                if case[trouble] and not (trouble == "lost" and was["lost"] and was["lost"] == was["written"]):
                    yield (
                        phase,
                        (
                            f"{trouble} {phase}: {case[trouble]} of {case['written']} rows by {operation} of {table} "
                            f"({self.publication})"
                        ),
                    )
        yield from self._changed
        yield from self._renamed()
        yield from self._unfed()

    def _compare(self, write: Write, change: Change) -> None:
        other = sorted(
            name for name, value in change.new.items() if name in write.row and not _same(write.row[name], value)
        )
        if other and write.phase != "before":
            self._changed.append(
                (write.phase, f"{write.table}: {', '.join(other)} arrived with another value than the row holds")
            )

    def _renamed(self) -> Iterator[tuple[Phase, str]]:
        for (phase, table), names in self._names.items():
            before = self._names.get(("before", table), set())
            if before == {table} and names - before:
                yield (
                    phase,
                    (
                        f"{table} arrives as {', '.join(sorted(names - before))} {phase}: whoever listens to {table} "
                        "hears nothing"
                    ),
                )
            elif before and table not in before and table in names:
                yield phase, f"parts of {table} arrive as {table} {phase}: whoever listens to the parts hears nothing"

    def _unfed(self) -> Iterator[tuple[Phase, str]]:
        """Changes that a trigger made with each probe before, and makes with none any more."""
        for (phase, table, operation), seen in self._derived.items():
            ever: _Steps = set().union(*seen)
            before = self._derived.get(("before", table, operation), [])
            if phase == "before" or phase.startswith("during") or not before:
                continue
            always = set.intersection(*before)
            still = self._roots[phase].tables.values()
            for other, done in sorted(always - ever):
                if other in still:
                    yield phase, f"an {operation} of {table} was followed by an {done} of {other}; {phase} it is not"


def _moved(transaction: Transaction, write: Write, root: Callable[[str], str]) -> Iterator[Change]:
    """The transaction's changes of the table that was written to; a row that moved to another part was updated."""
    mine = [change for change in transaction.changes if root(change.table) == write.table]
    if write.operation == "UPDATE" and [c.operation for c in mine] == ["DELETE", "INSERT"]:
        yield Change("UPDATE", mine[1].table, mine[1].new, mine[0].old)
    else:
        yield from mine


def _is(write: Write, change: Change) -> bool:
    """Whether a change is the probe's, and not that of another row which a trigger wrote."""
    if change.operation != write.operation:
        return False
    sent = change.old if write.operation == "DELETE" else change.new
    return all(_same(write.row.get(name), sent[name]) for name in write.key if name in sent)


def _same(read: str | None, sent: str | None) -> bool:
    """A value as a cast to text reads it, and as the log sends it: a boolean is one letter there, and blanks that fill
    a column of fixed length are kept."""
    if read is None or sent is None:
        return read is sent
    return read == sent or (read, sent) in {("true", "t"), ("false", "f")} or read == sent.rstrip(" ")
