"""What a judge is: an id, a title, a remedy, and a pure function over the facts of one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.report.record import Check, Verdict
from toolkit.scenarios.recorded.facts import DATABASE, Facts, ProcessFacts, event_type
from toolkit.scenarios.recorded.history import Record


@dataclass(frozen=True)
class Held:
    """The rule held for everything that was looked at; `detail` says what that was."""

    looked_at: int
    of: str = "events"


@dataclass(frozen=True)
class Broken:
    """The rule was broken; `witness` is the shortest piece of history that shows it."""

    detail: str
    witness: tuple[Record, ...]


@dataclass(frozen=True)
class Nothing:
    """There was nothing to judge, which proves nothing; `remedy`: how to make a run that has something."""

    reason: str
    remedy: str = ""


# The result for one process. `judge` makes one Check of all processes' results: it adds up the counts, and puts the
# records into words.
Judged = Held | Broken | Nothing


@dataclass(frozen=True)
class Judge:
    """One rule. `find` judges one process; `transports`: those to which the rule applies.

    `needs_log`: it reads the event log, so it does not apply before the migration, when there is none.
    """

    id: str
    title: str
    remedy: str
    find: Callable[[Facts, ProcessFacts], Judged]
    transports: frozenset[str] = frozenset({"realtime"})
    needs_log: bool = False


BOTH = frozenset({"realtime", "websocket"})


def judge(facts: Facts, rule: Judge, scope: Sequence[ProcessFacts], *, group: str = "") -> Check:
    """The verdict of one judge over the processes in `scope`.

    One process that breaks the rule makes it a failure; otherwise one process with nothing to judge makes it unknown.
    """
    # Titles name the database, but without SQL the events were read elsewhere.
    title = rule.title.replace(DATABASE, facts.store)

    def undecided(reason: str, remedy: str) -> Check:
        return Check(rule.id, title, Verdict.UNKNOWN, reason, remedy, group)

    if not scope:
        return undecided("the run never had such a process", "Look at the step that was to start it.")
    held = 0
    nothing: tuple[str, str] | None = None
    unit = "events"
    for process in scope:
        match rule.find(facts, process):
            case Broken(detail, witness):
                lines = tuple(describe(facts, record) for record in witness)
                return Check(rule.id, title, Verdict.FAIL, f"{process.name}: {detail}", rule.remedy, group, lines)
            case Held(looked_at, of):
                held += looked_at
                unit = of
            case Nothing(reason, remedy):
                nothing = nothing or (f"{process.name}: {reason}", remedy)
    if nothing is not None:
        return undecided(*nothing)
    over = f" over {len(scope)} processes" if len(scope) > 1 else ""
    return Check(rule.id, title, Verdict.PASS, f"{held} {unit} looked at{over}", group=group)


def describe(facts: Facts, record: Record) -> str:
    """One line of evidence: when, who, what, which sequence."""
    process = facts.owner(record.process)
    parts = [f"#{record.i}", f"{facts.seconds(record):8.3f} s", record.actor, record.kind]
    if record.op and record.op != "event":
        parts.append(record.op)
    if record.process is not None:
        parts.append(process.name if process else f"process {record.process}")
    if record.seq is not None:
        parts.append(f"seq {record.seq}")
    if event_type(record):
        parts.append(event_type(record))
    if record.via:
        parts.append(f"via {record.via}")
    if isinstance(record.value, dict):
        parts += [f"{key}={record.value[key]}" for key in ("status", "code", "phase", "target") if key in record.value]
        if record.kind == "db" and "created_at" in record.value:
            parts.append(f"created {record.value['created_at']}")
    if record.error:
        parts.append(f"({record.error})")
    return " ".join(parts)
