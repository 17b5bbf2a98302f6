"""Expectations, placeholders and conditions: pure comparisons that can fail."""

import pytest

from tests.unit.scenarios.histories import article_events, good, uid
from toolkit.contract.prompts import InputType
from toolkit.report import as_html, as_json
from toolkit.report.record import Verdict
from toolkit.scenarios import verdicts
from toolkit.scenarios.expect import Answer, fill, mismatches
from toolkit.scenarios.model.conditions import Condition, condition
from toolkit.scenarios.model.reading import parse
from toolkit.scenarios.model.scenario_file import EditAnswer, RawAnswer, SelectAnswer
from toolkit.scenarios.running_scenario import request_of
from toolkit.scenarios.tracker import Tracker, socket_kind

FACTS = Answer(409, {"error": {"code": "x_y", "details": [{"a": 1}]}, "n": 3}, {"x-last-sequence": "7"}).facts


@pytest.mark.parametrize(
    "expected",
    [
        {"status": 409},
        {"status": [404, 409]},
        {"body.error.code": "x_y", "header.x-last-sequence": "7"},
        {"body.error.details.0.a": 1, "body.error.details": {"length": 1}},
        {"body.n": {"at_least": 3}, "body.error.code": {"matches": "^x_"}},
        {"body.error.code": {"contains": "_"}, "body.none": {"present": False}},
    ],
)
def test_what_holds(expected):
    assert mismatches(FACTS, expected) == []


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        ({"status": 200}, "expected status to be 200, got 409"),
        ({"status": [200, 201]}, "one of 200, 201"),
        ({"body.nothing": 1}, "got nothing"),
        ({"body.n": True}, "expected body.n to be True, got 3"),
        ({"body.n": {"at_least": 4}}, "at least 4"),
        ({"body.nothing": {"contains": "a"}}, "got nothing"),
        ({"body.error.code": {"present": False}}, "to be absent"),
    ],
)
def test_what_does_not_hold_is_said(expected, says):
    (sentence,) = mismatches(FACTS, expected)
    assert says in sentence


def test_placeholders():
    known = {"a": {"id": "1", "article_id": None}, "b[0]": {"id": "2"}}
    assert fill({"x": ["/{a.id}/{b[0].id}", 1]}, known) == {"x": ["/1/2", 1]}
    for text in ("{a.article_id}", "{c.id}"):
        with pytest.raises(KeyError, match="yet"):
            fill(text, known)


def asked(sentence):
    return Condition.model_validate(condition(sentence))


def test_conditions_follow_the_events():
    tracker = Tracker()
    seen = {}
    sentences = (
        "a waits for select_theme",
        "a enters researching",
        "a event image_placeholders_generated",
        "a event 20",
        "a is completed",
        "a event user_input_resolved x 4",
    )
    for row in article_events(uid("a")):
        tracker.event(row["seq"], row["type"], row["data"])
        if row["type"] == "user_input_required":
            tracker.event(row["seq"], row["type"], {"input_type": f"prompt {row['seq']}"})
            assert tracker.open_prompt == f"prompt {row['seq']}"
        for sentence in sentences:
            if tracker.holds(asked(sentence)):
                seen.setdefault(sentence, row["seq"])
    assert seen["a event 20"] == 20
    assert seen["a enters researching"] < seen["a event user_input_resolved x 4"] <= seen["a is completed"]
    assert "a waits for select_theme" not in seen
    assert "a event image_placeholders_generated" not in seen
    assert tracker.open_prompt is None
    assert "completed" in (tracker.hopeless(asked("a is error")) or "")
    assert tracker.hopeless(asked("a is caught up")) is None


