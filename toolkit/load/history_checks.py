"""Runs the scenarios' judges over the history of a worker's users, and counts what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from toolkit.load.figures import DELIVERY
from toolkit.load.generation import NO_LAST_WORD
from toolkit.report.record import Check, Verdict
from toolkit.scenarios.judges import BY_ID, describe, judge
from toolkit.scenarios.recorded.facts import Facts, ProcessFacts, change, data, event_type, sequences

# Judges of every process, however it ended.
OF_ALL = (
    "no-gap",
    "no-loss",
    "no-duplicate",
    "order",
    "database-equals-delivered",
    "isolation-processes",
    "isolation-users",
    "legal-transitions",
    "progress",
    "event-data",
    "commands",
    "no-5xx",
)
# Judges of processes that completed; those that did not count against the failures that are allowed.
OF_COMPLETED = ("whole-flow", "one-terminal", "consistent")


def check_history(
    facts: Facts, transport: str, *, sql: bool, clock_known: bool
) -> tuple[tuple[Check, ...], dict[str, float], list[str]]:
    """The checks, counts (by name) and notes of one worker's history. `sql`: rows beside the events were read too."""
    watched = _watched(facts)
    completed = [process for process in watched if process.status == "completed"]
    checks: list[Check] = []
    notes: list[str] = []
    for name in (*OF_ALL, *OF_COMPLETED):
        rule = BY_ID[name]
        scope = completed if name in OF_COMPLETED else watched
        if transport not in rule.transports or (rule.needs_log and not facts.event_log):
            continue
        if name == "consistent" and not sql:
            notes.append("Not judged: whether state, article and tasks agree with the events (give DATABASE_URL).")
            continue
        if name == "isolation-processes" and len(facts.processes) < 2:
            notes.append("Not judged: isolation of processes where a worker had one process only.")
            continue
        check = judge(facts, rule, scope, group=transport)
        checks.append(replace(check, id=f"load.{check.id}"))
    if transport == "websocket" and facts.event_log:
        checks.append(frames_told(facts, completed))
    if facts.stopped is not None:
        checks.append(
            Check(
                "load.read",
                "What the database holds was read",
                Verdict.UNKNOWN,
                facts.stopped,
                "Run it again.",
                transport,
            )
        )
    if transport == "realtime" and not clock_known:
        notes.append(
            f"{DELIVERY} compares the database's clock with this machine's, and nobody knows how far they are apart: "
            "give DATABASE_URL to have the difference measured."
        )
    return tuple(checks), _counts(facts, watched, transport), notes


def frames_told(facts: Facts, scope: Sequence[ProcessFacts]) -> Check:
    """A check that every step and prompt in the database came as a frame: the legacy socket numbers nothing to
    compare."""
    id, title = "load.frames", "Every step and every prompt in the database was told over the socket"
    remedy = "Look at the socket's frames around the step in the history."
    told_of = 0
    for process in scope:
        missing = untold(process)
        told_of += len(recorded(process))
        if missing:
            detail = f"{process.name}: the socket never told {', '.join(missing)}"
            around = tuple(describe(facts, record) for record in process.delivered[-3:])
            return Check(id, title, Verdict.FAIL, detail, remedy, "websocket", around)
    if not told_of:
        return Check(id, title, Verdict.UNKNOWN, "no process completed", "See the failures.", "websocket")
    detail = f"{told_of} steps and prompts looked at over {len(scope)} processes"
    return Check(id, title, Verdict.PASS, detail, "", "websocket")


def recorded(process: ProcessFacts) -> list[str]:
    """(event type, step or prompt) for each step and prompt in the database, in order."""
    return [f"step {pair[1]}" for record in process.events if (pair := change(record, "current_step"))] + [
        f"prompt {data(record).get('input_type')}" for record in process.of_type("user_input_required")
    ]


def untold(process: ProcessFacts) -> list[str]:
    """Those of `recorded` for which no frame came."""
    told = {f"step {data(record).get('step')}" for record in process.delivered if event_type(record) == "status"}
    told |= {
        f"prompt {data(record).get('request_type')}" for record in process.delivered if event_type(record) == "prompt"
    }
    return [name for name in recorded(process) if name not in told]


def _watched(facts: Facts) -> list[ProcessFacts]:
    """The processes that should have been watched to their end: all but those that the end of the run cut off."""
    failed = {record.process for record in facts.records if record.kind == "note" and record.op == "failed"}
    unheard = {record.process for record in facts.records if record.kind == "note" and record.op == NO_LAST_WORD}
    return [p for p in facts.processes if p.id in failed or (p.ended and p.id not in unheard)]


def _counts(facts: Facts, watched: Sequence[ProcessFacts], transport: str) -> dict[str, float]:
    stored = sum(len(process.events) for process in watched)
    delivered = [record for process in watched for record in process.delivered]
    found: dict[str, float] = {
        "processes judged": len(watched),
        "events in the database": stored,
        "delivered": len(delivered),
        "requests": sum(record.kind == "invoke" for record in facts.records),
        "answers 5xx": sum(int(record.value["status"]) >= 500 for record in facts.answers),
    }
    found["prompts put"] = sum(len(process.of_type("user_input_required")) for process in watched)
    found["prompts answered"] = sum(record.kind == "ok" and record.op == "answer" for record in facts.records)
    if transport == "realtime":
        found["requests unanswered"] = found["requests"] - len(facts.answers)
        found["recovered by backfill"] = sum(record.via == "backfill" for record in delivered)
        found["lost"] = sum(
            len({row.seq for row in process.events} - set(sequences(process.delivered))) for process in watched
        )
        found["delivered twice"] = sum(
            len(sequences(process.delivered)) - len(set(sequences(process.delivered))) for process in watched
        )
    else:
        found["lost"] = sum(len(untold(process)) for process in watched)
    return found
