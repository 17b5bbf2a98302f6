"""Judges of requests: accepted commands took effect once, refused ones never, and no answer was a server error."""

from __future__ import annotations

from toolkit.contract.events import EventType
from toolkit.contract.statuses import FINAL, Status
from toolkit.scenarios.judges.judge import Broken, Held, Judged, Nothing
from toolkit.scenarios.recorded.facts import Facts, ProcessFacts, change, data, event_type, wall
from toolkit.scenarios.recorded.history import Record

# Command → the event which proves that it was carried out.
EFFECTS: dict[str, tuple[str, ...]] = {
    "start": (EventType.PROCESS_CREATED,),
    "answer": (EventType.USER_INPUT_RESOLVED,),
    "pause": (EventType.GENERATION_PAUSED,),
    "resume": (EventType.GENERATION_RESUMED,),
    "cancel": (EventType.GENERATION_CANCELLED,),
}
_REPEATABLE = frozenset({"pause", "cancel"})


def commands_took_effect(facts: Facts, process: ProcessFacts) -> Judged:
    """There are as many effects as accepted commands; those whose outcome is unknown may count or not.

    A repeated pause or cancel is accepted without a second effect. A start that was sent again after its answer was
    lost must not have made a second process.
    """
    looked_at = 0
    strays = [record for record in facts.strays if record.actor == f"user:{process.user}"]
    if strays:
        return Broken(f"{process.user} has a process that no answer to a start named", (strays[0],))
    if not any(record.op in EFFECTS for record in process.commands):
        return Nothing("no command was sent")
    if not process.events:
        return Nothing(f"{facts.store} holds no event of it, or was not read")
    for op, kinds in EFFECTS.items():
        accepted = [record for record in process.commands if record.op == op and record.kind == "ok"]
        unknown = [record for record in process.commands if record.op == op and record.kind == "info"]
        effects = [record for record in process.of_type(*kinds) if not _expired(record)]
        looked_at += len(accepted)
        needed = min(1, len(accepted)) if op in _REPEATABLE else len(accepted)
        if len(effects) < needed:
            return Broken(
                f"{len(accepted)} × {op} was accepted, and {kinds[0]} was recorded {len(effects)} times",
                (accepted[len(effects)],),
            )
        if len(effects) > len(accepted) + len(unknown) and not (process.auto_mode and op == "answer"):
            refused = [r for r in process.commands if r.op == op and r.kind == "fail"]
            return Broken(
                f"{kinds[0]} was recorded {len(effects)} times for {len(accepted)} accepted {op}",
                (*refused[:1], effects[len(accepted) + len(unknown)]),
            )
    return Held(looked_at, "commands")


def no_server_error(facts: Facts, process: ProcessFacts) -> Judged:
    """No answer has a status of 500 or above, and none is missing, except where a fault explains it.

    While the API or the database is down, 502 to 504 are the right answers.
    """
    answers = [record for record in facts.answers if record.process in (None, process.id)]
    if not answers:
        return Nothing("no request was answered")
    for record in answers:
        status = int(record.value["status"])
        if status < 500:
            continue
        if status in (502, 503, 504) and _excused(facts, record):
            continue
        return Broken(f"the API answered {status}", (record,))
    for record in facts.unanswered:
        if record.process in (None, process.id) and not _excused(facts, record, cut=True):
            return Broken(f"a request got no answer: {record.error}", (record,))
    return Held(len(answers), "answers")


def consistent(_: Facts, process: ProcessFacts) -> Judged:
    """The rows of a process agree with one another: state, events, article, tasks."""
    state = process.state
    if state is None or process.tasks is None or process.articles is None:
        return Nothing("the database's rows were not read", "Give DATABASE_URL.")
    status = str(state.get("status"))
    last = tuple(process.events[-1:])
    waiting = bool(state.get("is_waiting_for_input"))
    if waiting != (status == Status.USER_INPUT_REQUIRED):
        return Broken(f"the row is {status} while is_waiting_for_input is {waiting}", last)
    articles = len(process.articles)
    if articles != (1 if status == Status.COMPLETED else 0):
        return Broken(f"the row is {status} and there are {articles} articles of it", last)
    if articles == 1 and str(state.get("article_id")) != str(process.articles[0].get("id")):
        return Broken("article_id of the row is not the article that was saved", last)
    progress = state.get("progress_percentage")
    if status == Status.COMPLETED and progress is not None and progress != 100:
        return Broken(f"the row is completed at {progress} %", last)
    if len({str(row["user_id"]) for row in (state, *process.articles) if "user_id" in row}) > 1:
        return Broken("the article belongs to another user than the process", last)
    open_tasks = [task for task in process.tasks if task.get("status") in ("pending", "running")]
    if status in {final.value for final in FINAL} and open_tasks:
        return Broken(f"the row is {status} and {len(open_tasks)} of its tasks are still open", last)
    # Before the migration there is no log and no counter to compare with; after it there is, on both transports.
    if not process.event_log:
        return Held(1 + articles + len(process.tasks), "rows")
    recorded = [pair[1] for record in process.events if (pair := change(record, "status"))]
    if recorded and recorded[-1] != status:
        return Broken(f"the row is {status}, the last recorded status is {recorded[-1]}", last)
    counter = state.get("last_event_sequence")
    if counter is not None and process.events and counter != process.events[-1].seq:
        return Broken(f"the counter stands at {counter}, the last event is {process.events[-1].seq}", last)
    return Held(2 + articles + len(process.tasks) + len(process.events), "rows")


def _expired(record: Record) -> bool:
    """Whether it records a pause without a command: the prompt's time ran out."""
    reason = str(data(record).get("reason", ""))
    return event_type(record) == EventType.GENERATION_PAUSED and ("timeout" in reason or "expired" in reason)


def _excused(facts: Facts, record: Record, *, cut: bool = False) -> bool:
    """Whether a fault explains it: a server that is down or, with `cut`, a network that loses requests."""
    bound = facts.limits["recovery"]
    for fault in facts.faults:
        network = cut and fault.target == "http"
        if not (fault.op in ("kill", "restart") or network) or fault.begun.t_ns > record.t_ns:
            continue
        if fault.healed is None or wall(record) <= wall(fault.healed) + bound:
            return True
    return False
