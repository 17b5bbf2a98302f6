"""Frames of the legacy protocol. Payloads carry no type; clients tell them apart by their fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from reference_server.api.schemas import storable
from reference_server.generation.steps import MESSAGES, StepEvent
from toolkit.contract.events import EventType
from toolkit.contract.prompts import InputType
from toolkit.contract.steps import Step

Frame = dict[str, Any]

HEARTBEAT: Frame = {"type": "heartbeat"}
CHUNK = 400  # characters of a section sent at once


class BadFrame(Exception):
    """A client's frame cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class ClientResponse:
    response_type: str
    payload: dict[str, Any]


def parse_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object of a frame. Raises BadFrame."""
    try:
        value = storable(orjson.loads(text))
    except ValueError as error:  # orjson's errors are ValueErrors
        raise BadFrame(f"the frame is not usable JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadFrame("the frame must be a JSON object")
    return value


def parse_response(text: str | bytes) -> ClientResponse | None:
    """The answer a frame holds, None for a heartbeat. Raises BadFrame."""
    value = parse_object(text)
    if value.get("type") in ("heartbeat", "ping"):
        return None
    if value.get("type") != "client_response":
        raise BadFrame('the frame\'s type must be "client_response"')
    response_type, payload = value.get("response_type"), value.get("payload", {})
    if not isinstance(response_type, str) or not isinstance(payload, dict):
        raise BadFrame("a client_response needs response_type (text) and payload (an object)")
    return ClientResponse(response_type, payload)


def server_event(payload: dict[str, Any]) -> Frame:
    return {"type": "server_event", "payload": payload}


def status(process_id: UUID, step: Step, progress: int, *, image_mode: bool) -> Frame:
    return server_event(
        {
            "step": step,
            "message": MESSAGES.get(step, _MESSAGES.get(step, str(step))),
            "image_mode": image_mode,
            "process_id": str(process_id),
            "progress_percentage": progress,
        }
    )


def prompt(input_type: InputType, data: dict[str, Any]) -> Frame:
    return server_event({"request_type": input_type, "data": data})


def final(title: str, html: str, article_id: UUID) -> Frame:
    return server_event({"title": title, "final_html_content": html, "article_id": str(article_id)})


def failure(step: str, message: str) -> Frame:
    return server_event({"step": step, "error_message": message})


def of_step(event: StepEvent, *, image_mode: bool) -> Iterator[Frame]:
    """The frames of a step's event; none when the legacy protocol has no frame for it."""
    data = event.data
    if event.type is EventType.RESEARCH_PROGRESS:
        yield server_event(
            {
                "query_index": data["completed_queries"] - 1,
                "total_queries": data["total_queries"],
                "query": data["query"],
            }
        )
    elif event.type is EventType.SECTION_COMPLETED:
        html = data["section_content"]
        if not image_mode:
            for start in range(0, len(html), CHUNK):
                yield _section(data, html[start : start + CHUNK], image_mode=False)
        yield _section(data, "", image_mode=image_mode, complete=html)


def _section(data: dict[str, Any], chunk: str, *, image_mode: bool, complete: str | None = None) -> Frame:
    return server_event(
        {
            "section_index": data["section_index"],
            "heading": data["section_heading"],
            "html_content_chunk": chunk,
            "is_complete": complete is not None,
            "section_complete_content": complete,
            "image_placeholders": data["image_placeholders"] if image_mode else [],
            "is_image_mode": image_mode,
        }
    )


_MESSAGES = {
    Step.START: "The generation has been started",
    Step.PERSONA_GENERATED: "Choose a persona",
    Step.THEME_PROPOSED: "Choose a theme",
    Step.RESEARCH_PLAN_GENERATED: "Approve the research plan",
    Step.OUTLINE_GENERATED: "Approve the outline",
    Step.COMPLETED: "The article is finished",
}
