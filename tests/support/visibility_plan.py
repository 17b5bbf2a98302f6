"""How Postgres plans the question which rows a subscriber may see."""

from __future__ import annotations

import json

import asyncpg

from reference_server.realtime.changes.visibility import visibility_query
from reference_server.replication.catalog import Catalog

_AS_A_USER = """
select set_config('role', 'authenticated', true),
       set_config('request.jwt.claims', '{"role": "authenticated", "sub": "user_1"}', true)
"""


async def visibility_plan(dsn: str) -> str:
    """The plan for `process_events` of a migrated database that holds many of them, asked as a signed-in user."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        await pool.execute(
            "insert into generated_articles_state (user_id) select 'user_' || n from generate_series(1, 5) n"
        )
        await pool.execute(
            "select create_process_event(s.id, 'test_event', '{}')"
            " from generated_articles_state s, generate_series(1, 500)"
        )
        await pool.execute("analyze process_events")
        (facts,) = await Catalog(pool, "supabase_realtime").published("public", "process_events")
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(_AS_A_USER)
            keys = json.dumps([["a0000000-0000-4000-8000-00000000000a"]])
            rows = await connection.fetch("explain " + visibility_query(facts).replace("$1", f"'{keys}'::jsonb"))
    return "\n".join(row[0] for row in rows)
