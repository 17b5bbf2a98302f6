"""Indexes a history: which processes there were, who watched them, and what was recorded of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from toolkit.contract.statuses import ENDED
from toolkit.scenarios.recorded.history import Record

# Where the stored events were read from.
DATABASE = "the database"
DEFAULT_LIMITS: dict[str, float] = {"recovery": 15.0}


@dataclass
class Watch:
    """One session of one subscriber: from `opened` until `closed` (None: until the end).

    `process` None: it watches everything its user may see. `since`: the sequence that the application already had when
    the session began. `application` False: a bare subscription, whose frames are recorded but which recovers nothing.
    """

    actor: str
    user: str
    opened: Record
    process: str | None = None
    since: int = 0
    application: bool = True
    closed: Record | None = None
    delivered: list[Record] = field(default_factory=list)
    frames: list[Record] = field(default_factory=list)
    moods: list[Record] = field(default_factory=list)  # notes `live`, `down` and `ended`


@dataclass
class ProcessFacts:
    """Everything recorded of one process. `events` are the database's rows, ascending by sequence."""

    id: str
    name: str
    user: str
    transport: str = "realtime"
    flow: str = "research_first"
    final_editing: bool = True
    auto_mode: bool = False
    readers: tuple[str, ...] = ()
    events: list[Record] = field(default_factory=list)
    state: dict[str, Any] | None = None
    articles: list[dict[str, Any]] | None = None
    tasks: list[dict[str, Any]] | None = None
    watches: list[Watch] = field(default_factory=list)
    commands: list[Record] = field(default_factory=list)  # ok, fail and info outcomes
    event_log: bool = True  # False where the database has no such table: before the migration

    @property
    def own(self) -> list[Watch]:
        """Sessions of the owner's application."""
        return [watch for watch in self.watches if watch.application and watch.user == self.user]

    @property
    def delivered(self) -> list[Record]:
        """What the owner's sessions were given, in order of arrival."""
        return sorted((r for watch in self.own for r in watch.delivered), key=lambda r: (r.t_ns, r.i))

    def of_type(self, *types: str) -> list[Record]:
        """Database rows of these event types."""
        return [record for record in self.events if event_type(record) in types]

    @property
    def status(self) -> str | None:
        """The last status of the process in the history."""
        if self.state is not None:
            return str(self.state.get("status"))
        for record in reversed(self.events):
            if "status" in data(record):
                return str(data(record)["status"])
        # Without rows the last frame of the legacy transport is all that is known.
        return "completed" if any(event_type(record) == "final" for record in self.delivered) else None

    @property
    def ended(self) -> bool:
        """Whether it has ended, by itself or by a cancel."""
        return self.status in {status.value for status in ENDED}


@dataclass
class Fault:
    """A fault from begin to heal; `confirmed` says that its effect was observed."""

    number: int
    op: str
    target: str
    begun: Record
    healed: Record | None = None
    confirmed: bool = False
    processes: tuple[str, ...] = ()


@dataclass
class Facts:
    """The index of one history."""

    records: tuple[Record, ...]
    processes: list[ProcessFacts] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    expectations: list[Record] = field(default_factory=list)
    answers: list[Record] = field(default_factory=list)  # outcomes of HTTP requests, with value.status
    unanswered: list[Record] = field(default_factory=list)  # outcomes of requests that nothing came back for
    invoked: dict[int, Record] = field(default_factory=dict)  # requests as they were sent, by their call
    strays: list[Record] = field(default_factory=list)  # stored processes of its users that no answer named
    event_log: bool = True
    store: str = DATABASE  # or where the events were read instead
    scenario: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    stopped: str | None = None  # why the run ended before its last step
    stop_remedy: str = "Run it again."

    @property
    def origin_ns(self) -> int:
        """The monotonic time from which pictures and witnesses count."""
        return min((record.t_ns for record in self.records), default=0)

    def seconds(self, record: Record) -> float:
        """Seconds from the beginning of the run."""
        return (record.t_ns - self.origin_ns) / 1e9

    def named(self, name: str) -> list[ProcessFacts]:
        """The processes that a scenario calls `name`: one, or all of a `count`, or one `name[i]`."""
        return [p for p in self.processes if p.name == name or p.name.partition("[")[0] == name]

    def owner(self, process: str | None) -> ProcessFacts | None:
        """The process with this id, if the history knows it."""
        return next((p for p in self.processes if p.id == process), None)


def event_type(record: Record) -> str:
    """The event type that a db, deliver or frame record carries."""
    return str(record.value.get("type", "")) if isinstance(record.value, dict) else ""


def data(record: Record) -> dict[str, Any]:
    """The event data of a db, deliver or frame record."""
    found = record.value.get("data") if isinstance(record.value, dict) else None
    return found if isinstance(found, dict) else {}


