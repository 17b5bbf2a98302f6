"""A defect for every judge, planted in a good history: `PLANTED` has the judge, what it must say, and how to plant."""

from collections.abc import Callable

from tests.unit.scenarios.histories import (
    Tape,
    alter,
    article_events,
    body,
    edit_data,
    event,
    store,
    uid,
    where,
)
from toolkit.scenarios.recorded.facts import event_type

Plant = Callable[[Tape], None]
PLANTED: list[tuple[str, str, Plant, str, bool]] = []


def plants(rule: str, says: str, *, end: str = "completed", fault: bool = False) -> Callable[[Plant], Plant]:
    def register(plant: Plant) -> Plant:
        PLANTED.append((rule, says, plant, end, fault))
        return plant

    return register


@plants("no-gap", "from sequence 6 to 8")
def row_7_vanishes(tape):
    del tape.records[where(tape, "db", seq=7, process="a")[0]]


@plants("no-gap", "given to two events")
def _sequence_given_twice(tape):
    alter(tape, where(tape, "db", seq=7, process="a")[0], seq=6)


@plants("no-gap", "not 1")
def _first_sequence_is_2(tape):
    del tape.records[where(tape, "db", seq=1, process="a")[0]]


@plants("no-loss", "event 7 was never given")
def delivery_lost(tape):
    del tape.records[where(tape, "deliver", seq=7, process="a")[0]]


@plants("no-loss", "was never given")
def _tail_lost(tape):
    last = max(r.seq or 0 for r in tape.records if r.kind == "db" and r.process == uid("a"))
    del tape.records[where(tape, "deliver", seq=last, process="a")[0]]


@plants("no-loss", "event 9 was given to no session")
def _second_session_starts_too_late(tape):
    tape.records = [
        record
        for record in tape.records
        if not (record.kind == "deliver" and record.actor == "watch:a" and (record.seq or 0) > 8)
    ]
    tape.add(9.0, "note", "watch:a", "unwatch", process=uid("a"))
    tape.add(9.1, "note", "watch:a#2", "watch", process=uid("a"), value={"user": "alice", "since": 9})
    for row in article_events(uid("a"))[9:]:
        tape.add(9.2, "deliver", "watch:a#2", process=uid("a"), seq=row["seq"], value=body(row), via="backfill")


@plants("no-duplicate", "event 7 was given twice")
def _delivered_twice(tape):
    tape.records.append(tape.records[where(tape, "deliver", seq=7, process="a")[0]])


@plants("order", "was given 5 after 7")
def _swapped(tape):
    five, seven = (where(tape, "deliver", seq=n, process="a")[0] for n in (5, 7))
    for name in ("seq", "event_id", "value"):
        first, second = (getattr(tape.records[n], name) for n in (five, seven))
        alter(tape, five, **{name: second})
        alter(tape, seven, **{name: first})
    del tape.records[where(tape, "deliver", seq=6, process="a")[0]]


@plants("order", "had 3 and was given 2")
def _older_than_asked(tape):
    alter(tape, where(tape, "note", actor="watch:a", op="watch")[0], value={"user": "alice", "since": 3})
    del tape.records[where(tape, "deliver", seq=1, process="a")[0]]


@plants("database-equals-delivered", "other data in the database: status")
def _payload_altered(tape):
    edit_data(tape, where(tape, "deliver", seq=2, process="a")[0], lambda data: data.update(status="other"))


@plants("database-equals-delivered", "another id")
def _id_altered(tape):
    alter(tape, where(tape, "deliver", seq=2, process="a")[0], event_id=uid("other"))


@plants("database-equals-delivered", "does not hold it")
def _invented(tape):
    tape.add(9.0, "deliver", "watch:a", process=uid("a"), seq=999, value={"type": "x", "data": {}}, via="live")


@plants("isolation-processes", "watch:a watches a and saw b")
def _frame_of_another_process(tape):
    alter(tape, where(tape, "frame", seq=4, process="a")[0], process=uid("b"))


