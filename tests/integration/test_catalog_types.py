"""Types and tables that are announced anew while they are being read: never missing meanwhile, never kept stale."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from reference_server.replication.catalog import Catalog
from reference_server.replication.facts import TableFacts

UUID_OID = 2950


class Overtaken(Catalog):
    """A table gets row security, and the stream says so, while its facts are on their way."""

    async def _load_tables(self, oids: Sequence[int]) -> list[TableFacts]:
        found = await super()._load_tables(oids)
        if not found[0].has_rls:
            await self.pool.execute("alter table public.t enable row level security")
            self.forget_table(oids[0])
        return found


async def test_a_table_announced_while_it_is_read_is_read_again(bare_db: str) -> None:
    async with asyncpg.create_pool(bare_db, min_size=1, max_size=2) as pool:
        await pool.execute("create table public.t (id int primary key)")
        oid = await pool.fetchval("select 'public.t'::regclass::oid::bigint")
        catalog = Overtaken(pool, "supabase_realtime")
        facts = await catalog.table(oid)
        assert facts is not None
        assert facts.has_rls, "rows would be shown to everybody until the table is announced again"
        assert catalog.tables[oid] is facts
        assert await catalog.table(oid) is facts


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
