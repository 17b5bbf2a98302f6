"""Pure judges over a history: pass, fail with a witness, or unknown. What was not observed is never a pass."""

from __future__ import annotations

from toolkit.report.record import Check, Verdict
from toolkit.scenarios.judges import answers, commands, delivery, lifecycle, recovery
from toolkit.scenarios.judges.guards import sometimes
from toolkit.scenarios.judges.judge import BOTH, Broken, Held, Judge, Judged, Nothing, describe, judge
from toolkit.scenarios.recorded.facts import Facts

ALL: tuple[Judge, ...] = (
    Judge(
        "no-gap",
        "Sequences in the database run from 1 without a gap",
        "Allocate sequences from one counter row per process, locked until commit.",
        delivery.no_gap,
        BOTH,
        needs_log=True,
    ),
    Judge(
        "no-loss",
        "Every event in the database reached the application",
        "Fetch events after the last delivered sequence on every (re)join and whenever a sequence jumps.",
        delivery.no_loss,
    ),
    Judge(
        "no-duplicate",
        "No event reached the application twice",
        "Drop live and fetched events whose sequence was delivered before.",
        delivery.no_duplicate,
    ),
    Judge(
        "order",
        "Events reached the application in order",
        "Hold an event back until the ones before it have been fetched.",
        delivery.order,
    ),
    Judge(
        "database-equals-delivered",
        "What was delivered is what the database holds",
        "Compare the raw frame in the history with the row: a trimmed or re-encoded payload is the usual cause.",
        delivery.delivered_equals_database,
    ),
    Judge(
        "isolation-processes",
        "A subscription sees its own process alone",
        "Check the subscription's filter (process_id=eq.<id>) and how the server matches it.",
        delivery.isolation_between_processes,
        BOTH,
    ),
    Judge(
        "isolation-users",
        "A user sees nothing of another user's processes",
        "Check row level security of process_events, and that the token is set on the connection.",
        delivery.isolation_between_users,
    ),
    Judge(
        "legal-transitions",
        "Every change of status and step is one the contract allows",
        "Guard the write by the status it was decided on; look at which writer made the change.",
        lifecycle.legal_transitions,
        BOTH,
        needs_log=True,
    ),
    Judge(
        "whole-flow",
        "A completed process went through every step in order",
        "Look at the step before the one that is missing: its task ended without queueing the next.",
        lifecycle.whole_flow,
        BOTH,
    ),
    Judge(
        "work-once",
        "Each query was researched and each section written once",
        "Store what a part made in the transaction that says it is done, and go on after it.",
        lifecycle.work_done_once,
    ),
    Judge(
        "one-terminal",
        "A process ends exactly once",
        "Write the end and the completion of its task in one transaction, guarded by the claim.",
        lifecycle.one_terminal,
        BOTH,
    ),
    Judge(
        "progress",
        "Progress never falls",
        "Store the highest progress reached (contract.steps.progress_after).",
        lifecycle.progress_never_falls,
        BOTH,
    ),
    Judge(
        "event-data",
        "Every event carries the keys of its type, and speaks of its own process",
        "Compare the writer of that event with toolkit.contract.events.",
        lifecycle.event_data,
        BOTH,
        needs_log=True,
    ),
    Judge(
        "silent-after-cancel",
        "Nothing is appended after a cancel",
        "Guard a worker's writes by its claim token and by the status of the process.",
        lifecycle.silent_after_cancel,
    ),
    Judge(
        "commands",
        "Every accepted command took effect once",
        "Commit the command and its event in one transaction before answering.",
        commands.commands_took_effect,
    ),
    Judge(
        "answers",
        "Each accepted answer is in the log of its own process, as it was sent",
        "Look at which process the answer was written to: the id in the path decides, never what a user did last.",
        answers.answers_reached_their_process,
    ),
    Judge(
        "no-5xx",
        "No answer was a server error, and none was missing",
        "Look for the request id of the answer, or the time of the request, in the server's log.",
        commands.no_server_error,
    ),
    Judge(
        "consistent",
        "State, events, article and tasks of a process agree",
        "Make the change of state, its events and its tasks one transaction.",
        commands.consistent,
        BOTH,
    ),
    Judge(
        "recovery",
        "After a fault the stream is live and caught up in time",
        "Look at the watch's `down` and `live` notes in the history, and at limits.recovery.",
        recovery.recovers_in_time,
    ),
)

BY_ID: dict[str, Judge] = {rule.id: rule for rule in ALL}

__all__ = [
    "ALL",
    "BY_ID",
    "Broken",
    "Check",
    "Facts",
    "Held",
    "Judge",
    "Judged",
    "Nothing",
    "Verdict",
    "describe",
    "judge",
    "sometimes",
]
