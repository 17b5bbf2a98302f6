"""Checks of the event log, the task queue and the processes."""

from __future__ import annotations

from toolkit.checks.absent import known
from toolkit.checks.facts import Fact, Facts, Found
from toolkit.checks.named_check import check, failed, passed
from toolkit.contract.steps import STEPS, Kind, Step
from toolkit.report.record import Check

EVENTS, TASKS, PROCESSES = "Events", "Background tasks", "Processes"
MOST_DUE_S = 60.0
# Steps on which a row can rest: a worker runs it, it waits for an answer, or it has ended.
_RESTING = frozenset(step.value for step, info in STEPS.items() if info.kind is not Kind.TRANSIENT)


def _none(fact: Fact[Found], wrong: str, fine: str) -> Check:
    found = known(fact)
    return failed(f"{found.count} {wrong}", found.examples) if found.count else passed(fine)


@check(
    "EVT-1",
    "Sequences run from 1 without a gap",
    group=EVENTS,
    remedy="Somebody deleted or wrote events by hand, or without the counter's lock. Clients wait at such a gap: let "
    "them read the state anew, and let create_process_event alone append.",
)
def sequences_gap_free(facts: Facts) -> Check:
    log = known(facts.log)
    return _none(log.broken, "processes have a broken sequence", f"{log.events} events")


@check(
    "EVT-2",
    "Counters are not behind the log",
    group=EVENTS,
    remedy="update public.process_event_counters set last_sequence = <max> where process_id = '<id>'; until then "
    "every new event of that process fails.",
)
def counters_ahead(facts: Facts) -> Check:
    return _none(known(facts.log).behind, "counters are behind their log", "none is behind")


@check(
    "EVT-3",
    "The log's last word agrees with the row",
    group=EVENTS,
    remedy="A row was changed while trigger_publish_process_event was off. Enable it and let clients read the state: "
    "the missed change will never come as an event.",
)
def log_agrees(facts: Facts) -> Check:
    return _none(known(facts.log).disagreeing, "processes changed without an event", "it does")


@check(
    "EVT-4",
    "Working processes are not silent",
    group=EVENTS,
    remedy="Look at the worker that holds the task (its log, by process id): it sends heartbeats and does nothing. "
    "Restart it; its task is taken over.",
)
def working_processes_speak(facts: Facts) -> Check:
    return _none(known(facts.log).silent, "running tasks whose process has been silent for 10 minutes", "none")


@check(
    "TSK-1",
    "No running task has lost its worker",
    group=TASKS,
    remedy="Start a worker: it takes over what a dead one held (python -m reference_server --role worker). Until one "
    "runs, these processes stand still.",
)
def leases_held(facts: Facts) -> Check:
    return _none(known(facts.tasks).expired_leases, "running tasks without a heartbeat for a minute", "all are held")


@check("TSK-2", "Tasks that are due are taken", group=TASKS, remedy="Start workers, or more of them; see WRK-1.")
def tasks_taken(facts: Facts) -> Check:
    tasks = known(facts.tasks)
    oldest = tasks.oldest_due_s
    if oldest is not None and oldest > MOST_DUE_S:
        return failed(f"{tasks.due} tasks are due, the oldest for {oldest:.0f} s")
    return passed(f"{tasks.due} are due")


@check(
    "TSK-3",
    "No task failed in the last day",
    group=TASKS,
    remedy="Read the error, mend its cause, then resume the process (POST …/generation/<id>/resume).",
)
def none_failed(facts: Facts) -> Check:
    return _none(known(facts.tasks).failed, "tasks failed", "none failed")


@check(
    "TSK-4",
    "No task is on its last attempt or kills its workers",
    group=TASKS,
    remedy="Read the error of the earlier attempts; the next failure fails the process.",
)
def retries_left(facts: Facts) -> Check:
    return _none(known(facts.tasks).last_attempt, "open tasks have used up their retries", "retries are left")


