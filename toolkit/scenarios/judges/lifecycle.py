"""Judges of a process' life: its recorded events are compared with the tables of `toolkit.contract`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from toolkit.contract.events import EVENTS, TERMINAL, Category, EventType, missing_keys
from toolkit.contract.statuses import ENDED, Status, legal_status_changes
from toolkit.contract.steps import STEPS, Flow, Kind, Step, legal_step_changes, next_resting
from toolkit.scenarios.judges.judge import Broken, Held, Judged, Nothing
from toolkit.scenarios.recorded.facts import Facts, ProcessFacts, change, data, event_type
from toolkit.scenarios.recorded.history import Record

_TERMINAL = frozenset(str(kind) for kind in TERMINAL)
# The events that the trigger may add for the row's own change when a process is cancelled.
_CANCELLATION = frozenset(
    {
        EventType.STATUS_CHANGED,
        EventType.INPUT_RESOLVED,
        EventType.PROCESS_UPDATED,
        EventType.GENERATION_CANCELLED,
    }
)


# (event type, key of the position, key of the total, first position).
_PARTS = (
    (EventType.RESEARCH_PROGRESS, "completed_queries", "total_queries", 1),
    (EventType.SECTION_COMPLETED, "section_index", "total_sections", 0),
)


def legal_transitions(_: Facts, process: ProcessFacts) -> Judged:
    """Every recorded change of status and step is one of the contract's, and starts where the last one ended."""
    statuses = {(str(a), str(b)) for a, b in legal_status_changes()}
    allowed = legal_step_changes(Flow(process.flow), final_editing=process.final_editing, auto_mode=process.auto_mode)
    steps = {(str(a), str(b)) for a, b in allowed}
    looked_at = 0
    for names, legal, what in ((("status",), statuses, "status"), (("current_step",), steps, "step")):
        last: Record | None = None
        reached: str | None = None
        for record in process.events:
            found = change(record, *names)
            if found is None:
                continue
            old, new = found
            looked_at += 1
            if old is not None and (old, new) not in legal:
                return Broken(f"{what} went from {old} to {new}, which the contract does not allow", (record,))
            if last is not None and old != reached:
                return Broken(f"{what} became {reached}, and then changed from {old}", (last, record))
            last, reached = record, new
    return Held(looked_at, "changes") if looked_at else Nothing("no change of status or step was recorded")


def whole_flow(_: Facts, process: ProcessFacts) -> Judged:
    """A completed process went through every step of its flow, in the flow's order."""
    if process.status != Status.COMPLETED:
        return Nothing(f"it did not complete (status {process.status})")
    flow = Flow(process.flow)
    expected = [next_resting(Step.START, flow)]
    while STEPS[expected[-1]].kind is not Kind.END:
        expected.append(next_resting(expected[-1], flow, final_editing=process.final_editing))
    if process.auto_mode:
        # In auto mode no user is asked, so a gate may be passed inside one transaction.
        expected = [step for step in expected if STEPS[step].kind is not Kind.GATE]
    entered: list[Record] = []
    seen: list[str] = []
    for record in process.events if process.event_log else process.delivered:
        step = _entered(record)
        if step is not None:
            entered.append(record)
            seen.append(step)
    if not seen:
        return Nothing("no change of step was recorded")
    at = 0
    for place, step in enumerate(seen):
        if at < len(expected) and step == expected[at]:
            at += 1
        elif at < len(expected) and step in {str(s) for s in expected[at + 1 :]}:
            return Broken(
                f"it entered {step} without {expected[at]} before it", tuple(entered[max(0, place - 1) : place + 1])
            )
    if at < len(expected):
        return Broken(f"it completed without {expected[at]}", (entered[-1],))
    return Held(len(expected), "steps")


def _entered(record: Record) -> str | None:
    """The step that was entered according to an event of the log or a status frame of the legacy transport."""
    if event_type(record) == "status":
        return str(data(record)["step"]) if "step" in data(record) else None
    if found := change(record, "current_step"):
        return found[1]
    initial = data(record).get("current_step") if event_type(record) == EventType.PROCESS_CREATED else None
    return initial if isinstance(initial, str) else None


def work_done_once(_: Facts, process: ProcessFacts) -> Judged:
    """Queries and sections were done one after the other, each once, also across a killed worker, a pause and an error.

    Of a completed process none is missing.
    """
    looked_at = 0
    for kind, key, of, first in _PARTS:
        expected = first
        records = process.of_type(kind)
        for record in records:
            looked_at += 1
            number = data(record).get(key)
            if number != expected:
                again = isinstance(number, int) and number < expected
                problem = f"{number} came again" if again else f"{number} came where {expected} was due"
                return Broken(f"{kind}: {key} {problem}", (*records[:1], record) if again else (record,))
            expected += 1
        if records and process.status == Status.COMPLETED:
            total = data(records[-1]).get(of)
            if expected - first != total:
                return Broken(f"it completed with {expected - first} of {total} {kind}", (records[-1],))
    return Held(looked_at, "parts") if looked_at else Nothing("no query was researched and no section written")


