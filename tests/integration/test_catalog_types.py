"""Types that are announced anew while somebody subscribes are loaded again, never missing meanwhile."""

from __future__ import annotations

import asyncpg

from reference_server.replication.catalog import Catalog

UUID_OID = 2950


async def test_a_type_stays_known_between_its_announcement_and_its_next_use(bare_db: str) -> None:
    async with asyncpg.create_pool(bare_db, min_size=1, max_size=2) as pool:
        catalog = Catalog(pool, "supabase_realtime")
        await catalog.load_types([UUID_OID])
        catalog.forget_types()
        # A subscription that loaded it a moment ago is about to read it.
        assert catalog.types[UUID_OID].name == "uuid"


async def test_a_type_that_changed_is_read_again(bare_db: str) -> None:
    async with asyncpg.create_pool(bare_db, min_size=1, max_size=2) as pool:
        await pool.execute("create type public.mood as enum ('fine')")
        oid = await pool.fetchval("select 'public.mood'::regtype::oid::bigint")
        catalog = Catalog(pool, "supabase_realtime")
        await catalog.load_types([oid])
        await pool.execute("alter type public.mood rename to temper")
        await catalog.load_types([oid])
        assert catalog.types[oid].name == "mood", "nobody announced a change yet"
        catalog.forget_types()
        await catalog.load_types([oid])
        assert catalog.types[oid].name == "temper"
        await pool.execute("drop type public.temper")
        catalog.forget_types()
        await catalog.load_types([oid])
        assert catalog.types[oid].name == "text"
