"""A process' own life, read from its recorded events against the contract's tables."""

from __future__ import annotations

from itertools import pairwise

from toolkit.contract.events import EVENTS, TERMINAL, EventType, missing_keys
from toolkit.contract.statuses import ENDED, Status, legal_status_changes
from toolkit.contract.steps import STEPS, Flow, Kind, Step, legal_step_changes, next_resting
from toolkit.scenarios.facts import Facts, ProcessFacts, change, data, event_type
from toolkit.scenarios.history import Record
from toolkit.scenarios.judges.model import Broken, Finding, Held, Nothing

_TERMINAL = frozenset(str(kind) for kind in TERMINAL)
# What the trigger may add for the row's own change when a process is cancelled.
_CANCELLATION = frozenset(
    {
        EventType.STATUS_CHANGED,
        EventType.INPUT_RESOLVED,
        EventType.PROCESS_UPDATED,
        EventType.GENERATION_CANCELLED,
    }
)
_TRIGGER = frozenset(
    {
        EventType.PROCESS_CREATED,
        EventType.STATUS_CHANGED,
        EventType.STEP_CHANGED,
        EventType.PROGRESS_UPDATED,
        EventType.INPUT_REQUIRED,
        EventType.INPUT_RESOLVED,
        EventType.PROCESS_UPDATED,
    }
)


def legal_transitions(_: Facts, process: ProcessFacts) -> Finding:
    """Every recorded change of status and step is in the contract, and starts where the last one ended."""
    statuses = {(str(a), str(b)) for a, b in legal_status_changes()}
    steps = {(str(a), str(b)) for a, b in legal_step_changes(Flow(process.flow), final_editing=process.final_editing)}
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


def whole_flow(_: Facts, process: ProcessFacts) -> Finding:
    """A completed process went through every step of its flow, in the flow's order."""
    if process.status != Status.COMPLETED:
        return Nothing(f"it did not complete (status {process.status})")
    flow = Flow(process.flow)
    expected = [next_resting(Step.START, flow)]
    while STEPS[expected[-1]].kind is not Kind.END:
        expected.append(next_resting(expected[-1], flow, final_editing=process.final_editing))
    if process.auto_mode:
        # Nobody is asked in auto mode, so a gate may be passed inside one transaction.
        expected = [step for step in expected if STEPS[step].kind is not Kind.GATE]
    entered: list[Record] = []
    seen: list[str] = []
    for record in process.events:
        initial = data(record).get("current_step") if event_type(record) == EventType.PROCESS_CREATED else None
        found = change(record, "current_step")
        step = found[1] if found else initial
        if isinstance(step, str):
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


def one_terminal(_: Facts, process: ProcessFacts) -> Finding:
    """A process ends once; only an error may be followed by `generation_resumed` and another end."""
    if process.transport == "websocket":
        # The old transport also says "error" to a frame it does not understand.
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
    return Held(len(ends), "ends")


def progress_never_falls(_: Facts, process: ProcessFacts) -> Finding:
    """`progress_percentage` of the row only grows."""
    highest: Record | None = None
    looked_at = 0
    for record in process.events:
        progress = data(record).get("progress_percentage")
        if event_type(record) not in _TRIGGER or not isinstance(progress, int | float):
            continue
        looked_at += 1
        if not 0 <= progress <= 100:
            return Broken(f"progress was {progress} %", (record,))
        if highest is not None and progress < data(highest)["progress_percentage"]:
            return Broken(
                f"progress fell from {data(highest)['progress_percentage']} to {progress} %", (highest, record)
            )
        highest = record
    return Held(looked_at) if looked_at else Nothing("no event carried the row's progress")


def event_data(_: Facts, process: ProcessFacts) -> Finding:
    """Every event carries the keys its type promises, under its category."""
    looked_at = 0
    for record in process.events:
        kind = event_type(record)
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


def silent_after_cancel(_: Facts, process: ProcessFacts) -> Finding:
    """After a cancel only its own records: one each of the status change, the resolved prompt and the word of it."""
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
