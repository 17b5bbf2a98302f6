"""How Postgres runs every statement of ours that runs under row security, where there are many rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from reference_server.realtime.changes.visibility import visibility_query
from reference_server.realtime.sockets import policies
from reference_server.replication.catalog import Catalog
from toolkit.sql import probes

PUBLISHED = ("articles", "background_tasks", "generated_articles_state", "image_placeholders", "process_events")
# Below the rows of each table, above those of one process and one round of questions.
MOST_ROWS = 500
PROCESS = UUID("00000000-0000-4000-8000-000000010001")
_ID = "('00000000-0000-4000-8000-0000000' || n + 10000)::uuid"
# Without triggers. 200,000 events, as deep as a busy system's; of the others enough that a scan shows.
_MANY_ROWS = f"""
set session_replication_role = replica;
insert into process_events (id, process_id, event_type, event_sequence, created_at)
  select ('00000000-0000-4000-8000-000000' || n * 50 + sequence + 100000)::uuid, {_ID}, 'test_event', sequence, now()
  from generate_series(1, 4000) n, generate_series(1, 50) sequence;
insert into generated_articles_state (id, user_id) select {_ID}, 'user_' || n from generate_series(1, 4000) n;
insert into background_tasks (id, process_id, task_type) select {_ID}, {_ID}, 'test' from generate_series(1, 4000) n;
insert into articles (id, user_id, title) select {_ID}, 'user_' || n, 't' from generate_series(1, 4000) n;
insert into image_placeholders (id, article_id, placeholder_id, description_jp, prompt_en)
  select {_ID}, {_ID}, 'p', '', '' from generate_series(1, 4000) n;
insert into realtime.messages (id, topic, extension, event, payload, private)
  select {_ID}, 'room', 'broadcast', 'probe', '{{}}', true from generate_series(1, 4000) n;
create policy members on realtime.messages for all to authenticated
  using (realtime.topic() = 'room') with check (realtime.topic() = 'room');
analyze generated_articles_state, process_events, background_tasks, articles, image_placeholders, realtime.messages;
"""
# The look-up as it must not be written: the newest minor of 15 does not trust the cast of a key to see rows before the
# policies do, and reads the table instead.
CAST_IN_COMPARISON = """
select (select true from process_events t where t.id = (k.v ->> 0)::uuid limit 1)
from jsonb_array_elements('[["00000000-0000-4000-8000-000000300050"]]') k (v)
"""
_AS_A_USER = """
select set_config('role', 'authenticated', true), set_config('realtime.topic', 'room', true),
       set_config('request.jwt.claims', '{"role": "authenticated", "sub": "user_1"}', true)
"""


@dataclass(frozen=True)
class Ran:
    """`rows` is the most that one node of the plan read, those it threw away included."""

    rows: int
    plan: str


async def with_many_rows(dsn: str) -> None:
    """Fills a migrated database."""
    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        await conn.execute(_MANY_ROWS, timeout=60)
    finally:
        await conn.close(timeout=5)


async def ran_under_row_security(dsn: str, **also: str) -> Mapping[str, Ran]:
    """What each statement, and those `also` given, did as a signed-in user on a database that was filled before."""
    found = {}
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1, statement_cache_size=0) as pool:
        catalog = Catalog(pool, "supabase_realtime")
        for table in PUBLISHED:
            (facts,) = await catalog.published("public", table)
            async with pool.acquire() as conn, conn.transaction():
                keys = await conn.fetchval(f"select json_agg(array[id]) from (select id from {table} limit 100) few")
                await conn.execute(_AS_A_USER)
                found[f"may see rows of {table}"] = await _run(conn, visibility_query(facts), keys)
        statements: dict[str, tuple[str, list[Any]]] = {
            f"probe of {table}": (query, [PROCESS]) for table, query in probes.VISIBLE.items()
        }
        statements["events that the owner sees"] = probes.VISIBLE_SEQUENCES, [PROCESS]
        statements["a private channel is written to"] = policies.WRITE, ["room", "broadcast"]
        ids = [UUID(int=1), UUID(int=2)]
        statements["a private channel is read"] = policies.VISIBLE, [ids]
        statements |= {what: (query, []) for what, query in also.items()}
        for what, (query, args) in statements.items():
            async with pool.acquire() as conn, conn.transaction():
                await conn.execute(policies.PROBE_ROWS, "room", ids)
                await conn.execute(_AS_A_USER)
                found[what] = await _run(conn, query, *args)
    return found


async def _run(conn: Any, query: str, *args: object) -> Ran:
    (found,) = json.loads(await conn.fetchval(f"explain (analyze, format json) {query}", *args))
    return Ran(_most_rows(found["Plan"]), json.dumps(found["Plan"], indent=1))


def _most_rows(node: Mapping[str, Any]) -> int:
    read = sum(value for name, value in node.items() if name == "Actual Rows" or name.startswith("Rows Removed by"))
    return max([int(read * node["Actual Loops"]), *map(_most_rows, node.get("Plans", ()))])
