"""What every log of a process must be."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from reference_server.generation.views import StoredEvent
from toolkit.contract.events import TERMINAL, Category, EventType, missing_keys
from toolkit.contract.statuses import legal_status_changes
from toolkit.contract.steps import Flow, legal_step_changes


def check_log(
    events: Sequence[StoredEvent], flow: Flow = Flow.RESEARCH_FIRST, *, final_editing: bool = True
) -> list[str]:
    """The event types, after checking the log: gap-free, complete in its data, legal in its changes, with one end."""
    assert [e.event_sequence for e in events] == list(range(1, len(events) + 1))
    assert events[0].event_type == EventType.PROCESS_CREATED
    created = [e.created_at for e in events]
    assert created == sorted(created)
    for event in events:
        assert not missing_keys(event.event_type, event.event_data), event
    progress = [e.event_data["progress_percentage"] for e in events if "progress_percentage" in e.event_data]
    assert progress == sorted(progress)
    assert changes(events, "status") <= {(str(a), str(b)) for a, b in legal_status_changes()}
    failures = [e for e in events if e.event_type == EventType.STATUS_CHANGED and e.event_data["status"] == "error"]
    assert len(failures) == sum(e.event_type == EventType.GENERATION_ERROR for e in events)
    legal = {(str(a), str(b)) for a, b in legal_step_changes(flow, final_editing=final_editing)}
    assert changes(events, "current_step") <= legal
    # What a person appends by hand may come at any time.
    ours = [e.event_type for e in events if e.event_category != Category.MANUAL]
    for end, after in itertools.pairwise(ours):
        if end in set(TERMINAL):
            assert (end, after) == (EventType.GENERATION_ERROR, EventType.GENERATION_RESUMED)
    return [e.event_type for e in events]


def changes(events: Sequence[StoredEvent], what: str) -> set[tuple[str, str]]:
    """The (from, to) pairs that the trigger recorded for `status` or `current_step`."""
    found = (e.event_data["changes"].get(what) for e in events if e.event_category == "process_state")
    return {(pair[0], pair[1]) for pair in found if pair and pair[0] is not None}
