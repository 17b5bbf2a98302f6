"""Literal histories for the judges: a good run built from the contract, to be spoilt by tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from toolkit.contract.events import EVENTS, EventType
from toolkit.contract.steps import STEPS, Flow, Kind, Step, next_resting
from toolkit.scenarios.recorded.facts import Facts, gather
from toolkit.scenarios.recorded.history import Record

BASE = datetime(2025, 7, 27, 12, 0, tzinfo=UTC)
ALICE, BOB = "alice", "bob"


def uid(text: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, text))


class Tape:
    """Records at chosen seconds, with monotonic and wall clocks that agree."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, at: float, kind: str, actor: str, op: str = "", **fields: Any) -> Record:
        record = Record(len(self.records), int(at * 1e9), stamp(at), actor, kind, op, **fields)
        self.records.append(record)
        return record


def stamp(at: float) -> str:
    return (BASE + timedelta(seconds=at)).isoformat(timespec="microseconds")


def event(process: str, seq: int, kind: str, at: float, **extra: Any) -> dict[str, Any]:
    spec = EVENTS[EventType(kind)]
    data: dict[str, Any] = dict.fromkeys(sorted(spec.required), "x") | {"process_id": process} | extra
    return {"type": str(kind), "data": data, "category": str(spec.category), "created_at": stamp(at), "seq": seq}


def article_events(process: str, *, end: str = "completed") -> list[dict[str, Any]]:
    """The events of one research-first process, 0.1 s apart; `end`: completed | cancelled | error."""
    rows: list[dict[str, Any]] = []
    state = {"status": "in_progress", "current_step": "start", "progress_percentage": 0, "is_waiting_for_input": False}

    def say(kind: str, **extra: Any) -> None:
        at = 1.0 + len(rows) / 10
        row = state if EVENTS[EventType(kind)].category == "process_state" else {}
        rows.append(event(process, len(rows) + 1, kind, at, **{**row, **extra}))

    def become(name: str, value: Any, kind: str, short: str) -> None:
        old = state[name]
        if old != value:
            state[name] = value
            say(kind, changes={short: [old, value]})

    say("process_created", user_id=ALICE, changes={"status": [None, "in_progress"]})
    step = Step.START
    while STEPS[step].kind is not Kind.END:
        step = next_resting(step, Flow.RESEARCH_FIRST)
        if step is Step.COMPLETED and end == "completed":
            become("status", "completed", "status_changed", "status")
        if step is Step.EDITING and end != "completed":
            status = "cancelled" if end == "cancelled" else "error"
            become("status", status, "status_changed", "status")
            say("generation_cancelled" if end == "cancelled" else "generation_error")
            return rows
        gate = STEPS[step].kind is Kind.GATE
        if gate:
            become("status", "user_input_required", "status_changed", "status")
        become("current_step", str(step), "step_changed", "current_step")
        become("progress_percentage", STEPS[step].progress, "progress_updated", "progress")
        if step is Step.WRITING_SECTIONS:
            for index in range(3):
                become("progress_percentage", 80 + index, "progress_updated", "progress")
                say("section_completed", section_index=index, total_sections=3, progress_percentage=80 + index)
        if gate:
            say("user_input_required")
            become("status", "in_progress", "status_changed", "status")
            # Told apart by process and prompt, as a scenario that proves anything tells them apart.
            say("user_input_resolved", user_response={"response_type": f"{step}", "payload": {"of": process}})
    say("generation_completed")
    return rows