def test_live_for_the_second_time_is_live_after_a_connection_was_lost():
    tracker = Tracker()
    tracker.connection(live=True)
    tracker.connection(live=True)
    assert tracker.holds(asked("a is live"))
    assert not tracker.holds(asked("a is live x 2"))
    tracker.connection(live=False)
    assert not tracker.holds(asked("a is live"))
    tracker.connection(live=True)
    assert tracker.holds(asked("a is live x 2"))
    assert not tracker.holds(asked("a is live x 3"))
    with pytest.raises(ValueError, match="live x N"):
        asked("a is completed x 2")


def test_an_event_may_be_narrowed_by_its_data():
    tracker = Tracker()
    tracker.event(1, "section_completed", {"section_index": 0})
    tracker.event(2, "section_completed", {"section_index": 1})
    assert tracker.holds(asked("a event section_completed x 2"))
    assert tracker.holds(asked("a event section_completed"), {"section_index": 1})
    assert not tracker.holds(asked("a event section_completed x 2"), {"section_index": 1})


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"step": "theme_generating", "message": ""}, "status"),
        ({"request_type": "select_theme", "data": {}}, "prompt"),
        ({"step": "x", "error_message": "no"}, "error"),
        ({"title": "t", "final_html_content": "", "article_id": "1"}, "final"),
        ({"section_index": 0}, "section"),
        ({"query_index": 0}, "research"),
        ({}, "other"),
    ],
)
def test_frames_of_the_old_socket_are_told_apart(payload, kind):
    assert socket_kind(payload) == kind
    Tracker().socket_frame(payload)


@pytest.mark.parametrize(
    ("prompt", "answer", "sent"),
    [
        (InputType.SELECT_PERSONA, SelectAnswer(select=2), ("select_persona", {"selected_id": 2})),
        (InputType.SELECT_THEME, SelectAnswer(select=1), ("select_theme", {"selected_index": 1})),
        (InputType.APPROVE_PLAN, "approve", ("approve_plan", {"approved": True})),
        (InputType.APPROVE_OUTLINE, "reject", ("approve_outline", {"approved": False})),
        (InputType.APPROVE_PLAN, "regenerate", ("regenerate", {})),
        (None, EditAnswer(edit={"topic": "t"}), ("edit_and_proceed", {"edited_content": {"topic": "t"}})),
        (None, RawAnswer(response_type="nonsense", payload={"a": 1}), ("nonsense", {"a": 1})),
    ],
)
def test_answers_become_requests(prompt, answer, sent):
    assert request_of(prompt, answer) == sent


def test_a_history_becomes_a_report_with_its_pictures():
    scenario = parse(
        "scenario: s\ntitle: S\nusers: [alice]\n"
        "processes: {a: {user: alice}, b: {user: alice}}\nsteps: [{start: a}]\n"
        "faults: [{after: a event 10, cut: websocket, lasting: 1s}]\n"
        "check: {a: [no-loss, order, recovery], b: [isolation-processes]}\n"
        "sometimes: [a.backfilled > 0]\nlimits: {recovery: 2s, delivery_p95: 1s}\n"
    )
    tape = good(fault=True)
    for place, record in enumerate(tape.records):
        if record.kind == "fault":
            tape.records[place] = type(record)(**{**vars(record), "value": {**record.value, "number": 0}})
    report = verdicts.report(scenario, tape.records, target="t")
    assert report.verdict is Verdict.PASS, [c for c in report.checks if c.verdict is not Verdict.PASS]
    assert {c.id for c in report.checks} == {
        "no-loss:a",
        "order:a",
        "recovery:a",
        "isolation-processes:b",
        "sometimes",
        "fault-0",
        "delivery_p95",
    }
    page = as_html.render(report)
    assert "cut websocket" in page
    assert "a · backfill" in page
    assert as_json.load(as_json.render(report)) == report

    lost = [record for record in tape.records if not (record.kind == "deliver" and record.seq == 30)]
    page = as_html.render(verdicts.report(scenario, lost, target="t"))
    assert "never delivered" in page
    assert verdicts.report(scenario, [], target="t").verdict is Verdict.UNKNOWN
