"""What users may do with a process, and what they are refused."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from reference_server.generation import errors
from reference_server.generation.deterministic_writer import DeterministicWriter
from reference_server.store import reads
from tests.support.generation import USER, bench, eventually, request
from tests.support.logs import changes, check_log
from toolkit.contract.prompts import InputType
from toolkit.contract.statuses import Status

SLOW = DeterministicWriter(7, step_latency_s=0.15)


async def test_the_same_start_key_starts_once(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        starts = await asyncio.gather(
            *(b.service.start(USER, request(), idempotency_key="k1", request_digest="d") for _ in range(8))
        )
        assert len({started.process_id for started in starts}) == 1
        assert [started.replayed for started in starts].count(False) == 1
        assert (await b.service.start("user_other", request(), idempotency_key="k1")).replayed is False
        with pytest.raises(errors.IdempotencyKeyReused):
            await b.service.start(USER, request(), idempotency_key="k1", request_digest="other")
        assert await b.pool.fetchval("select count(*) from background_tasks") == 2


async def test_what_a_start_may_not_name(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        organization = await b.pool.fetchval(
            "insert into organizations (name, owner_user_id) values ('o', 'boss') returning id"
        )
        template = await b.pool.fetchval(
            "insert into style_guide_templates (user_id, name) values ('boss', 't') returning id"
        )
        with pytest.raises(errors.OrganizationNotFound):
            await b.service.start(USER, request(), organization_id=organization)
        for wrong in (str(template), str(uuid4()), "no uuid"):
            with pytest.raises(errors.StyleTemplateNotFound):
                await b.service.start(USER, request(style_template_id=wrong))
        with pytest.raises(errors.OrganizationNotFound, match="no organization"):
            await b.service.start(USER, request(), organization_id=uuid4(), trusted=True)
        with pytest.raises(errors.StyleTemplateNotFound):
            await b.service.start(USER, request(style_template_id=str(uuid4())), trusted=True)
        assert await b.pool.fetchval("select count(*) from generated_articles_state") == 0

        await b.pool.execute(
            "insert into organization_members (organization_id, user_id) values ($1, $2)", organization, USER
        )
        process_id = (await b.service.start(USER, request(), organization_id=organization)).process_id
        for user, belongs in ((USER, True), ("stranger", False)):
            access = await reads.process_access(b.pool, process_id, user)
            assert access is not None
            assert access.member is belongs


async def test_of_two_answers_at_once_one_counts(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        b.worker()
        process_id = await b.start()
        await b.until_waiting(process_id, InputType.SELECT_PERSONA)
        results = await asyncio.gather(
            *(b.service.answer(process_id, "select_persona", {"selected_id": i % 3}) for i in range(6)),
            return_exceptions=True,
        )
        refused = [r for r in results if isinstance(r, errors.NotWaiting | errors.UnexpectedResponse)]
        assert len(refused) == 5, results
        await b.until_waiting(process_id, InputType.SELECT_THEME)
        types = check_log(await b.events(process_id))
        assert types.count("user_input_resolved") == 1


async def test_a_repeated_answer_is_replayed(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        b.worker()
        process_id = await b.start()
        await b.until_waiting(process_id, InputType.SELECT_PERSONA)
        send = b.service.answer
        first = await send(process_id, "select_persona", {"selected_id": 1}, idempotency_key="a")
        again = await send(process_id, "select_persona", {"selected_id": 1}, idempotency_key="a")
        assert (first.replayed, again.replayed) == (False, True)
        assert (first.input_type, first.next_step) == (again.input_type, again.next_step)
        with pytest.raises(errors.IdempotencyKeyReused):
            await send(process_id, "select_persona", {"selected_id": 2}, idempotency_key="a")
        view = await b.to_the_end(process_id)
        assert view.context is not None
        assert view.context.selected_persona == view.context.personas[1]
        assert (await send(process_id, "select_persona", {"selected_id": 1}, idempotency_key="a")).replayed


@pytest.mark.parametrize(
    ("response_type", "payload", "error", "says"),
    [
        ("select_theme", {"selected_index": 0}, errors.UnexpectedResponse, "expected select_persona, got select_theme"),
        ("SKIP", {}, errors.UnexpectedResponse, "got SKIP"),
        ("select_persona", {"selected_id": -1}, errors.AnswerRefused, "from 0 to 2"),
        ("select_persona", {"selected_id": 3}, errors.AnswerRefused, "from 0 to 2"),
        ("select_persona", {"selected_id": True}, errors.AnswerRefused, "whole number"),
        ("select_persona", {}, errors.AnswerRefused, "selected_id is missing"),
        ("edit_and_proceed", {"edited_content": {"descripton": "x"}}, errors.AnswerRefused, "description is missing"),
        ("edit_persona", {"edited_persona": {"description": " "}}, errors.AnswerRefused, "must not be empty"),
    ],
)
async def test_a_refused_answer_leaves_the_prompt_open(
    emptied_db: str, response_type: str, payload: dict[str, Any], error: type[Exception], says: str
) -> None:
    async with bench(emptied_db) as b:
        b.worker()
        process_id = await b.start()
        before = await b.until_waiting(process_id, InputType.SELECT_PERSONA)
        with pytest.raises(error, match=says):
            await b.service.answer(process_id, response_type, payload)
        after = await b.service.get(process_id)
        assert after == before


async def test_an_answer_after_the_prompts_time_is_late_although_nobody_swept(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        b.worker(sweep_seconds=3600)
        process_id = await b.start()
        await b.until_waiting(process_id, InputType.SELECT_PERSONA)
        await b.pool.execute(
            "update generated_articles_state set user_input_timeout = now() - interval '1 s' where id = $1", process_id
        )
        before = await b.events(process_id)
        with pytest.raises(errors.NotWaiting, match="time is over") as late:
            await b.service.answer(process_id, "select_persona", {"selected_id": 0})
        assert "resume" in late.value.remedy
        assert await b.events(process_id) == before


async def test_pausing_at_a_gate_and_resuming_puts_the_question_again(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        b.worker()
        process_id = await b.start()
        asked = await b.until_waiting(process_id, InputType.SELECT_PERSONA)
        assert (await b.service.pause(process_id)).changed
        before = await b.events(process_id)
        assert not (await b.service.pause(process_id)).changed
        assert await b.events(process_id) == before
        with pytest.raises(errors.NotWaiting):
            await b.service.answer(process_id, "select_persona", {"selected_id": 0})
        assert not (await b.service.get(process_id)).is_waiting_for_input
        resumed = await b.service.resume(process_id)
        assert resumed.status is Status.USER_INPUT_REQUIRED
        again = await b.service.get(process_id)
        assert again.prompt == asked.prompt
        assert (await b.to_the_end(process_id)).status is Status.COMPLETED
        check_log(await b.events(process_id))


async def test_pausing_a_step_under_way_discards_it_and_resuming_does_it_again(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        b.worker(SLOW)
        process_id = await b.start()
        for prompt in (InputType.SELECT_PERSONA, InputType.SELECT_THEME, InputType.APPROVE_PLAN):
            await b.answer(process_id, prompt)
        await b.until(process_id, lambda view: view.executing_step == "researching")
        await b.service.pause(process_id)
        paused = await b.events(process_id)
        assert paused[-1].event_type == "generation_paused"
        await eventually(
            lambda: _none(b, "select count(*) from background_tasks where status = 'running'"), "no task runs"
        )
        assert await b.events(process_id) == paused
        assert (await b.service.resume(process_id)).status is Status.RESUMING
        assert (await b.to_the_end(process_id)).status is Status.COMPLETED
        types = check_log(await b.events(process_id))
        assert types.count("research_progress") == 3
        assert types.count("generation_started") == 1


async def test_nothing_follows_a_cancellation(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        worker = b.worker(SLOW)
        process_id = await b.start()
        await b.until(process_id, lambda view: view.executing_step == "persona_generating")
        assert (await b.service.cancel(process_id)).changed
        cancelled = await b.events(process_id)
        assert check_log(cancelled)[-1] == "generation_cancelled"

        async def idle() -> bool:
            return worker.status.running == 0

        await eventually(idle, "the worker lets go of the task")
        assert not (await b.service.cancel(process_id)).changed
        assert await b.events(process_id) == cancelled
        for refused in (b.service.resume, b.service.pause):
            with pytest.raises(errors.ActionNotAllowed, match="cancelled"):
                await refused(process_id)
        assert await _none(b, "select count(*) from background_tasks where status in ('pending', 'running', 'paused')")


async def test_cancelling_at_a_gate_and_while_paused(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        b.worker()
        for pause_first in (False, True):
            process_id = await b.start()
            await b.until_waiting(process_id, InputType.SELECT_PERSONA)
            if pause_first:
                await b.service.pause(process_id)
            await b.service.cancel(process_id)
            assert check_log(await b.events(process_id))[-1] == "generation_cancelled"
            assert not (await b.service.get(process_id)).is_waiting_for_input


async def test_an_error_is_the_last_word_until_it_is_resumed(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        broken = b.worker(DeterministicWriter(7, failure_rate=1.0))
        process_id = await b.start()
        view = await b.until(process_id, lambda view: view.status is Status.ERROR)
        events = await b.events(process_id)
        assert check_log(events)[-1] == "generation_error"
        assert [e.event_type for e in events].count("task_retry_scheduled") == 3
        assert (view.current_step, view.resume_from_step) == ("error", "keyword_analyzing")
        assert "injected" in (view.error_message or "")
        with pytest.raises(errors.ActionNotAllowed):
            await b.service.pause(process_id)
        await b.kill(broken)
        await b.service.resume(process_id)
        b.worker()
        assert (await b.to_the_end(process_id)).status is Status.COMPLETED
        events = await b.events(process_id)
        check_log(events)
        assert ("error", "resuming") in changes(events, "status")


async def test_pages_of_processes_events_and_articles(emptied_db: str) -> None:
    async with bench(emptied_db) as b:
        b.worker()
        done = await b.start(auto_mode=True)
        await b.completed(done)
        others = [await b.start(user="someone") for _ in range(5)]
        seen, cursor = [], None
        while True:
            page = await b.service.list_processes("someone", limit=2, cursor=cursor)
            seen += [p.process_id for p in page.processes]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == others[::-1]
        only = await b.service.list_processes(USER, status=Status.COMPLETED)
        assert [(p.process_id, p.keywords) for p in only.processes] == [(done, ("家庭菜園", "初心者"))]
        for wrong in ("x", "eA==", "MjAyNS0wMS0wMXxh"):
            with pytest.raises(errors.InvalidCursor):
                await b.service.list_processes(USER, cursor=wrong)
        whole = await b.events(done)
        page = await b.service.events(done, since_sequence=10, limit=5)
        assert page.events == tuple(whole[10:15])
        assert (page.last_sequence, page.oldest_sequence) == (len(whole), 1)
        picked = await b.service.events(done, event_types=("step_started",), limit=500)
        assert {e.event_type for e in picked.events} == {"step_started"}
        empty = await b.service.events(done, since_sequence=10_000)
        assert (empty.events, empty.last_sequence, empty.oldest_sequence) == ((), len(whole), 1)
        articles = await b.service.list_articles(USER)
        assert [a.generation_process_id for a in articles.articles] == [done]
        tried = await b.service.test_event(done, "hello")
        with pytest.raises(errors.NotFound):
            await b.service.test_event(uuid4(), "hello")
        assert (tried.event_sequence, tried.event_data) == (len(whole) + 1, {"message": "hello"})
        for _ in range(2):
            await b.service.acknowledge(done, tried.id, USER)
        assert await b.pool.fetchval("select acknowledged_by from process_events where id = $1", tried.id) == [USER]
        for missing in (b.service.get, b.service.events, b.service.pause, b.service.get_article):
            with pytest.raises(errors.NotFound):
                await missing(uuid4())
        with pytest.raises(errors.NotFound):
            await b.service.acknowledge(done, uuid4(), USER)
        for process_id in others:
            await b.until_waiting(process_id, InputType.SELECT_PERSONA)
        status = await b.service.queue_status()
        assert status.queue["completed"] >= 9
        assert status.queue["running"] == status.expired_leases == 0


async def _none(b: Any, query: str) -> bool:
    return int(await b.pool.fetchval(query)) == 0