@check(
    "TSK-5",
    "No open task belongs to a process that has ended",
    group=TASKS,
    remedy="update public.background_tasks set status = 'cancelled' where id = '<id>'; nobody will ever claim it.",
)
def no_task_of_ended(facts: Facts) -> Check:
    return _none(known(facts.tasks).of_ended, "open tasks of ended processes", "none")


@check(
    "TSK-6",
    "No task waits for tasks that have all ended",
    group=TASKS,
    remedy="select public.settle_task_dependents('<parent id>'); somebody ended the parent by hand.",
)
def dependencies_settled(facts: Facts) -> Check:
    return _none(known(facts.tasks).waiting_for_ended, "tasks wait for nothing", "none")


@check(
    "WRK-1",
    "A worker is there",
    group=TASKS,
    remedy="Start one: python -m reference_server --role worker (or --role all). With DATABASE_URL behind a "
    "transaction pooler it works by polling and is not seen here until it holds a task.",
)
def workers_there(facts: Facts) -> Check:
    tasks = known(facts.tasks)
    if tasks.listeners or tasks.beating:
        return passed(f"{tasks.listeners} listen, {tasks.beating} hold tasks")
    if facts.api.workers == "ok":
        return passed("the API's own worker runs")
    return failed("nobody listens for tasks and nobody holds one")


@check(
    "PRC-1",
    "Every running process has a task",
    group=PROCESSES,
    remedy="Pause and resume it (POST …/generation/<id>/pause, then /resume): a task is added. It will not move by "
    "itself.",
)
def no_orphans(facts: Facts) -> Check:
    return _none(known(facts.processes).orphans, "running processes without an open task", "none is orphaned")


@check(
    "PRC-2",
    "Every waiting process has a prompt that can be answered",
    group=PROCESSES,
    remedy="Pause and resume it: the prompt is put again.",
)
def prompts_there(facts: Facts) -> Check:
    return _none(known(facts.processes).promptless, "processes wait for input of no known type", "they have")


@check(
    "PRC-3",
    "Status and waiting flag agree",
    group=PROCESSES,
    remedy="Use mark_process_waiting_for_input and resolve_user_input, which change both; then set "
    "is_waiting_for_input to (status = 'user_input_required').",
)
def flags_agree(facts: Facts) -> Check:
    return _none(known(facts.processes).flag_differs, "rows contradict themselves", "they agree")


@check(
    "PRC-4",
    "Prompts that timed out have been closed",
    group=PROCESSES,
    remedy="Start a worker: its sweep pauses these processes; then they can be resumed.",
)
def prompts_expired(facts: Facts) -> Check:
    return _none(known(facts.processes).overdue_prompts, "prompts are past their time", "none is overdue")


@check(
    "PRC-5",
    "Processes rest on steps that exist and can be rested on",
    group=PROCESSES,
    remedy="Resume the process, which moves it on; a step of another version has to be renamed in the row.",
)
def steps_known(facts: Facts) -> Check:
    names = {step.value for step in Step}
    bad = [
        f"{number} on {'the transient' if step in names else 'the unknown'} step {step}"
        for step, number in sorted(known(known(facts.processes).steps).items())
        if step not in _RESTING
    ]
    return failed("rows rest where no worker takes them up", bad) if bad else passed("they do")


@check(
    "PRC-6",
    "Every completed process has its article",
    group=PROCESSES,
    remedy="Look for the article by generation_process_id in a backup; otherwise generate it again.",
)
def articles_saved(facts: Facts) -> Check:
    return _none(known(facts.processes).without_article, "completed processes without an article", "all have")


@check(
    "PRC-7",
    "Failed processes say why",
    group=PROCESSES,
    remedy="Look for the process id in the workers' logs; whatever set the status did not say why.",
)
def errors_explained(facts: Facts) -> Check:
    return _none(known(facts.processes).silent_errors, "failed processes without a message", "they do")


@check(
    "PRC-8",
    "Processes that can go on have a readable context",
    group=PROCESSES,
    remedy="The context was overwritten or never saved: cancel the process and start it again.",
)
def context_readable(facts: Facts) -> Check:
    return _none(known(facts.processes).without_context, "processes past their first step have no context", "they have")