@plants("isolation-users", "bob was sent an event of alice's process")
def _row_security_hole(tape):
    place = where(tape, "frame", seq=4, process="a")[0]
    alter(tape, place, actor="watch:bob")


@plants("legal-transitions", "status went from completed to in_progress")
def _back_from_the_dead(tape):
    changed = [p for p in where(tape, "db", process="a") if event_type(tape.records[p]) == "status_changed"][-1]
    edit_data(tape, changed, lambda data: data.update(changes={"status": ["completed", "in_progress"]}))


@plants("legal-transitions", "step went from")
def _a_step_is_skipped(tape):
    changed = [p for p in where(tape, "db", process="a") if event_type(tape.records[p]) == "step_changed"][3]
    edit_data(tape, changed, lambda data: data.update(changes={"current_step": ["theme_generating", "researching"]}))


@plants("legal-transitions", "and then changed from")
def _an_unrecorded_change(tape):
    changed = [p for p in where(tape, "db", process="a") if event_type(tape.records[p]) == "status_changed"][2]
    edit_data(tape, changed, lambda data: data.update(changes={"status": ["paused", "user_input_required"]}))


@plants("whole-flow", "without persona_generating")
def _step_event_missing(tape):
    places = [p for p in where(tape, "db", process="a") if event_type(tape.records[p]) == "step_changed"]
    del tape.records[places[1]]


@plants("one-terminal", "ended twice")
def _completed_twice(tape):
    last = [r for r in tape.records if r.kind == "db" and r.op == "event" and r.process == uid("a")][-1]
    row = {**last.value, "seq": (last.seq or 0) + 1}
    store(tape, "a", row)


@plants("one-terminal", "no event says that it ended")
def _end_unsaid(tape):
    places = [p for p in where(tape, "db", process="a") if event_type(tape.records[p]) == "generation_completed"]
    del tape.records[places[0]]


@plants("progress", "progress fell from")
def _progress_falls(tape):
    places = [p for p in where(tape, "db", process="a") if event_type(tape.records[p]) == "step_changed"]
    edit_data(tape, places[5], lambda data: data.update(progress_percentage=0))


@plants("event-data", "lacks article_id")
def _key_missing(tape):
    places = [p for p in where(tape, "db", process="a") if event_type(tape.records[p]) == "generation_completed"]
    edit_data(tape, places[0], lambda data: data.pop("article_id"))


@plants("event-data", "is in category system")
def _wrong_category(tape):
    place = where(tape, "db", seq=2, process="a")[0]
    alter(tape, place, value={**tape.records[place].value, "category": "system"})


@plants("silent-after-cancel", "was appended after the cancel", end="cancelled")
def _worker_goes_on(tape):
    last = max(r.seq or 0 for r in tape.records if r.kind == "db" and r.process == uid("a"))
    row = next(r for r in article_events(uid("a")) if r["type"] == "step_changed")
    store(tape, "a", {**row, "seq": last + 1})


@plants("commands", "was accepted, and user_input_resolved was recorded 4 times")
def _answer_swallowed(tape):
    tape.add(5.0, "ok", "user:alice", "answer", process=uid("a"), value={"status": 200})


@plants("commands", "was recorded 4 times for 3 accepted answer")
def _refused_answer_took_effect(tape):
    place = where(tape, "ok", op="answer", process="a")[0]
    alter(tape, place, kind="fail", value={"status": 409})


@plants("no-5xx", "the API answered 500")
def _server_error(tape):
    tape.add(5.0, "info", "user:alice", "get", process=uid("a"), value={"status": 500})


@plants("no-5xx", "the API answered 503")
def _unavailable_without_a_reason(tape):
    tape.add(5.0, "info", "user:alice", "get", process=uid("a"), value={"status": 503})


