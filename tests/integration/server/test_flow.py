"""Whole generations: service and worker on a real database, judged by the log they leave."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reference_server.generation.views import StoredEvent
from tests.support.generation import USER, bench
from toolkit.contract.events import TERMINAL, missing_keys
from toolkit.contract.statuses import Status, legal_status_changes
from toolkit.contract.steps import Flow, legal_step_changes


def check_log(events: Sequence[StoredEvent], flow: Flow, *, final_editing: bool = True) -> None:
    """What every log must be: gap-free, complete in its data, legal in its changes, with one end."""
    assert [e.event_sequence for e in events] == list(range(1, len(events) + 1))
    assert events[0].event_type == "process_created"
    created = [e.created_at for e in events]
    assert created == sorted(created)
    for event in events:
        assert not missing_keys(event.event_type, event.event_data), event
    progress = [e.event_data["progress_percentage"] for e in events if "progress_percentage" in e.event_data]
    assert progress == sorted(progress)
    statuses = [tuple(e.event_data["changes"]["status"]) for e in events if e.event_type == "status_changed"]
    assert set(statuses) <= {(str(a), str(b)) for a, b in legal_status_changes()}
    steps = [tuple(e.event_data["changes"]["current_step"]) for e in events if e.event_type == "step_changed"]
    assert set(steps) <= {(str(a), str(b)) for a, b in legal_step_changes(flow, final_editing=final_editing)}
    ends = [i for i, e in enumerate(events) if e.event_type in set(TERMINAL)]
    for i in ends[:-1]:
        assert events[i].event_type == "generation_error"
        assert events[i + 1].event_type == "generation_resumed"


@pytest.mark.parametrize("flow", list(Flow))
@pytest.mark.parametrize("image_mode", [False, True])
async def test_a_whole_generation(migrated_db: str, flow: Flow, image_mode: bool) -> None:
    async with bench(migrated_db) as b:
        b.worker()
        process_id = await b.start(flow_type=flow, image_mode=image_mode)
        view = await b.to_the_end(process_id)

        assert view.status is Status.COMPLETED
        assert view.progress_percentage == 100
        assert view.article_id is not None
        events = await b.events(process_id)
        check_log(events, flow)
        types = [e.event_type for e in events]
        assert types[-1] == "generation_completed"
        assert types.count("generation_started") == types.count("generation_completed") == 1
        assert types.count("user_input_required") == types.count("user_input_resolved") == 4
        assert types.count("section_completed") == types.count("section_writing_started") == 4
        assert types.count("research_progress") == 3
        assert types.count("image_placeholders_generated") == image_mode
        assert len(events) == view.last_event_sequence

        article = await b.service.get_article(view.article_id, USER)
        assert article.generation_process_id == process_id
        assert article.owner_user_id == USER
        assert len(article.image_placeholders) == (4 if image_mode else 0)
        for placeholder in article.image_placeholders:
            assert placeholder["placeholder_id"] in article.content
        row = await b.pool.fetchrow("select * from generated_articles_state where id = $1", process_id)
        assert set(row["step_durations"]) == {
            e.event_data["step_name"] for e in events if e.event_type == "step_completed"
        }
        assert row["total_processing_time"].total_seconds() == pytest.approx(
            sum(row["step_durations"].values()), abs=0.01
        )
        open_tasks = await b.pool.fetchval(
            "select count(*) from background_tasks where process_id = $1 and status <> 'completed'", process_id
        )
        assert open_tasks == 0
