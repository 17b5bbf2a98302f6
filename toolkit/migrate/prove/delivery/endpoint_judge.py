"""Compares what was written with what subscribers of a Realtime endpoint received. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.migrate.prove.delivery.publications import Published
from toolkit.migrate.prove.delivery.wal import Arrival, Operation
from toolkit.migrate.prove.delivery.wal_judge import Phase, Promise, Write

PUBLICATION = "supabase_realtime"
SERVICE = "service_role"
_Sign = tuple[str, str, tuple[str, ...]]  # written table, operation, key


@dataclass(frozen=True)
class ReceivedChange:
    """One change as a subscriber received it; `row` is the record, for a DELETE the old one."""

    table: str
    operation: Operation
    row: Mapping[str, Any]


@dataclass
class Subscriber:
    """A subscriber and what it received, in order. `listens`: table → the number of writes when it was subscribed;
    `owns`: table → the column that names the owner, for a subscriber who owns rows; `trouble`: the endpoint's
    errors."""

    name: str
    listens: dict[str, int] = field(default_factory=dict)
    owns: Mapping[str, str] = field(default_factory=dict)
    received: list[ReceivedChange] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class EndpointJudgement:
    """The result. `expected`: how many writes had to be received."""

    expected: int
    basis: str
    violations: tuple[str, ...]


def judge_endpoint(
    writes: Sequence[Write],
    subscribers: Sequence[Subscriber],
    promised: Mapping[Phase, frozenset[Promise]],
    state: Published,
    log: Sequence[Arrival] = (),
) -> EndpointJudgement:
    """The service's subscriber must receive every promised write once and in order; an owner must go on receiving what
    it received before the migration. `log` is what was decoded: a row that something else wrote again may come
    again."""
    total = 0
    parts: list[str] = []
    violations: list[str] = []
    for subscriber in subscribers:
        expected = expected_writes(writes, subscriber, promised)
        if subscriber.name == SERVICE:
            total += len(expected)
            violations += _as_service(expected, subscriber, state, log)
            parts.append(f"{len(expected)} writes, {_tables(expected)} listened to as {SERVICE}")
        else:
            violations += _as_owner(expected, subscriber, state)
            mine = [message for message in subscriber.received if message.operation != "DELETE"]
            parts.append(f"{len(mine)} inserted or updated rows heard by the owner {subscriber.name}")
        violations += [f"the endpoint tells {subscriber.name}: {line}" for line in dict.fromkeys(subscriber.trouble)]
    return EndpointJudgement(total, "; ".join(parts), tuple(dict.fromkeys(violations)))


def expected_writes(
    writes: Sequence[Write], subscriber: Subscriber, promised: Mapping[Phase, frozenset[Promise]]
) -> list[Write]:
    """The writes that a subscriber must receive: committed after it subscribed to the table, promised, and with a
    primary key."""
    return [
        write
        for number, write in enumerate(writes)
        if write.committed
        and write.key
        and number >= subscriber.listens.get(write.table, len(writes))
        and (PUBLICATION, write.table, write.operation) in promised.get(write.phase, frozenset())
    ]


def owned(write: Write, subscriber: Subscriber) -> bool:
    """Whether the row names the subscriber as its owner."""
    return write.table in subscriber.owns and write.row.get(subscriber.owns[write.table]) == subscriber.name


def missing(
    writes: Sequence[Write], subscriber: Subscriber, promised: Mapping[Phase, frozenset[Promise]], state: Published
) -> int:
    """How many expected writes were not received yet."""
    expected = expected_writes(writes, subscriber, promised)
    known = Counter(_received(subscriber, state, {write.table: write.key for write in expected}))
    return sum((Counter(map(_sign, expected)) - known).values())


def _as_service(
    expected: Sequence[Write], subscriber: Subscriber, state: Published, log: Sequence[Arrival]
) -> Iterable[str]:
    keys = {write.table: write.key for write in expected}
    logged = Counter(_signs(_changes(log), state, keys))
    signs = _received(subscriber, state, keys)
    times, place = Counter(signs), {sign: position for position, sign in reversed(list(enumerate(signs)))}
    cases: dict[tuple[Phase, str, str], Counter[str]] = defaultdict(Counter)
    latest: dict[str, int] = {}
    for write in expected:
        sign = _sign(write)
        case = cases[write.phase, write.table, write.operation]
        case["written"] += 1
        case["lost"] += not times[sign]
        case["duplicated"] += times[sign] > max(1, logged[sign])
        if sign in place:
            case["reordered"] += place[sign] < latest.get(write.table, -1)
            latest[write.table] = max(latest.get(write.table, -1), place[sign])
    for (phase, table, operation), case in cases.items():
        for trouble in ("lost", "duplicated", "reordered"):
            if case[trouble]:
                counts = f"{case[trouble]} of {case['written']}"
                yield f"{trouble} {phase}, at the endpoint: {counts} {operation}s of {table}"


def _as_owner(expected: Sequence[Write], subscriber: Subscriber, state: Published) -> Iterable[str]:
    known = Counter(_received(subscriber, state, {write.table: write.key for write in expected}))
    cases: dict[tuple[str, Operation], dict[Phase, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for write in expected:
        # Every subscriber receives the key of a DELETE, since no policy can be evaluated for a row that is gone.
        if write.operation != "DELETE" and owned(write, subscriber):
            cases[write.table, write.operation][write.phase].append(known[_sign(write)] > 0)
    for (table, operation), phases in cases.items():
        if not all(phases.get("before", [False])):
            continue
        for phase, received in phases.items():
            # While files run, a probe may be deleted before the policy is evaluated.
            if not phase.startswith("during") and not any(received):
                owner = f"the owner {subscriber.name}"
                yield f"{phase}, {owner} hears no {operation} of {table} any more: a policy hides them"


def _received(subscriber: Subscriber, state: Published, keys: Mapping[str, tuple[str, ...]]) -> list[_Sign]:
    return _signs(subscriber.received, state, keys)


def _signs(messages: Iterable[ReceivedChange], state: Published, keys: Mapping[str, tuple[str, ...]]) -> list[_Sign]:
    signs: list[_Sign] = []
    for message in messages:
        table = state.root(message.table)
        key = keys.get(table, ())
        signs.append((table, message.operation, tuple(_plain(message.row.get(name)) for name in key)))
    return signs


def _changes(log: Sequence[Arrival]) -> Iterator[ReceivedChange]:
    for arrival in log:
        for change in arrival.transaction.changes:
            yield ReceivedChange(change.table, change.operation, change.new or change.old)


def _sign(write: Write) -> _Sign:
    return write.table, write.operation, tuple(_plain(write.row.get(name)) for name in write.key)


def _plain(value: Any) -> str:
    """A key's value the same whether it is JSON or Postgres' text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    # JSON writes a timestamp with a T, and Postgres' text a time zone without minutes.
    return text.replace("T", " ").removesuffix(":00") if text[:4].isdigit() and "-" in text and ":" in text else text


def _tables(writes: Sequence[Write]) -> str:
    number = len({write.table for write in writes})
    return f"{number} table{'' if number == 1 else 's'}"