def resolved(tape, process):
    return [
        p for p in where(tape, "db", process=process, op="") if event_type(tape.records[p]) == "user_input_resolved"
    ]


def _respond(tape, place, response):
    edit_data(tape, place, lambda d: d.update(user_response=response))


@plants("answers", "which was given to b")
def _answers_swapped_between_two_processes(tape):
    mine, its = resolved(tape, "a")[1], resolved(tape, "b")[1]
    first, second = (tape.records[place].value["data"]["user_response"] for place in (mine, its))
    _respond(tape, mine, second)
    _respond(tape, its, first)


@plants("answers", "was accepted")
def _answers_in_another_order(tape):
    one, two = resolved(tape, "a")[:2]
    first, second = (tape.records[place].value["data"]["user_response"] for place in (one, two))
    _respond(tape, one, second)
    _respond(tape, two, first)


@plants("answers", "lacks the accepted answer")
def _last_answer_not_recorded(tape):
    del tape.records[resolved(tape, "a")[-1]]


@plants("answers", "which was never given to it")
def _an_answer_nobody_gave(tape):
    template = tape.records[resolved(tape, "a")[-1]]
    row = {**template.value, "seq": 900, "data": {**template.value["data"], "user_response": {"payload": {}}}}
    store(tape, "a", row)


@plants("answers", "interaction_history holds")
def _the_row_keeps_another_answer(tape):
    place = where(tape, "db", process="a", op="state")[0]
    other = tape.records[where(tape, "db", process="b", op="state")[0]].value["interaction_history"]
    alter(tape, place, value={**tape.records[place].value, "interaction_history": other})


@plants("answers", "interaction_history holds 3 answers, the log 4")
def _the_row_forgot_an_answer(tape):
    place = where(tape, "db", process="a", op="state")[0]
    value = tape.records[place].value
    alter(tape, place, value={**value, "interaction_history": value["interaction_history"][:-1]})


@plants("consistent", "there are 2 articles")
def _two_articles(tape):
    alter(tape, where(tape, "db", process="a", op="articles")[0], value={"rows": [{"id": "9"}, {"id": "8"}]})


@plants("consistent", "cancelled and there are 2 articles", end="cancelled")
def _two_articles_of_a_process_that_did_not_complete(tape):
    alter(tape, where(tape, "db", process="a", op="articles")[0], value={"rows": [{"id": "9"}, {"id": "8"}]})


@plants("consistent", "error and there are 1 articles", end="error")
def _an_article_of_a_process_that_failed(tape):
    alter(tape, where(tape, "db", process="a", op="articles")[0], value={"rows": [{"id": "9"}]})


@plants("consistent", "last recorded status")
def _status_changed_unseen_on_the_old_transport(tape):
    place = next(p for p in where(tape, "note", process="a", op="process"))
    alter(tape, place, value={**tape.records[place].value, "transport": "websocket"})
    _status_changed_unseen(tape)


@plants("consistent", "tasks are still open")
def _task_left_open(tape):
    alter(tape, where(tape, "db", process="a", op="tasks")[0], value={"rows": [{"status": "running"}]})


@plants("consistent", "last recorded status")
def _status_changed_unseen(tape):
    place = where(tape, "db", process="a", op="state")[0]
    alter(tape, place, value={**tape.records[place].value, "status": "cancelled", "article_id": None})
    alter(tape, where(tape, "db", process="a", op="articles")[0], value={"rows": []})


@plants("recovery", "was not live again", fault=True)
def _never_live_again(tape):
    del tape.records[where(tape, "note", actor="watch:a", op="live")[1]]


@plants("recovery", "s late", fault=True)
def _caught_up_too_late(tape):
    alter(tape, where(tape, "deliver", seq=12, process="a")[0], t_ns=int(9e9))


@plants("recovery", "never moved again", fault=True)
def _work_stops_after_a_kill(tape):
    for place in where(tape, "fault"):
        alter(tape, place, op="kill")
    cut = {r["seq"] for r in article_events(uid("a")) if r["created_at"] > "2025-07-27T12:00:02.95"}
    tape.records = [r for r in tape.records if not (r.process == uid("a") and r.seq in cut)]