def one_terminal(_: Facts, process: ProcessFacts) -> Judged:
    """A process ends once; only an error may be followed by `generation_resumed` and another end."""
    if process.transport == "websocket":
        # The legacy transport also answers "error" to a frame that it does not understand.
        kinds = {"final", "error"} if process.status == Status.ERROR else {"final"}
        ends = [r for r in process.delivered if event_type(r) in kinds]
        resumable = {"error"}
        resumed: list[Record] = []
    else:
        ends = process.of_type(*_TERMINAL)
        resumable = {str(EventType.GENERATION_ERROR)}
        resumed = process.of_type(EventType.GENERATION_RESUMED)
    if not ends:
        if process.status in {status.value for status in ENDED}:
            if process.transport == "websocket" and process.status == Status.CANCELLED:
                return Nothing("the old transport says nothing when a process is cancelled")
            last = tuple(process.events[-1:])
            return Broken(f"it is {process.status}, and no event says that it ended", last)
        return Nothing(f"it did not end (status {process.status})")
    for first, second in pairwise(ends):
        between = any((first.seq or 0) < (r.seq or 0) < (second.seq or 0) for r in resumed)
        if event_type(first) not in resumable or not between:
            return Broken(f"it ended twice: {event_type(first)}, then {event_type(second)}", (first, second))
    if event_type(ends[-1]) == EventType.GENERATION_COMPLETED:
        # A cancel may be followed by its own records: `silent-after-cancel` counts those.
        after = next((r for r in process.events if (r.seq or 0) > (ends[-1].seq or 0) and not _by_hand(r)), None)
        if after is not None:
            return Broken(f"{event_type(after)} was appended after it had completed", (ends[-1], after))
    return Held(len(ends), "ends")


def progress_never_falls(_: Facts, process: ProcessFacts) -> Judged:
    """`progress_percentage` never falls, in the events of the row and in those of the work.

    Without an event log, the frames of each session are judged.
    """
    if process.event_log:
        return _rising(process.events)
    findings = [_rising(watch.delivered) for watch in process.own]
    broken = next((finding for finding in findings if isinstance(finding, Broken)), None)
    return broken or next((f for f in findings if isinstance(f, Held)), Nothing("no frame carried a progress"))


def _rising(records: Sequence[Record]) -> Judged:
    highest: Record | None = None
    looked_at = 0
    for record in records:
        progress = data(record).get("progress_percentage")
        if isinstance(progress, bool) or not isinstance(progress, int | float):
            continue
        looked_at += 1
        if not 0 <= progress <= 100:
            return Broken(f"progress was {progress} %", (record,))
        if highest is not None and progress < data(highest)["progress_percentage"]:
            return Broken(
                f"progress fell from {data(highest)['progress_percentage']} to {progress} %", (highest, record)
            )
        highest = record
    return Held(looked_at) if looked_at else Nothing("no event carried a progress")


def event_data(_: Facts, process: ProcessFacts) -> Judged:
    """Every event has the keys and the category that the contract gives its type, and names its own process."""
    looked_at = 0
    for record in process.events:
        kind = event_type(record)
        named = data(record).get("process_id")
        if named is not None and str(named) != process.id:
            return Broken(f"{kind} {record.seq} speaks of another process, {named}", (record,))
        missing = missing_keys(kind, data(record))
        if missing:
            return Broken(f"{kind} {record.seq} lacks {', '.join(sorted(missing))}", (record,))
        category = record.value.get("category") if isinstance(record.value, dict) else None
        if kind in {str(known) for known in EventType}:
            looked_at += 1
            expected = EVENTS[EventType(kind)].category
            if category is not None and category != expected:
                return Broken(f"{kind} {record.seq} is in category {category}, not {expected}", (record,))
    return Held(looked_at) if looked_at else Nothing("no event of a known type was recorded")


def silent_after_cancel(_: Facts, process: ProcessFacts) -> Judged:
    """After a cancel come only its own records: at most one status change, one resolved prompt and one cancellation."""
    begun: Record | None = None
    said: set[str] = set()
    after = 0
    for record in process.events:
        kind = event_type(record)
        changed = change(record, "status")
        cancelled = kind == EventType.GENERATION_CANCELLED or (changed is not None and changed[1] == Status.CANCELLED)
        if begun is None:
            if cancelled:
                begun = record
                said.add(kind)
            continue
        if kind not in {str(own) for own in _CANCELLATION} or kind in said:
            return Broken(f"{kind} was appended after the cancel", (begun, record))
        if kind == EventType.STATUS_CHANGED and not cancelled:
            return Broken("the status changed again after the cancel", (begun, record))
        said.add(kind)
        after += 1
    if begun is None:
        return Nothing("it was not cancelled")
    return Held(1 + after)


def _by_hand(record: Record) -> bool:
    """Whether a person appended it (`test_event`), which may happen at any time."""
    kind = event_type(record)
    return kind in {str(known) for known in EventType} and EVENTS[EventType(kind)].category is Category.MANUAL
