"""Sequences are never given out twice, also when the migration is rolled back and applied again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg

from toolkit.migrate import Options, migrate_down, migrate_up, snapshot
from toolkit.migrate.catalog import diff
from toolkit.migrate.folder.files import read_folder
from toolkit.resources import migrations_dir

Connect = Callable[[str], Awaitable[asyncpg.Connection]]

STATE = "public.generated_articles_state"
LAST = "select last_sequence from process_event_counters where process_id = $1"
RETAINED = "supabase_migrations.retained_event_counters"


async def new_process(conn: asyncpg.Connection, events: int) -> str:
    process = await conn.fetchval(f"insert into {STATE} (user_id) values ('u') returning id")
    for _ in range(events):
        await conn.execute("select create_process_event($1, 'test_event')", process)
    return str(process)


async def test_down_and_up_goes_on_counting(migrated_db: str, connect: Connect, options: Options) -> None:
    conn, folder = await connect(migrated_db), migrations_dir()
    kept, deleted = await new_process(conn, 14), await new_process(conn, 3)
    migrated = await snapshot(migrated_db)
    legacy = None
    for expected in (16, 17, 18):  # not only the first time
        assert (await migrate_down(migrated_db, read_folder(folder), last=3, options=options)).ok
        before = legacy
        legacy = await snapshot(migrated_db)
        assert before is None or diff(before, legacy) == ()
        # What happens to processes meanwhile; the last round has no process that is gone.
        await conn.execute(f"delete from {STATE} where id = $1::uuid", deleted)
        born = await conn.fetchval(f"insert into {STATE} (user_id) values ('legacy') returning id")
        assert (await migrate_up(migrated_db, read_folder(folder), options=options)).ok
        assert diff(migrated, await snapshot(migrated_db)) == ()
        assert await conn.fetchval("select to_regclass($1) is null", RETAINED)
        await conn.execute("select create_process_event($1, 'test_event')", kept)
        await conn.execute("select create_process_event($1, 'test_event')", born)
        assert await conn.fetchval(LAST, kept) == expected
        assert await conn.fetchval(LAST, born) == 1
        assert await conn.fetchval(LAST, deleted) is None


async def test_a_counter_kept_twice_is_the_greater_one(migrated_db: str, connect: Connect, options: Options) -> None:
    # Somebody lost the counters in between (an older migration file): what is known of before still counts.
    conn, folder = await connect(migrated_db), migrations_dir()
    process = await new_process(conn, 2)
    await conn.execute(
        f"create table {RETAINED} (process_id uuid primary key, last_sequence integer not null);"
        f"insert into {RETAINED} values ('{process}', 500)"
    )
    assert (await migrate_down(migrated_db, read_folder(folder), last=3, options=options)).ok
    assert (await migrate_up(migrated_db, read_folder(folder), options=options)).ok
    assert await conn.fetchval(LAST, process) == 500


async def test_a_rollback_that_fails_keeps_nothing(migrated_db: str, connect: Connect, options: Options) -> None:
    conn = await connect(migrated_db)
    await new_process(conn, 2)
    await conn.execute("create view public.in_the_way as select * from public.background_tasks")
    result = await migrate_down(migrated_db, read_folder(migrations_dir()), last=3, options=options)
    assert not result.ok
    assert await conn.fetchval("select to_regclass($1) is null", RETAINED)
