"""The state of a process on the legacy schema, in the body that the migrated schema has too."""

from __future__ import annotations

import re
from typing import Any

import structlog

from reference_server.api.schemas import ProcessState
from reference_server.generation.context import ContextUnreadable, from_json
from reference_server.generation.prompts import prompt_data
from reference_server.generation.views import OpenPrompt
from reference_server.store.values import as_object
from toolkit.contract.prompts import BY_INPUT_TYPE, InputType
from toolkit.contract.statuses import Status

_PLAIN = re.compile(r"[0-9]{4}-[^ ]*$")
_FIRST, _LAST = "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"
log = structlog.get_logger(__name__)


def state_of_row(row: dict[str, Any]) -> ProcessState:
    """`row` by column name; fields whose columns only the migration adds are null."""
    waiting = bool(row["is_waiting_for_input"]) and row["status"] == Status.USER_INPUT_REQUIRED
    shared = {name: row.get(name) for name in ProcessState.model_fields}
    return ProcessState.model_validate(
        shared
        | {
            "process_id": row["id"],
            "current_step": row["current_step_name"] or "start",
            "is_waiting_for_input": waiting,
            "input_type": row["input_type"] if waiting else None,
            "prompt": _prompt(row) if waiting else None,
            "last_event_sequence": 0,
            "transport": _transport(row["process_metadata"]),
            "image_settings": as_object(row["image_settings"]),
            "generated_content": None if row["generated_content"] is None else as_object(row["generated_content"]),
            **{name: _instant(row.get(name)) for name in ("created_at", "updated_at", "user_input_timeout")},
        }
    )


def _transport(metadata: Any) -> str:
    said = as_object(metadata).get("transport")
    return said if said in ("websocket", "realtime") else "websocket"


def _instant(text: str | None) -> str | None:
    """A year that datetime does not have is the first or the last one that it has."""
    if text is None or _PLAIN.match(text):
        return text
    return _FIRST if text.endswith(" BC") or text.startswith("-") else _LAST


def _prompt(row: dict[str, Any]) -> OpenPrompt | None:
    try:
        spec = BY_INPUT_TYPE[InputType(row["input_type"])]
        data = prompt_data(spec.step, from_json(row["article_context"]))
    except (ValueError, ContextUnreadable) as error:
        log.warning("the open prompt cannot be shown", cause=str(error))
        return None
    return OpenPrompt(spec.input_type, data, tuple(sorted(spec.answers)))
