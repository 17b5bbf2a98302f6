"""The comparison with recorded frames, seen to fail on each kind of difference it must find."""

from __future__ import annotations

import pytest

from tests.support.golden import Difference, Step, edit, expected, undecided, without
from tests.support.golden_match import Mismatch, Names, match_frame, match_http

REPLY = '["1","1","realtime:t","phx_reply",{"status":"ok","response":{"postgres_changes":[{"id":81,"event":"*"}]}}]'
CHANGE = (
    '[null,null,"realtime:t","postgres_changes",{"data":{"record":{"n": 1.50, "id": 7},'
    '"commit_timestamp":"2026-11-23T15:17:23.095Z"},"ids":[81]}]'
)


def test_generated_ids_are_followed() -> None:
    names = Names()
    match_frame(REPLY, REPLY.replace("81", "4711"), names)
    match_frame(CHANGE, CHANGE.replace("[81]", "[4711]").replace("095", "1"), names)
    with pytest.raises(Mismatch, match="does not stand for"):
        match_frame(CHANGE, CHANGE.replace("[81]", "[4712]"), names)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1.50", "1.5"),
        ("1.50", '"1.50"'),
        ('"id": 7', '"id": 8'),
        ('"id": 7', '"id": 7, "more": null'),
        ('"n": 1.50, ', ""),
        ("2026-11-23T15:17:23.095Z", "2026-11-23 15:17:23"),
        ('"2026-11-23T15:17:23.095Z"', "null"),
        ("[null,null", '["1",null'),
        ("realtime:t", "realtime:u"),
        ("[81]", "[81,82]"),
        ("[81]", "[0]"),
        ("[81]", '["81"]'),
    ],
)
def test_differences_are_found(before: str, after: str) -> None:
    assert before in CHANGE
    with pytest.raises(Mismatch):
        match_frame(CHANGE, CHANGE.replace(before, after), Names())


@pytest.mark.parametrize(
    ("recorded", "actual"), [("1.5", "1.50"), ("0.0000001", "1E-7"), ("1e2", "100"), ("1e2", "1E2"), ("0", "-0")]
)
def test_numbers_are_compared_by_their_digits(recorded: str, actual: str) -> None:
    match_frame(f'{{"n":{recorded}}}', f'{{"n":{recorded}}}', Names())
    for before, after in ((recorded, actual), (actual, recorded)):
        with pytest.raises(Mismatch):
            match_frame(f'{{"n":{before}}}', f'{{"n":{after}}}', Names())


def test_key_order_and_spaces_do_not_count() -> None:
    match_frame('[1, {"a": 1, "b": [2]}]', '[1,{"b":[2],"a":1}]', Names())


def test_binary_frames_are_compared_by_their_parts() -> None:
    recorded = b'\x04\x01\x02\x00\x01thi{"a": 1}'
    match_frame(recorded, b'\x04\x01\x02\x00\x01thi{"a":1}', Names())
    for other in (b'\x04\x01\x02\x00\x01tho{"a":1}', b'\x04\x01\x02\x00\x00thi{"a":1}', b"\x02\x01\x02thi"):
        with pytest.raises(Mismatch):
            match_frame(recorded, other, Names())
    with pytest.raises(Mismatch):
        match_frame(recorded, '[null,null,"t","hi",{}]', Names())


def test_times_since_expiry_may_differ_a_little() -> None:
    match_frame('"Token has expired 100 seconds ago"', '"Token has expired 101 seconds ago"', Names())
    with pytest.raises(Mismatch):
        match_frame('"Token has expired 100 seconds ago"', '"Token has expired 3 seconds ago"', Names())


@pytest.mark.parametrize(("status", "body"), [(400, b'{"error":"x"}'), (401, b'{"error":"y"}'), (401, b"")])
def test_http_answers_are_compared(status: int, body: bytes) -> None:
    recorded = '401\ncontent-type: application/json\n\n{"error":"x"}'
    match_http("here", recorded, 401, {}, b'{"error": "x"}')
    with pytest.raises(Mismatch):
        match_http("here", recorded, status, {}, body)


STEPS = [Step("X1", "2.0.0", 1, "client", "in"), Step("X1", "2.0.0", 2, "server", "out")]


def test_a_difference_that_no_longer_exists_is_noticed() -> None:
    assert [step.text for step in expected(STEPS, Difference("why", edit("out", "other")))] == ["in", "other"]
    with pytest.raises(AssertionError):
        edit("gone", "x")(STEPS)
    with pytest.raises(AssertionError):
        without("in")(STEPS)


def test_a_forgotten_case_is_noticed() -> None:
    assert undecided(["A", "B", "C"], ["A"], {"B": Difference("why")}) == {"C"}