@plants("database-equals-delivered", "without a sequence")
def _sequence_missing(tape):
    alter(tape, where(tape, "deliver", seq=2, process="a")[0], seq=None)


@plants("isolation-users", "bob was sent an event of alice's process")
def _leak_into_a_strangers_own_subscription(tape):
    tape.add(0.4, "note", "run", "process", process=uid("bobs"), value={"name": "bobs", "user": "bob"})
    tape.add(0.5, "note", "watch:bobs", "watch", process=uid("bobs"), value={"user": "bob"})
    frame = tape.records[where(tape, "frame", seq=4, process="a")[0]]
    tape.add(8.0, "frame", "watch:bobs", process=uid("a"), seq=4, value=frame.value)


@plants("one-terminal", "section_completed was appended after it had completed")
def _work_after_the_end(tape):
    last = max(r.seq or 0 for r in tape.records if r.kind == "db" and r.process == uid("a"))
    store(tape, "a", event(uid("a"), last + 1, "section_completed", 19.0))


@plants("progress", "progress fell from")
def _progress_falls_between_the_rows_events(tape):
    last = max(r.seq or 0 for r in tape.records if r.kind == "db" and r.process == uid("a"))
    store(tape, "a", event(uid("a"), last + 1, "research_progress", 19.0, progress_percentage=41))


@plants("work-once", "section_index 1 came again")
def _a_section_is_written_twice(tape):
    last = max(r.seq or 0 for r in tape.records if r.kind == "db" and r.process == uid("a"))
    store(tape, "a", event(uid("a"), last + 1, "section_completed", 19.0, section_index=1, total_sections=3))


@plants("work-once", "section_index 2 came where 1 was due")
def _a_section_is_left_out(tape):
    places = [p for p in where(tape, "db", process="a") if event_type(tape.records[p]) == "section_completed"]
    del tape.records[places[1]]


@plants("work-once", "it completed with 2 of 3")
def _the_last_section_is_missing(tape):
    places = [p for p in where(tape, "db", process="a") if event_type(tape.records[p]) == "section_completed"]
    del tape.records[places[-1]]


@plants("event-data", "speaks of another process")
def _content_of_another_process(tape):
    edit_data(tape, where(tape, "db", seq=2, process="a")[0], lambda data: data.update(process_id=uid("b")))


@plants("commands", "alice has a process that no answer to a start named")
def _a_second_process_for_one_start(tape):
    tape.add(20.0, "db", "user:alice", "stray", process=uid("ghost"))


@plants("no-5xx", "a request got no answer: ReadError")
def _the_server_hangs_up_without_a_fault(tape):
    tape.add(5.0, "info", "user:alice", "answer", process=uid("a"), error="ReadError: reset")


@plants("consistent", "completed at 95 %")
def _completed_short_of_the_whole(tape):
    place = where(tape, "db", process="a", op="state")[0]
    alter(tape, place, value={**tape.records[place].value, "progress_percentage": 95})


@plants("consistent", "another user")
def _article_of_somebody_else(tape):
    place = where(tape, "db", process="a", op="state")[0]
    alter(tape, place, value={**tape.records[place].value, "user_id": "alice-1"})
    rows = [{"id": "9", "user_id": "bob-1"}]
    alter(tape, where(tape, "db", process="a", op="articles")[0], value={"rows": rows})


@plants("recovery", "was not live again", fault=True)
def _down_since_the_fault_before(tape):
    del tape.records[where(tape, "note", actor="watch:a", op="live")[1]]
    for phase, at in (("begun", 3.5), ("confirmed", 3.5), ("healed", 3.6)):
        tape.add(at, "fault", "faults", "cut", value={"number": 2, "phase": phase, "target": "websocket"})