def good(*, end: str = "completed", fault: bool = False, names: Iterable[str] = ("a", "b")) -> Tape:
    """Processes of alice, watched by her; bob listens broadly. With `fault`, frames 11–20 are cut and backfilled."""
    tape = Tape()
    tape.add(0.0, "note", "run", "scenario", value={"name": "test", "limits": {"recovery": 2.0}})
    tape.add(0.1, "note", "watch:bob", "watch", value={"user": BOB, "application": False})
    tape.add(0.2, "note", "watch:bob", "live")
    rows: list[tuple[str, dict[str, Any]]] = []
    for name in names:
        pid = uid(name)
        tape.add(0.3, "invoke", "user:alice", "start", call=1)
        tape.add(0.4, "ok", "user:alice", "start", process=pid, call=1, value={"status": 201})
        tape.add(0.4, "note", "run", "process", process=pid, value={"name": name, "user": ALICE})
        tape.add(0.5, "note", f"watch:{name}", "watch", process=pid, value={"user": ALICE})
        tape.add(0.6, "note", f"watch:{name}", "live", process=pid)
        rows += [(name, row) for row in article_events(pid, end=end)]
    if fault:
        tape.add(2.0, "fault", "faults", "cut", value={"number": 1, "phase": "begun", "target": "websocket"})
        tape.add(2.0, "fault", "faults", "cut", value={"number": 1, "phase": "confirmed"})
        tape.add(3.0, "fault", "faults", "cut", value={"number": 1, "phase": "healed"})
        for name in names:
            tape.add(2.01, "note", f"watch:{name}", "down", process=uid(name))
            tape.add(3.2, "note", f"watch:{name}", "live", process=uid(name))
    for name, row in rows:
        see(tape, name, row, cut=fault and 11 <= row["seq"] <= 20)
    for name in names:
        for row in (row for who, row in rows if who == name and row["type"] == "user_input_resolved"):
            call = len(tape.records)
            fields = {"process": uid(name), "call": call}
            tape.add(0.9, "invoke", "user:alice", "answer", value={"body": row["data"]["user_response"]}, **fields)
            tape.add(0.9, "ok", "user:alice", "answer", value={"status": 200}, **fields)
        if end == "cancelled":
            tape.add(6.0, "ok", "user:alice", "cancel", process=uid(name), value={"status": 200})
    for name, row in rows:
        store(tape, name, row)
    for name in names:
        done = end == "completed"
        last = [row for who, row in rows if who == name][-1]["seq"]
        state: dict[str, Any] = {"status": end, "is_waiting_for_input": False, "article_id": "9" if done else None}
        state["interaction_history"] = [
            {"user_response": row["data"]["user_response"]}
            for who, row in rows
            if who == name and row["type"] == "user_input_resolved"
        ]
        tape.add(20.0, "db", "database", "state", process=uid(name), value={**state, "last_event_sequence": last})
        tape.add(20.0, "db", "database", "articles", process=uid(name), value={"rows": [{"id": "9"}] if done else []})
        tape.add(20.0, "db", "database", "tasks", process=uid(name), value={"rows": [{"status": "completed"}]})
    return tape


def see(tape: Tape, name: str, row: dict[str, Any], *, cut: bool = False) -> None:
    at = datetime.fromisoformat(row["created_at"]).timestamp() - BASE.timestamp() + 0.01
    fields = {"process": uid(name), "seq": row["seq"], "event_id": uid(f"{name}{row['seq']}"), "value": body(row)}
    if cut:
        tape.add(3.3 + row["seq"] / 1000, "deliver", f"watch:{name}", via="backfill", **fields)
        return
    if cut is False and 3.0 < at < 3.33:
        at = 3.33 + row["seq"] / 1000
    tape.add(at, "frame", f"watch:{name}", via="live", **fields)
    tape.add(at, "deliver", f"watch:{name}", via="live", **fields)


def store(tape: Tape, name: str, row: dict[str, Any]) -> None:
    tape.add(
        20.0,
        "db",
        "database",
        "event",
        process=uid(name),
        seq=row["seq"],
        event_id=uid(f"{name}{row['seq']}"),
        value=body(row),
    )


def body(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("type", "data", "category", "created_at")}


def facts(tape: Tape | list[Record]) -> Facts:
    return gather(tape.records if isinstance(tape, Tape) else tape)


def where(
    tape: Tape, kind: str, *, seq: int | None = None, actor: str | None = None, process: str | None = None, op: str = ""
) -> list[int]:
    """Places of the records that match."""
    return [
        place
        for place, record in enumerate(tape.records)
        if record.kind == kind
        and (seq is None or record.seq == seq)
        and (actor is None or record.actor == actor)
        and (process is None or record.process == uid(process))
        and (not op or record.op == op)
    ]


def alter(tape: Tape, place: int, **fields: Any) -> None:
    tape.records[place] = replace(tape.records[place], **fields)


def edit_data(tape: Tape, place: int, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the event data of one record, leaving others that share it alone."""
    value = {**tape.records[place].value, "data": dict(tape.records[place].value["data"])}
    edit(value["data"])
    alter(tape, place, value=value)
