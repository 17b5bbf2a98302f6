"""The embedded cluster: what Supabase offers on arrival is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg

Connect = Callable[[str], Awaitable[asyncpg.Connection]]


async def test_a_bare_database_looks_like_a_supabase_project(bare_db: str, connect: Connect) -> None:
    conn = await connect(bare_db)
    assert await conn.fetchval("show wal_level") == "logical"
    roles = {r["rolname"] for r in await conn.fetch("select rolname from pg_roles")}
    assert {"anon", "authenticated", "service_role"} <= roles
    assert await conn.fetchval("select 1 from pg_publication where pubname = 'supabase_realtime'") == 1


async def test_claims_that_were_reset_read_as_absent(bare_db: str, connect: Connect) -> None:
    conn = await connect(bare_db)
    async with conn.transaction():
        await conn.execute("select set_config('request.jwt.claims', '{\"role\":\"anon\"}', true)")
        assert await conn.fetchval("select auth.role()") == "anon"
    # After a local setting ends, Postgres reports '' and a plain ::jsonb cast would raise (defect D6).
    assert await conn.fetchval("select auth.jwt()") is None
    assert await conn.fetchval("select auth.role()") is None
