"""The contract and the database's constraints say the same."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from toolkit.contract.events import Category, EventType, Source, missing_keys
from toolkit.contract.prompts import InputType
from toolkit.contract.statuses import RUNNING, TRANSITIONS, Action, Status
from toolkit.contract.tasks import PRIORITY, TASK_CHANNEL, TaskStatus, realtime_channel

Connect = Callable[[str], Awaitable[asyncpg.Connection]]


async def test_statuses_are_the_enum(migrated_db: str, connect: Connect) -> None:
    conn = await connect(migrated_db)
    labels = await conn.fetch("select unnest(enum_range(null::public.generation_status))::text as label")
    assert {row["label"] for row in labels} == set(Status)


async def test_task_statuses_are_the_check_constraint(migrated_db: str, connect: Connect) -> None:
    conn = await connect(migrated_db)
    definition = await conn.fetchval(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'background_tasks_status_check'"
    )
    assert set(re.findall(r"'(\w+)'", definition)) == set(TaskStatus)


@pytest.mark.parametrize("status", list(Status))
async def test_only_running_processes_have_their_tasks_claimed(
    migrated_db: str, connect: Connect, status: Status
) -> None:
    conn = await connect(migrated_db)
    process = await conn.fetchval(
        "insert into generated_articles_state (user_id, status) values ('u', $1) returning id", status.value
    )
    await conn.execute("select enqueue_background_task($1, 'generation_start')", process)
    claimed = await conn.fetch("select * from claim_background_task('w')")
    assert bool(claimed) == (status in RUNNING)


@pytest.mark.parametrize("status", list(Status))
async def test_the_prompt_functions_follow_the_transition_table(
    migrated_db: str, connect: Connect, status: Status
) -> None:
    conn = await connect(migrated_db)
    process = await conn.fetchval(
        """insert into generated_articles_state (user_id, status, is_waiting_for_input, input_type)
           values ('u', $1, $2, case when $2 then 'select_persona' end) returning id""",
        status.value,
        status is Status.USER_INPUT_REQUIRED,
    )

    async def accepted(statement: str) -> bool:
        try:
            async with conn.transaction():
                await conn.execute(statement, process)
        except asyncpg.ObjectNotInPrerequisiteStateError:
            return False
        return True

    may_ask = (status, Action.ASK) in TRANSITIONS
    may_reopen = may_ask or (status, Action.REOPEN) in TRANSITIONS
    may_answer = (status, Action.ANSWER) in TRANSITIONS
    assert await accepted("select resolve_user_input($1, '{}')") == may_answer
    if not may_answer:
        assert await accepted("select mark_process_waiting_for_input($1, 'select_theme')") == may_ask
    if not may_answer and not may_ask:
        reopen = "select mark_process_waiting_for_input($1, 'select_theme', p_reopen => true)"
        assert await accepted(reopen) == may_reopen


async def test_a_prompt_has_a_type_and_takes_no_answer_after_its_time(migrated_db: str, connect: Connect) -> None:
    conn = await connect(migrated_db)
    process = await conn.fetchval("insert into generated_articles_state (user_id) values ('u') returning id")
    for nothing in (None, ""):
        with pytest.raises(asyncpg.NullValueNotAllowedError, match="input type"):
            await conn.execute("select mark_process_waiting_for_input($1, $2)", process, nothing)
    await conn.execute("select mark_process_waiting_for_input($1, 'select_theme')", process)
    await conn.execute(
        "update generated_articles_state set user_input_timeout = now() - interval '1 s' where id = $1", process
    )
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="was open until"):
        await conn.execute("select resolve_user_input($1, '{}')", process)


async def test_what_the_database_writes_satisfies_the_specification(migrated_db: str, connect: Connect) -> None:
    conn = await connect(migrated_db)
    process = await conn.fetchval("insert into generated_articles_state (user_id) values ('u') returning id")
    await conn.execute("select mark_process_waiting_for_input($1, $2)", process, InputType.SELECT_PERSONA.value)
    await conn.execute("select resolve_user_input($1, '{}')", process)
    await conn.execute(
        "update generated_articles_state set current_step_name = 'editing', progress_percentage = 95 where id = $1",
        process,
    )
    rows = await conn.fetch("select * from process_events where process_id = $1 order by event_sequence", process)
    seen = {row["event_type"] for row in rows}
    assert seen == {
        EventType.PROCESS_CREATED,
        EventType.STATUS_CHANGED,
        EventType.INPUT_REQUIRED,
        EventType.USER_INPUT_REQUIRED,
        EventType.INPUT_RESOLVED,
        EventType.USER_INPUT_RESOLVED,
        EventType.STEP_CHANGED,
        EventType.PROGRESS_UPDATED,
    }
    for row in rows:
        assert missing_keys(row["event_type"], json.loads(row["event_data"])) == frozenset(), row["event_type"]
        assert row["event_category"] in set(Category)
        assert row["event_source"] in set(Source)
    created = json.loads(rows[0]["event_data"])
    assert created["realtime_channel"] == realtime_channel(str(process))


async def test_a_new_task_wakes_who_listens(migrated_db: str, connect: Connect) -> None:
    listener, conn = await connect(migrated_db), await connect(migrated_db)
    woken = asyncio.Event()
    await listener.add_listener(TASK_CHANNEL, lambda *_: woken.set())
    process = await conn.fetchval("insert into generated_articles_state (user_id) values ('u') returning id")
    for task_type, priority in PRIORITY.items():
        await conn.execute(
            "select enqueue_background_task($1, $2, p_priority => $3)", process, task_type.value, priority
        )
    async with asyncio.timeout(10):
        await woken.wait()
    first = await conn.fetchval("select task_type from claim_background_task('w')")
    assert first == max(PRIORITY, key=lambda t: PRIORITY[t])
