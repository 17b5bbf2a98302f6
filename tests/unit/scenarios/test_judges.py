"""Each judge has been seen to pass, to fail on its planted defect, and to say unknown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scenarios.histories import (
    Tape,
    alter,
    article_events,
    event,
    facts,
    good,
    store,
    uid,
    where,
)
from tests.unit.scenarios.planted_histories import PLANTED, delivery_lost, resolved, row_7_vanishes
from toolkit.contract.steps import STEPS, Flow, Kind, Step, next_resting
from toolkit.report.record import Verdict
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
    delivery_lost(tape)
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
    twice = tape.records[resolved(tape, "a")[0]]
    store(tape, "a", {**twice.value, "seq": 900})
    assert verdict("answers", tape)[0] is Verdict.FAIL


def test_an_answer_without_an_acknowledgement_may_be_recorded_or_not():
    tape = good()
    alter(tape, where(tape, "ok", op="answer", process="a")[1], kind="info", value={}, error="cut off")
    assert verdict("answers", tape)[0] is Verdict.PASS
    gone = resolved(tape, "a")[1]
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
    row_7_vanishes(tape)
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
@settings(max_examples=30, deadline=None)
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