def change(record: Record, *names: str) -> tuple[str | None, str] | None:
    """The (old, new) that a trigger's event recorded under `changes`; None when nothing changed."""
    changes = data(record).get("changes")
    if not isinstance(changes, dict):
        return None
    for name in names:
        pair = changes.get(name)
        if isinstance(pair, list) and len(pair) == 2 and pair[1] is not None and pair[0] != pair[1]:
            return (None if pair[0] is None else str(pair[0]), str(pair[1]))
    return None


def committed_at(record: Record) -> float | None:
    """`created_at` of a db or deliver record as a Unix time, if it has one."""
    stamp = record.value.get("created_at") if isinstance(record.value, dict) else None
    return None if stamp is None else datetime.fromisoformat(str(stamp).replace("Z", "+00:00")).timestamp()


def wall(record: Record) -> float:
    """The record's own wall time as a Unix time."""
    return datetime.fromisoformat(record.wall).timestamp()


def gather(records: Iterable[Record]) -> Facts:
    """Index a history. Never raises: a record that fits nowhere is only kept in `records`."""
    facts = Facts(tuple(records))
    by_id: dict[str, ProcessFacts] = {}
    open_watches: dict[str, Watch] = {}
    faults: dict[int, Fault] = {}
    outcomes: list[Record] = []
    for record in facts.records:
        value = record.value if isinstance(record.value, dict) else {}
        match record.kind:
            case "note":
                _note(facts, record, value, by_id, open_watches)
            case "invoke" if record.call is not None and isinstance(record.value, dict):
                facts.invoked[record.call] = record
            case "db" if record.op == "stray":
                facts.strays.append(record)
            case "db":
                _database(by_id.get(record.process or ""), record, value)
            case "frame" | "deliver":
                watch = open_watches.get(record.actor)
                if watch is not None:
                    (watch.frames if record.kind == "frame" else watch.delivered).append(record)
            case "ok" | "fail" | "info":
                if "status" in value:
                    facts.answers.append(record)
                elif record.error is not None:
                    facts.unanswered.append(record)
                outcomes.append(record)
            case "fault":
                _fault(facts, faults, record, value)
            case _:
                pass
    # The answer to a start names the process, so it is recorded before the process is known.
    for record in outcomes:
        if record.process in by_id:
            by_id[record.process].commands.append(record)
    for process in facts.processes:
        process.events.sort(key=lambda r: (r.seq or 0, r.i))
        process.event_log = facts.event_log
    return facts


def _note(
    facts: Facts, record: Record, value: dict[str, Any], by_id: dict[str, ProcessFacts], open_watches: dict[str, Watch]
) -> None:
    match record.op:
        case "scenario":
            facts.scenario = value
            facts.limits |= {name: float(bound) for name, bound in (value.get("limits") or {}).items()}
        case "process" if record.process is not None:
            process = ProcessFacts(
                record.process,
                str(value.get("name", record.process)),
                str(value.get("user", "")),
                str(value.get("transport", "realtime")),
                str(value.get("flow", "research_first")),
                bool(value.get("final_editing", True)),
                bool(value.get("auto_mode", False)),
                tuple(value.get("readers") or ()),
            )
            by_id[process.id] = process
            facts.processes.append(process)
        case "watch":
            watch = Watch(
                record.actor,
                str(value.get("user", "")),
                record,
                record.process,
                int(value.get("since", 0)),
                bool(value.get("application", True)),
            )
            open_watches[record.actor] = watch
            facts.watches.append(watch)
            if record.process in by_id:
                by_id[record.process].watches.append(watch)
        case "unwatch" if record.actor in open_watches:
            open_watches[record.actor].closed = record
        case "live" | "down" | "ended" if record.actor in open_watches:
            open_watches[record.actor].moods.append(record)
        case "expect":
            facts.expectations.append(record)
        case "store":
            facts.store = str(value.get("read", facts.store))
        case "no-event-log":
            facts.event_log = False
        case "stopped":
            facts.stopped = record.error or "the run was stopped"
            facts.stop_remedy = str(value.get("remedy", facts.stop_remedy))
        case _:
            pass


def _database(process: ProcessFacts | None, record: Record, value: dict[str, Any]) -> None:
    if process is None:
        return
    match record.op:
        case "event":
            process.events.append(record)
        case "state":
            process.state = value
        case "articles":
            process.articles = list(value.get("rows") or ())
        case "tasks":
            process.tasks = list(value.get("rows") or ())
        case _:
            pass


def _fault(facts: Facts, faults: dict[int, Fault], record: Record, value: dict[str, Any]) -> None:
    number = int(value.get("number", -1))
    phase = value.get("phase")
    if phase == "begun":
        faults[number] = Fault(
            number, record.op, str(value.get("target", "")), record, processes=tuple(value.get("processes") or ())
        )
        facts.faults.append(faults[number])
    elif number in faults:
        if phase == "confirmed":
            faults[number].confirmed = True
        elif phase == "healed":
            faults[number].healed = record


def sequences(records: Sequence[Record]) -> list[int]:
    """The sequence numbers of `records`, in their order."""
    return [record.seq for record in records if record.seq is not None]
