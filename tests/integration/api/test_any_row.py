"""Rows as any program may write them, straight into the tables: whatever the constraints allow is answered."""

from __future__ import annotations

import json
import uuid
from typing import Any

import asyncpg
import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from reference_server.api.server_context import ServerContext
from reference_server.api.state_view import state_of_row
from reference_server.store import reads
from reference_server.store.values import DEEPEST, read_json
from tests.integration.api.conftest import client_of
from toolkit.client.events import event_from_row

API = "/api/articles/generation"
DEEP = "[" * 2000 + "]" * 2000
HUGE = ["1e400", "-1e400", "1" * 5000, "123456789012345678901234567890", "1e-400", "0.1"]
INNER: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_characters="\x00", codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["transport", "runner", "a"]), inner),
    max_leaves=6,
)
DOCUMENTS = st.one_of(
    st.sampled_from([DEEP, '{"a": ' + DEEP + "}", "null", '"x"', "[]", "{}", *HUGE]),
    st.sampled_from(HUGE).map(lambda number: f'{{"transport": {number}, "revision": {number}, "title": [{number}]}}'),
    INNER.map(json.dumps),
)
INSTANTS = st.sampled_from(["2026-01-01", "infinity", "-infinity", "4713-01-01 BC", "99999-12-31", "0001-01-01"])
TEXTS = st.sampled_from(["", "start", "paused", "select_persona", "select_theme", "what", "😀", "x" * 500])
STATUSES = st.sampled_from(
    ["in_progress", "user_input_required", "paused", "completed", "error", "cancelled", "resuming", "auto_progressing"]
)
ROW = st.fixed_dictionaries(
    {
        "status": STATUSES,
        "article_context": DOCUMENTS,
        "generated_content": DOCUMENTS | st.none(),
        "step_history": DOCUMENTS,
        "process_metadata": DOCUMENTS,
        "image_settings": DOCUMENTS,
        "interaction_history": DOCUMENTS,
        "step_durations": DOCUMENTS,
        "created_at": INSTANTS,
        "updated_at": INSTANTS,
        "user_input_timeout": INSTANTS | st.none(),
        "current_step_name": TEXTS | st.none(),
        "resume_from_step": TEXTS | st.none(),
        "input_type": TEXTS | st.none(),
        "error_message": TEXTS | st.none(),
        "is_waiting_for_input": st.booleans(),
    }
)


async def written(conn: asyncpg.Connection, row: dict[str, Any], data: str, at: str) -> uuid.UUID:
    """The row and an older event of it that nothing refused when it was written."""
    names = list(row)
    casts = {"status": "generation_status"} | dict.fromkeys(
        ("created_at", "updated_at", "user_input_timeout"), "timestamptz"
    )
    casts |= {name: "jsonb" for name in names if name.split("_")[-1] in {"context", "content", "history", "metadata"}}
    casts |= {"image_settings": "jsonb", "step_durations": "jsonb", "is_waiting_for_input": "boolean"}
    values = ", ".join(f"${place}::text::{casts.get(name, 'text')}" for place, name in enumerate(names, 1))
    texts = [value if value is None or isinstance(value, str) else str(value).lower() for value in row.values()]
    process_id = await conn.fetchval(
        f"insert into generated_articles_state (user_id, {', '.join(names)}) values ('owner', {values}) returning id",
        *texts,
    )
    assert isinstance(process_id, uuid.UUID)
    await conn.execute("set session_replication_role = replica")  # no trigger refuses it
    await conn.execute(
        "insert into process_events (process_id, event_type, event_data, event_sequence, created_at)"
        " values ($1, 'other_app', $2::text::jsonb, 1000, $3::text::timestamptz)",
        process_id,
        data,
        at,
    )
    await conn.execute("set session_replication_role = origin")
    return process_id


async def looked_at(owner: httpx.AsyncClient, process_id: uuid.UUID) -> list[httpx.Response]:
    """Every route that reads or steers the process, the steering ones last."""
    path = f"{API}/{process_id}"
    answers = [await owner.get(one) for one in (path, f"{path}/events", f"{path}/realtime-info", API)]
    event = answers[1].json()[-1]
    answers.append(await owner.post(f"{path}/events/{event['id']}/acknowledge"))
    answers.append(
        await owner.post(f"{path}/user-input", json={"response_type": "select_persona", "payload": {"selected_id": 0}})
    )
    answers += [await owner.post(f"{path}/pause"), await owner.post(f"{path}/resume"), await owner.delete(path)]
    return answers


async def test_whatever_the_constraints_allow_is_answered(server: ServerContext) -> None:
    async with client_of(server, "owner") as owner, server.pool.acquire() as conn:
        tried = 0

        async def one(row: dict[str, Any], data: str, at: str) -> None:
            nonlocal tried
            process_id = await written(conn, row, data, at)
            whole = await reads.process_state(server.pool, process_id)
            assert whole is not None
            state_of_row(whole).model_dump_json()  # as on the legacy schema
            for answer in await looked_at(owner, process_id):
                assert answer.status_code < 500, (answer.request.url.path, answer.text)
                answer.json()
            (event,) = [
                e for e in (await owner.get(f"{API}/{process_id}/events")).json() if e["event_type"] == "other_app"
            ]
            assert isinstance(event["event_data"], dict)
            assert event_from_row(event, via="backfill", received_at=0.0).sequence == 1000
            tried += 1
            await conn.execute("delete from generated_articles_state where id = $1", process_id)

        await _tried(one)
        assert tried >= 40


async def _tried(one: Any) -> None:
    rows: list[tuple[dict[str, Any], str, str]] = []

    @settings(
        max_examples=40,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(ROW, DOCUMENTS, INSTANTS)
    def draw(row: dict[str, Any], data: str, at: str) -> None:
        rows.append((row, data, at))

    draw()
    for row in rows:
        await one(*row)


def test_numbers_and_depth_beyond_json() -> None:
    assert read_json("1e400") == "1e400"
    assert read_json('{"a": [' + "1" * 5000 + ", 2, 0.5]}") == {"a": ["1" * 5000, 2, 0.5]}
    assert json.dumps(read_json("[" * DEEPEST + "]" * DEEPEST)) == "[" * DEEPEST + "]" * DEEPEST
    deeper = json.dumps(read_json('{"b": 1, "a": ' + "[" * 500 + "1, 2" + "]" * 500 + ', "c": "[{"}'))
    assert deeper == '{"b": 1, "a": ' + "[" * 99 + '"nested more than 100 levels deep"' + "]" * 99 + ', "c": "[{"}'
    assert read_json(json.dumps("[" * 1000)) == "[" * 1000
