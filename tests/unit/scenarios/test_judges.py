"""Each judge has been seen to pass, to fail on its planted defect, and to say unknown."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scenarios.histories import (
    Tape,
    alter,
    article_events,
    body,
    edit_data,
    event,
    facts,
    good,
    store,
    uid,
    where,
)
from toolkit.contract.steps import STEPS, Flow, Kind, Step, next_resting
from toolkit.report.model import Verdict
from toolkit.scenarios.facts import event_type
from toolkit.scenarios.judges import ALL, BY_ID, judge, sometimes


def verdict(rule: str, tape: Tape, name: str | None = None) -> tuple[Verdict, str, tuple[str, ...]]:
    found = facts(tape)
    check = judge(found, BY_ID[rule], found.processes if name is None else found.named(name))
    return check.verdict, check.detail, check.witness


GOOD = {rule.id: ("completed", False) for rule in ALL} | {
    "silent-after-cancel": ("cancelled", False),
    "recovery": ("completed", True),
}


@pytest.mark.parametrize("rule", BY_ID)
def test_a_good_history_passes(rule):
    end, fault = GOOD[rule]
    outcome = verdict(rule, good(end=end, fault=fault))
    assert outcome[0] is Verdict.PASS, outcome


@pytest.mark.parametrize("rule", BY_ID)
def test_nothing_to_look_at_is_unknown(rule):
    assert verdict(rule, Tape())[0] is Verdict.UNKNOWN
    bare = Tape()
    bare.add(0, "note", "run", "process", process=uid("a"), value={"name": "a", "user": "alice"})
    assert verdict(rule, bare)[0] is Verdict.UNKNOWN


Plant = Callable[[Tape], None]
PLANTED: list[tuple[str, str, Plant, str, bool]] = []


def plants(rule: str, says: str, *, end: str = "completed", fault: bool = False) -> Callable[[Plant], Plant]:
    def register(plant: Plant) -> Plant:
        PLANTED.append((rule, says, plant, end, fault))
        return plant

    return register


@plants("no-gap", "from sequence 6 to 8")
def _row_7_vanishes(tape):
    del tape.records[where(tape, "db", seq=7, process="a")[0]]


@plants("no-gap", "given to two events")
def _sequence_given_twice(tape):
    alter(tape, where(tape, "db", seq=7, process="a")[0], seq=6)


@plants("no-gap", "not 1")
def _first_sequence_is_2(tape):
    del tape.records[where(tape, "db", seq=1, process="a")[0]]


@plants("no-loss", "event 7 was never given")
def _delivery_lost(tape):
    del tape.records[where(tape, "deliver", seq=7, process="a")[0]]


@plants("no-loss", "was never given")
def _tail_lost(tape):
    last = max(r.seq or 0 for r in tape.records if r.kind == "db" and r.process == uid("a"))
    del tape.records[where(tape, "deliver", seq=last, process="a")[0]]


@plants("no-loss", "event 9 was given to no session")
def _second_session_starts_too_late(tape):
    tape.records = [
        record for record in tape.records
        if not (record.kind == "deliver" and record.actor == "watch:a" and (record.seq or 0) > 8)
    ]  # fmt: skip
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


def _resolved(tape, process):
    return [
        p for p in where(tape, "db", process=process, op="") if event_type(tape.records[p]) == "user_input_resolved"
    ]


def _respond(tape, place, response):
    edit_data(tape, place, lambda d: d.update(user_response=response))


@plants("answers", "which was given to b")
def _answers_swapped_between_two_processes(tape):
    mine, its = _resolved(tape, "a")[1], _resolved(tape, "b")[1]
    first, second = (tape.records[place].value["data"]["user_response"] for place in (mine, its))
    _respond(tape, mine, second)
    _respond(tape, its, first)


@plants("answers", "was accepted")
def _answers_in_another_order(tape):
    one, two = _resolved(tape, "a")[:2]
    first, second = (tape.records[place].value["data"]["user_response"] for place in (one, two))
    _respond(tape, one, second)
    _respond(tape, two, first)


@plants("answers", "lacks the accepted answer")
def _last_answer_not_recorded(tape):
    del tape.records[_resolved(tape, "a")[-1]]


@plants("answers", "which was never given to it")
def _an_answer_nobody_gave(tape):
    template = tape.records[_resolved(tape, "a")[-1]]
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


@pytest.mark.parametrize(("rule", "says", "plant", "end", "fault"), PLANTED, ids=[p[2].__name__ for p in PLANTED])
def test_a_planted_defect_is_found(rule, says, plant, end, fault):
    tape = good(end=end, fault=fault)
    plant(tape)
    outcome, detail, witness = verdict(rule, tape)
    assert outcome is Verdict.FAIL, detail
    assert says in detail
    assert 1 <= len(witness) <= 4, witness


def test_every_judge_has_a_planted_defect():
    assert {plant[0] for plant in PLANTED} == set(BY_ID)


def test_no_single_defect_is_hidden_by_an_unknown_neighbour():
    tape = good()
    _delivery_lost(tape)
    tape.add(0.4, "note", "run", "process", process=uid("idle"), value={"name": "idle", "user": "alice"})
    assert verdict("no-loss", tape)[0] is Verdict.FAIL
    assert verdict("no-loss", good(names=("a",)), "b")[0] is Verdict.UNKNOWN


def test_an_unknown_outcome_may_have_taken_effect_or_not():
    for kind in ("info",):
        tape = good()
        tape.add(5.0, kind, "user:alice", "answer", process=uid("a"), error="cut off")
        assert verdict("commands", tape)[0] is Verdict.PASS
        alter(tape, where(tape, "ok", op="answer", process="a")[0], kind="info", value={})
        assert verdict("commands", tape)[0] is Verdict.PASS


def test_an_answer_sent_again_is_one_answer_at_the_place_of_its_first_attempt():
    """Its answer was lost, the next prompt was answered meanwhile, and then it was acknowledged."""
    tape = good()
    sent, told = (where(tape, kind, op="answer", process="a") for kind in ("invoke", "ok"))
    first = tape.records[sent[0]]
    alter(tape, told[0], kind="info", value={}, error="cut off")
    again = {**first.value, "attempt_of": first.call}
    tape.add(5.0, "invoke", "user:alice", "answer", process=uid("a"), call=900, value=again)
    tape.add(5.0, "ok", "user:alice", "answer", process=uid("a"), call=900, value={"status": 200})
    assert verdict("answers", tape)[0] is Verdict.PASS
    # Twice in the log would be two answers, however often it was sent.
    twice = tape.records[_resolved(tape, "a")[0]]
    store(tape, "a", {**twice.value, "seq": 900})
    assert verdict("answers", tape)[0] is Verdict.FAIL


def test_an_answer_without_an_acknowledgement_may_be_recorded_or_not():
    tape = good()
    alter(tape, where(tape, "ok", op="answer", process="a")[1], kind="info", value={}, error="cut off")
    assert verdict("answers", tape)[0] is Verdict.PASS
    gone = _resolved(tape, "a")[1]
    del tape.records[gone]
    place = where(tape, "db", process="a", op="state")[0]
    kept = [entry for n, entry in enumerate(tape.records[place].value["interaction_history"]) if n != 1]
    alter(tape, place, value={**tape.records[place].value, "interaction_history": kept})
    assert verdict("answers", tape)[0] is Verdict.PASS
    alter(tape, where(tape, "info", op="answer", process="a")[0], kind="ok")
    assert verdict("answers", tape)[0] is Verdict.FAIL


def test_titles_say_where_the_events_were_read():
    """Without SQL they came over the API, and nothing is said of a database that nobody looked at."""
    tape = good()
    assert "in the database" in judge(facts(tape), BY_ID["no-gap"], facts(tape).processes).title
    tape.add(19.0, "note", "run", "store", value={"read": "the events API"})
    by_api = facts(tape)
    checks = [judge(by_api, rule, by_api.processes) for rule in ALL]
    assert not [check.title for check in checks if "the database" in check.title]
    (no_gap,) = (check for check in checks if check.id == "no-gap")
    assert no_gap.title == "Sequences in the events API run from 1 without a gap"
    _row_7_vanishes(tape)
    assert "the events API goes from sequence 6 to 8" in verdict("no-gap", tape)[1]


def test_unavailable_is_excused_while_the_api_is_down():
    tape = good(fault=True)
    for place in where(tape, "fault"):
        alter(tape, place, op="kill")
    tape.add(2.5, "info", "user:alice", "get", process=uid("a"), value={"status": 503})
    assert verdict("no-5xx", tape)[0] is Verdict.PASS
    tape.add(2.6, "info", "user:alice", "get", process=uid("a"), value={"status": 500})
    assert verdict("no-5xx", tape)[0] is Verdict.FAIL


def test_an_unconfirmed_fault_proves_no_recovery():
    tape = good(fault=True)
    tape.records = [r for r in tape.records if not (r.kind == "fault" and r.value["phase"] == "confirmed")]
    assert verdict("recovery", tape)[0] is Verdict.UNKNOWN


def test_an_error_may_be_followed_by_a_resume():
    tape = good(end="error", names=("a",))
    assert verdict("one-terminal", tape)[0] is Verdict.PASS
    last = max(r.seq or 0 for r in tape.records if r.kind == "db")
    rows = {row["type"]: row for row in article_events(uid("a"), end="error")}
    template = rows["generation_error"]
    resumed = {**template, "type": "generation_resumed", "seq": last + 1}
    store(tape, "a", resumed)
    store(tape, "a", {**template, "type": "generation_completed", "seq": last + 2})
    assert verdict("one-terminal", tape)[0] is Verdict.PASS


def test_guards_are_unknown_when_nothing_happened():
    quiet, cut = facts(good()), facts(good(fault=True))
    assert sometimes(quiet, "a.missed_live > 0").verdict is Verdict.UNKNOWN
    assert sometimes(cut, "a.missed_live > 0").verdict is Verdict.PASS
    assert sometimes(cut, "a.backfilled == 10").verdict is Verdict.PASS
    assert sometimes(cut, "nobody.live > 0").verdict is Verdict.UNKNOWN
    with pytest.raises(ValueError, match="figures"):
        sometimes(cut, "a.happiness > 0")
    with pytest.raises(ValueError, match="guard such as"):
        sometimes(cut, "a.live")


MUTATIONS = {"drop": "no-loss", "double": "no-duplicate", "swap": "order", "leak": "isolation-processes"}


@given(st.sampled_from(sorted(MUTATIONS)), st.data())
@settings(max_examples=60, deadline=None)
def test_a_random_mutation_is_found_by_the_right_judge_alone(mutation, data):
    tape = good(fault=data.draw(st.booleans()))
    places = where(tape, "deliver", actor="watch:a")
    place = data.draw(st.sampled_from(places[:-1]))
    following = places[places.index(place) + 1]
    if mutation == "drop":
        del tape.records[place]
    elif mutation == "double":
        tape.records.insert(place + 1, tape.records[place])
    elif mutation == "swap":
        first, second = tape.records[place], tape.records[following]
        tape.records[place], tape.records[following] = second, first
    else:
        frame = data.draw(st.sampled_from(where(tape, "frame", actor="watch:a")))
        alter(tape, frame, process=uid("b"))
    failed = {rule.id for rule in ALL if verdict(rule.id, tape)[0] is Verdict.FAIL}
    expected = {MUTATIONS[mutation]} | ({"recovery"} if mutation == "drop" else set())
    assert MUTATIONS[mutation] in failed
    assert failed <= expected


def test_a_stream_that_ends_with_its_process_is_not_a_fault_unhealed():
    tape = good(fault=True)
    tape.add(3.9, "note", "watch:a", "ended", process=uid("a"))
    assert verdict("recovery", tape)[0] is Verdict.PASS


def test_what_goes_down_after_the_next_fault_began_is_judged_with_it():
    tape = good(fault=True)
    for phase, at in (("begun", 4.0), ("confirmed", 4.0), ("healed", 4.5)):
        tape.add(at, "fault", "faults", "cut", value={"number": 2, "phase": phase, "target": "websocket"})
    tape.add(4.1, "note", "watch:a", "down", process=uid("a"))
    assert verdict("recovery", tape)[0] is Verdict.FAIL
    tape.add(4.9, "note", "watch:a", "live", process=uid("a"))
    assert verdict("recovery", tape)[0] is Verdict.PASS


def test_a_stranger_who_was_not_listening_proves_no_isolation():
    tape = good()
    tape.add(0.3, "note", "watch:bob", "down")
    assert verdict("isolation-users", tape)[0] is Verdict.UNKNOWN
    late = good()
    alter(late, where(late, "note", actor="watch:bob", op="live")[0], t_ns=int(30e9), wall="2025-07-27T12:00:30+00:00")
    assert verdict("isolation-users", late)[0] is Verdict.UNKNOWN


def test_a_request_lost_by_a_broken_network_is_excused():
    tape = good(fault=True)
    for place in where(tape, "fault"):
        alter(tape, place, value={**tape.records[place].value, "target": "http"})
    tape.add(2.5, "info", "user:alice", "answer", process=uid("a"), error="ReadError: reset")
    assert verdict("no-5xx", tape)[0] is Verdict.PASS


def test_what_a_person_appends_after_the_end_is_no_second_end():
    tape = good(names=("a",))
    last = max(r.seq or 0 for r in tape.records if r.kind == "db")
    store(tape, "a", event(uid("a"), last + 1, "test_event", 19.0))
    assert verdict("one-terminal", tape)[0] is Verdict.PASS


def _legacy(*frames: tuple[str, dict[str, object]]) -> Tape:
    """A run of the old transport before the migration: frames, the row and the article, and no event log."""
    tape = Tape()
    pid = uid("a")
    tape.add(0.1, "note", "run", "process", process=pid, value={"name": "a", "user": "alice", "transport": "websocket"})
    tape.add(0.2, "note", "watch:a", "watch", process=pid, value={"user": "alice"})
    for number, (kind, data) in enumerate(frames):
        tape.add(1 + number / 10, "deliver", "watch:a", process=pid, via="socket", value={"type": kind, "data": data})
    tape.add(9.0, "note", "database", "no-event-log")
    state = {"status": "completed", "is_waiting_for_input": False, "article_id": "9"}
    tape.add(9.0, "db", "database", "state", process=pid, value=state)
    return tape


def test_before_the_migration_rows_agree_without_a_log():
    tape = _legacy(("final", {"article_id": "9"}))
    tape.add(9.0, "db", "database", "articles", process=uid("a"), value={"rows": [{"id": "9"}]})
    tape.add(9.0, "db", "database", "tasks", process=uid("a"), value={"rows": []})
    assert verdict("consistent", tape)[0] is Verdict.PASS
    alter(tape, where(tape, "db", op="articles")[0], value={"rows": []})
    assert verdict("consistent", tape)[0] is Verdict.FAIL


def test_before_the_migration_the_frames_show_the_flow():
    walked = [Step.START]
    while STEPS[walked[-1]].kind is not Kind.END:
        walked.append(next_resting(walked[-1], Flow.RESEARCH_FIRST))
    frames = [("status", {"step": str(s), "progress_percentage": STEPS[s].progress}) for s in walked[1:]]
    frames.append(("final", {"article_id": "9"}))
    for rule in ("whole-flow", "progress", "one-terminal"):
        assert verdict(rule, _legacy(*frames))[0] is Verdict.PASS, rule
    assert verdict("whole-flow", _legacy(*frames[:4], *frames[5:]))[0] is Verdict.FAIL
    assert verdict("progress", _legacy(*frames[:4], frames[2], *frames[4:]))[0] is Verdict.FAIL
    assert verdict("one-terminal", _legacy(*frames, frames[-1]))[0] is Verdict.FAIL
