"""Judges whether each answer of a user reached the process it was given to, and no other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from toolkit.contract.events import EventType
from toolkit.scenarios.judges.judge import Broken, Held, Judged, Nothing
from toolkit.scenarios.recorded.facts import Facts, ProcessFacts, data
from toolkit.scenarios.recorded.history import Record


@dataclass(frozen=True)
class Given:
    """One answer of a user, all its attempts together. `accepted` None: its outcome is unknown."""

    said: dict[str, Any]
    accepted: bool | None
    record: Record


def answers_reached_their_process(facts: Facts, process: ProcessFacts) -> Judged:
    """The process' log holds the accepted answers to it, as they were sent and in that order, and no others.

    An answer whose outcome is unknown may be there or not. A process in auto mode answers some prompts itself.
    """
    given = _given(facts, process)
    accepted = [answer for answer in given if answer.accepted]
    if not accepted:
        return Nothing("no answer to it was accepted")
    recorded = process.of_type(EventType.USER_INPUT_RESOLVED)
    if not process.events:
        return Nothing(f"{facts.store} holds no event of it, or was not read")
    perhaps = [answer.said for answer in given if answer.accepted is None]
    due = list(accepted)
    for record in recorded:
        response = data(record).get("user_response")
        if due and response == due[0].said:
            due.pop(0)
        elif response in perhaps:
            perhaps.remove(response)
        elif not process.auto_mode:
            return _foreign(facts, process, record, due)
    if due:
        return Broken(f"its log lacks the accepted answer {_words(due[0].said)}", (due[0].record,))
    return _kept(process, recorded) or Held(len(accepted), "answers")


def _foreign(facts: Facts, process: ProcessFacts, record: Record, due: list[Given]) -> Broken:
    response = data(record).get("user_response")
    for other in facts.processes:
        if other.id == process.id:
            continue
        for answer in _given(facts, other):
            if answer.said == response and answer.accepted is not False:
                detail = f"its log holds {_words(response)}, which was given to {other.name}"
                return Broken(detail, (answer.record, record))
    expected = f"where {_words(due[0].said)} was accepted" if due else "which was never given to it"
    return Broken(f"its log holds {_words(response)}, {expected}", (*(answer.record for answer in due[:1]), record))


def _kept(process: ProcessFacts, recorded: Iterable[Record]) -> Broken | None:
    """Check that the row holds the same answers as the log."""
    history = (process.state or {}).get("interaction_history")
    if not isinstance(history, list):
        return None
    in_log = [data(record).get("user_response") for record in recorded]
    in_row = [entry.get("user_response") if isinstance(entry, dict) else entry for entry in history]
    if in_row == in_log:
        return None
    at = next((n for n, (row, log) in enumerate(zip(in_row, in_log, strict=False)) if row != log), None)
    if at is None:
        return Broken(f"interaction_history holds {len(in_row)} answers, the log {len(in_log)}", tuple(recorded)[-1:])
    return Broken(
        f"interaction_history holds {_words(in_row[at])} where the log holds {_words(in_log[at])}",
        tuple(recorded)[at : at + 1],
    )


def _given(facts: Facts, process: ProcessFacts) -> list[Given]:
    """The answers to a process by the time each was first sent; attempts of one answer are one."""
    attempts: dict[int, list[tuple[Record, Record]]] = {}
    for outcome in process.commands:
        invoked = facts.invoked.get(outcome.call) if outcome.call is not None else None
        if outcome.op != "answer" or invoked is None:
            continue
        first = invoked.value.get("attempt_of") or outcome.call
        attempts.setdefault(int(first or 0), []).append((invoked, outcome))
    found = []
    for _, tries in sorted(attempts.items()):
        kinds = {outcome.kind for _, outcome in tries}
        accepted = True if "ok" in kinds else None if "info" in kinds else False
        body = tries[0][0].value.get("body") or {}
        said = {"response_type": body.get("response_type"), "payload": body.get("payload") or {}}
        found.append(Given(said, accepted, tries[0][0]))
    return found


def _words(response: object) -> str:
    if isinstance(response, dict) and "response_type" in response:
        text = f"{response['response_type']} {response.get('payload')}"
    else:
        text = repr(response)
    return text if len(text) <= 120 else text[:117] + "…"
