"""Whole generations: service and worker on a real database, judged by the log they leave."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from reference_server.generation.content import Persona, Theme
from reference_server.generation.context import to_json
from tests.support.generation import USER, bench
from tests.support.logs import changes, check_log
from toolkit.contract.prompts import PROMPTS, InputType
from toolkit.contract.requests import AutoStrategy
from toolkit.contract.statuses import Status
from toolkit.contract.steps import Flow


@pytest.mark.parametrize("flow", list(Flow))
@pytest.mark.parametrize("image_mode", [False, True])
async def test_a_whole_generation(emptied_db: str, flow: Flow, image_mode: bool) -> None:
    async with bench(emptied_db) as b:
        b.worker()
        process_id = await b.start(flow_type=flow, image_mode=image_mode)
        view = await b.to_the_end(process_id)

        assert view.status is Status.COMPLETED
        assert view.progress_percentage == 100
        assert view.article_id is not None
        events = await b.events(process_id)
        types = check_log(events, flow)
        assert types[-1] == "generation_completed"
        assert types.count("generation_started") == types.count("generation_completed") == 1
        assert types.count("user_input_required") == types.count("user_input_resolved") == 4
        assert types.count("section_completed") == types.count("section_writing_started") == 4
        assert types.count("research_progress") == 3
        assert types.count("image_placeholders_generated") == image_mode
        assert len(events) == view.last_event_sequence

        article = await b.service.get_article(view.article_id, USER)
        assert article.generation_process_id == process_id
        assert article.user_id == USER
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


@pytest.mark.parametrize("strategy", list(AutoStrategy))
@pytest.mark.parametrize("flow", list(Flow))
async def test_auto_mode_answers_every_prompt_itself(emptied_db: str, flow: Flow, strategy: AutoStrategy) -> None:
    async with bench(emptied_db) as b:
        b.worker()
        process_id = await b.start(
            flow_type=flow, auto_mode=True, auto_selection_strategy=strategy, enable_final_editing=False
        )
        view = await b.completed(process_id)
        events = await b.events(process_id)
        types = check_log(events, flow, final_editing=False)
        assert types.count("auto_selection_made") == 4
        assert "user_input_required" not in types
        assert changes(events, "status") == {("auto_progressing", "completed")}
        assert "editing" not in {e.event_data.get("step_name") for e in events}
        assert (await b.service.get_article(view.article_id)).content.startswith("<h1>")


async def test_regenerating_and_editing_every_prompt(emptied_db: str) -> None:
    edits = {
        InputType.SELECT_PERSONA: {"description": "週末だけ畑に出る人"},
        InputType.SELECT_THEME: {"title": "ベランダ菜園", "description": "狭い場所で", "keywords": ["ベランダ"]},
        InputType.APPROVE_PLAN: {"topic": "土", "queries": ["土の選び方", {"query": "肥料", "focus": "量"}]},
        InputType.APPROVE_OUTLINE: {"title": "土の話", "suggested_tone": "静か", "sections": ["一", {"heading": "二"}]},
    }
    async with bench(emptied_db) as b:
        b.worker()
        process_id = await b.start(num_persona_examples=2)
        for prompt in PROMPTS:
            first = (await b.until_waiting(process_id, prompt.input_type)).prompt
            again = await b.service.answer(process_id, "regenerate", {})
            assert (again.input_type, again.regenerates) == (prompt.input_type, True)
            second = (await b.until_waiting(process_id, prompt.input_type)).prompt
            assert first
            assert second
            assert first.data.keys() == second.data.keys() == {prompt.proposals}
            assert first.data != second.data
            await b.service.answer(process_id, "edit_and_proceed", {"edited_content": edits[prompt.input_type]})
        view = await b.completed(process_id)
        types = check_log(await b.events(process_id))
        assert types.count("user_input_required") == 8
        assert view.context is not None
        assert view.context.selected_persona == Persona(2, "週末だけ畑に出る人")
        assert view.context.selected_theme == Theme("ベランダ菜園", "狭い場所で", ("ベランダ",))
        assert [r.query for r in view.context.research_results] == ["土の選び方", "肥料"]
        assert [s.heading for s in view.context.sections] == ["一", "二"]
        article = await b.service.get_article(view.article_id)
        assert article.title == "土の話"
        assert article.target_audience == "週末だけ畑に出る人"


async def test_the_same_request_makes_the_same_article_on_any_worker(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        b.worker(concurrency=2)
        b.worker(concurrency=2)
        processes = [await b.start() for _ in range(6)]
        views = await asyncio.gather(*(b.to_the_end(process_id) for process_id in processes))
        contents = {(await b.service.get_article(view.article_id)).content for view in views}
        assert len(contents) == 1
        for process_id in processes:
            check_log(await b.events(process_id))


@pytest.mark.parametrize("saved", ["keyword_analyzed", "persona_selected", "theme_selected", "outline_approved"])
async def test_a_row_saved_by_the_old_server_on_a_transient_step_goes_on(emptied_db: str, saved: str) -> None:
    async with bench(emptied_db) as b:
        b.worker()
        donor = await b.start()
        view = await b.to_the_end(donor)
        assert view.context is not None
        context = to_json(replace(view.context, sections=(), article=None, turn=0, revision=0))
        legacy = await b.pool.fetchval(
            """insert into generated_articles_state
                 (user_id, status, article_context, current_step_name, process_metadata)
               values ($1, 'paused', $2, $3, '{"transport": "websocket"}') returning id""",
            USER,
            context,
            saved,
        )
        resumed = await b.service.resume(legacy)
        assert resumed.status is Status.RESUMING
        assert (await b.to_the_end(legacy)).status is Status.COMPLETED
        check_log(await b.events(legacy))
        assert (await b.service.get(legacy)).transport == "realtime"


async def test_a_row_of_a_version_we_do_not_know_fails_with_its_reason(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        process_id = await b.start()
        await b.pool.execute(
            "update generated_articles_state set current_step_name = 'serp_analyzing' where id = $1", process_id
        )
        b.worker()
        view = await b.until(process_id, lambda view: view.status is Status.ERROR)
        assert "serp_analyzing" in (view.error_message or "")
        assert [e.event_type for e in await b.events(process_id)][-1] == "generation_error"
