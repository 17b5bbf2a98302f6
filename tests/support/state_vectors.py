"""Test vectors of the fold from events to what a user sees, as `recovery_vectors` are those of the stream.

A vector is one process as a server might tell it, and the state after each event: {"events": [{…}], "states": [{…}]}.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tests.support.recovery_vectors import camel
from toolkit.client.events import event_from_row
from toolkit.client.state import GenerationState
from toolkit.contract.events import EventType
from toolkit.contract.prompts import InputType, ResponseType
from toolkit.contract.statuses import Status
from toolkit.contract.steps import Step

_PROPOSED = {
    "personas": [{"id": 0, "description": "主婦"}, {"id": 1}],
    "themes": [{"title": "a"}],
    "plan": {"topic": "t", "queries": ["q"]},
    "outline": {"title": "o", "sections": []},
}
_PICTURES = ([], [{"placeholder_id": "p1", "alt_text": "x"}], [{"placeholder_id": "p1"}, {"placeholder_id": "p2"}])


def vectors(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """`count` processes, the same for the same seed."""
    for number in range(count):
        chance = random.Random(f"{seed}:{number}")
        state, rows, states = GenerationState(), [], []
        for sequence in range(1, chance.randint(10, 50)):
            told = sequence if chance.random() < 0.95 else chance.randint(1, sequence)  # once more, or out of order
            rows.append(_row(chance, told))
            state = state.apply(event_from_row(rows[-1], via="live", received_at=0.0))
            states.append(_written(state))
        yield {"events": rows, "states": states}


def _row(chance: random.Random, sequence: int) -> dict[str, Any]:
    kind = chance.choice([*EventType, "something_new"])
    return {
        "id": str(sequence),
        "event_type": str(kind),
        "event_sequence": sequence,
        "process_id": "p",
        "event_data": _data(chance),
    }


def _data(chance: random.Random) -> Any:
    """Anything that any event may carry; each kind reads its own."""
    if chance.random() < 0.05:
        return chance.choice((None, {}, []))
    step = chance.choice([*Step, None])
    some = {
        "status": chance.choice([*Status]),
        "current_step": step,
        "step_name": step,
        "resume_step": step,
        "progress_percentage": chance.randint(0, 100),
        "is_waiting_for_input": chance.random() < 0.5,
        "input_type": chance.choice([*InputType, None]),
        "timeout_at": chance.choice((None, "2025-07-27T00:00:00Z")),
        "data": {key: value for key, value in _PROPOSED.items() if chance.random() < 0.5},
        "user_response": {
            "response_type": chance.choice([*ResponseType]),
            "payload": chance.choice(({}, {"approved": False}, {"approved": True}, None)),
        },
        "total_queries": chance.choice((None, 0, 3)),
        "completed_queries": chance.randint(0, 3),
        "section_index": chance.randint(0, 3),
        "section_heading": "見出し",
        "section_content": f"<p>{chance.random()}</p>",
        "total_sections": chance.choice((None, 4)),
        "image_placeholders": chance.choice(_PICTURES),
        "placeholders": chance.choice((None, *_PICTURES)),
        "title": "t",
        "article_id": chance.choice((None, "a1")),
        "final_html_content": "<h1>t</h1>",
        "error_message": chance.choice((None, "boom")),
    }
    return {key: value for key, value in some.items() if chance.random() < 0.7}


def _written(state: GenerationState) -> dict[str, Any]:
    told = {camel(name): value for name, value in vars(state).items()}
    for name in ("researchProgress", "sectionsProgress"):
        if told[name] is not None:
            done, total = told[name]
            told[name] = {"done": done, "total": total}
    told["completedSections"] = [vars(section) for section in state.completed_sections]
    return told | {"isFinished": state.is_finished}
