"""Legacy frames: shapes as clients tell them apart, parsing that never raises anything but BadFrame."""

from __future__ import annotations

import contextlib
import uuid

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.api import legacy_frames as frames
from reference_server.generation.steps import StepEvent
from toolkit.contract.events import EventType
from toolkit.contract.steps import STEPS, Step


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_parsing_is_total(data: bytes) -> None:
    with contextlib.suppress(frames.BadFrame):
        frames.parse_response(data)


def test_an_answer_is_read() -> None:
    frame = b'{"type": "client_response", "response_type": "select_theme", "payload": {"selected_index": 1}}'
    assert frames.parse_response(frame) == frames.ClientResponse("select_theme", {"selected_index": 1})
    assert frames.parse_response(b'{"type": "heartbeat"}') is None


@pytest.mark.parametrize("text", ['"x"', "[]", '{"type": "x"}', '{"type":"client_response","response_type":1}', "{"])
def test_what_is_no_answer_is_refused(text: str) -> None:
    with pytest.raises(frames.BadFrame):
        frames.parse_response(text)


def _section(html: str) -> StepEvent:
    data = {"section_index": 2, "section_heading": "h", "section_content": html, "image_placeholders": [{"a": 1}]}
    return StepEvent(EventType.SECTION_COMPLETED, data)


@given(st.text(max_size=3000))
def test_chunks_put_together_are_the_section(html: str) -> None:
    *chunks, last = (frame["payload"] for frame in frames.of_step(_section(html), image_mode=False))
    assert "".join(chunk["html_content_chunk"] for chunk in chunks) == html
    assert not any(chunk["is_complete"] for chunk in chunks)
    assert (last["is_complete"], last["section_complete_content"]) == (True, html)
    assert last["image_placeholders"] == []


def test_image_mode_sends_a_section_whole_with_its_placeholders() -> None:
    (frame,) = frames.of_step(_section("<p>x</p>" * 500), image_mode=True)
    assert frame["payload"]["is_image_mode"] is True
    assert frame["payload"]["image_placeholders"] == [{"a": 1}]


def test_payloads_carry_no_discriminator_and_every_step_has_words() -> None:
    for step in STEPS:
        frame = frames.status(uuid.uuid4(), step, 5, image_mode=False)
        assert frame["type"] == "server_event"
        assert "type" not in frame["payload"]
        assert "event_type" not in frame["payload"]
        assert orjson.loads(orjson.dumps(frame)) == frame
        if step not in (Step.ERROR,) and STEPS[step].kind != "transient":
            assert frame["payload"]["message"] != step
