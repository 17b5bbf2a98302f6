"""Files that run outside a transaction: journaled, resumable, and no INVALID index passes for a good one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.integration.migrate.conftest import Write, until
from tests.support.databases import as_superuser
from toolkit.migrate import MigrationRefused, Options, Progress, migrate_down, migrate_status, migrate_up
from toolkit.migrate.folder.files import read_folder

Connect = Callable[[str], Awaitable[asyncpg.Connection]]

HEAD = "-- toolkit: transaction=false\n"
VALID = "coalesce((select indisvalid from pg_index where indexrelid = to_regclass('\"I x\"')), false)"
TABLE = {
    "1_t.sql": "create table public.t (a integer, b integer); insert into t select 1, 1 from generate_series(1, 2);"
}


async def test_each_statement_runs_by_itself_and_the_journal_is_emptied(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(
        TABLE
        | {
            "2_i.sql": HEAD + "create index concurrently i on t (a);\nvacuum t;\ncreate table public.u ();",
            "rollbacks/2_i.sql": HEAD + "drop index concurrently i;",
        }
    )
    result = await migrate_up(bare_db, read_folder(folder))
    assert result.ok, [s.failure for s in result.steps]
    conn = await connect(bare_db)
    assert await conn.fetchval("select count(*) from supabase_migrations.toolkit_journal") == 0
    assert await conn.fetchval("select indisvalid from pg_index where indexrelid = 'i'::regclass")
    assert (await migrate_down(bare_db, read_folder(folder))).ok


async def test_a_rollback_outside_a_transaction_may_not_drop_a_table(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(
        TABLE
        | {
            "2_i.sql": HEAD + "create index concurrently i on t (a);\ncreate table public.u ();",
            "rollbacks/2_i.sql": HEAD + "drop index concurrently i;\ndrop table public.u;",
        }
    )
    await migrate_up(bare_db, read_folder(folder))
    result = await migrate_down(bare_db, read_folder(folder))
    assert result.steps[0].failure is not None
    assert "table public.u" in result.steps[0].failure.message
    conn = await connect(bare_db)
    assert await conn.fetchval("select to_regclass('public.u') is not null")


async def test_an_interrupted_file_goes_on_where_it_stopped(bare_db: str, write: Write, connect: Connect) -> None:
    folder = write(
        TABLE | {"2_i.sql": HEAD + "create table public.once ();\nvacuum t;\nselect 1 / 0;\ncreate table last ();"}
    )
    result = await migrate_up(bare_db, read_folder(folder))
    failure = result.steps[1].failure
    assert failure is not None
    assert (failure.statement, failure.line, failure.sqlstate) == (3, 4, "22012")
    status = await migrate_status(bare_db, read_folder(folder))
    assert status.versions[1].state == "interrupted"
    assert status.versions[1].detail == "2 of 4 statements ran"
    # A later statement may be corrected, one that ran may not.
    write({"2_i.sql": HEAD + "create table public.other ();\nvacuum t;\nselect 1;"})
    with pytest.raises(MigrationRefused, match="edited after 2 of its statements"):
        await migrate_up(bare_db, read_folder(folder))
    write({"2_i.sql": HEAD + "create table public.once ();\nvacuum t;\nselect 1;\ncreate table last ();"})
    result = await migrate_up(bare_db, read_folder(folder))
    assert result.ok
    assert (await migrate_status(bare_db, read_folder(folder))).pending == ()


async def test_a_failed_index_build_is_reported_and_not_taken_for_success(
    bare_db: str, write: Write, connect: Connect
) -> None:
    # Two equal rows: the unique build fails and leaves an INVALID index, which IF NOT EXISTS would keep.
    folder = write(TABLE | {"2_i.sql": HEAD + "create unique index concurrently if not exists i on t (a);"})
    result = await migrate_up(bare_db, read_folder(folder))
    assert result.steps[1].failure is not None
    assert result.steps[1].failure.sqlstate == "23505"
    assert (await migrate_status(bare_db, read_folder(folder))).invalid_indexes == ("public.i on t",)
    # The wreck is ours, so it is cleared; what failed before fails again, for its own reason.
    again = await migrate_up(bare_db, read_folder(folder))
    failure = again.steps[0].failure
    assert failure is not None
    assert failure.sqlstate == "23505"
    conn = await connect(bare_db)
    await conn.execute("delete from t where ctid = (select min(ctid) from t)")
    result = await migrate_up(bare_db, read_folder(folder))
    assert result.ok
    assert "dropped and built again" in result.steps[0].notes[0]
    assert await conn.fetchval("select indisvalid from pg_index where indexrelid = 'i'::regclass")


async def test_an_index_build_of_ours_that_was_killed_is_cleared_and_built_again(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(TABLE | {"2_i.sql": HEAD + 'create index concurrently "I x" on t (a);'})
    await migrate_up(bare_db, read_folder(folder), to="1")
    writer, watcher = await connect(bare_db), await connect(bare_db)
    transaction = writer.transaction()
    await transaction.start()
    await writer.execute("insert into t values (9, 9)")
    running = asyncio.create_task(migrate_up(bare_db, read_folder(folder)))
    await until(
        watcher,
        f"""
        select exists (select from pg_stat_progress_create_index p join pg_stat_activity a using (pid)
          where a.wait_event_type = 'Lock' and p.relid = 't'::regclass and a.application_name = 'toolkit migrate')
          and not {VALID}
    """,
    )
    await watcher.fetchval(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'toolkit migrate'"
        " and datname = current_database()"
    )
    result = await asyncio.wait_for(running, 30)
    await transaction.commit()
    assert result.steps[0].failure is not None
    assert (await migrate_status(bare_db, read_folder(folder))).invalid_indexes == ("public.I x on t",)
    again = await migrate_up(bare_db, read_folder(folder))
    assert again.ok, again.steps
    assert 'Index "I x" was INVALID, left by a build that this runner started' in again.steps[0].notes[0]
    assert await watcher.fetchval(f"select {VALID}")
    assert (await migrate_status(bare_db, read_folder(folder))).invalid_indexes == ()


async def test_an_invalid_index_that_the_journal_does_not_account_for_is_refused(
    bare_db: str, write: Write, connect: Connect
) -> None:
    """The build of i was ours; then the file was changed to build j, and a wreck called j is somebody else's."""
    folder = write(TABLE | {"2_i.sql": HEAD + "create unique index concurrently i on t (a);"})
    await migrate_up(bare_db, read_folder(folder))
    await (await connect(bare_db)).execute("create index j on t (b)")
    conn = await connect(as_superuser(bare_db))
    await conn.execute("update pg_index set indisvalid = false where indexrelid = 'j'::regclass")
    write({"2_i.sql": HEAD + "create index concurrently j on t (b);"})
    result = await migrate_up(bare_db, read_folder(folder))
    failure = result.steps[0].failure
    assert failure is not None
    assert "Index j on t is INVALID" in failure.message
    assert "drop index concurrently j;" in failure.remedy
    assert await conn.fetchval("select to_regclass('j') is not null")


async def test_an_index_that_somebody_builds_at_this_moment_is_no_wreck(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(TABLE | {"2_i.sql": HEAD + "create index concurrently i on t (a);"})
    await migrate_up(bare_db, read_folder(folder), to="1")
    writer, builder, watcher = await connect(bare_db), await connect(bare_db), await connect(bare_db)
    async with writer.transaction():
        await writer.execute("insert into t values (9, 9)")
        building = asyncio.create_task(builder.execute("create index concurrently i on t (a)"))
        await until(watcher, "select exists (select from pg_index where indexrelid = to_regclass('i'))")
        result = await migrate_up(bare_db, read_folder(folder))
    await asyncio.wait_for(building, 30)
    failure = result.steps[0].failure
    assert failure is not None
    assert f"being built by another session (pid {builder.get_server_pid()})" in failure.message
    assert await watcher.fetchval("select indisvalid from pg_index where indexrelid = 'i'::regclass")


async def test_an_interrupted_index_without_a_name_is_not_built_blindly_again(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(TABLE | {"2_i.sql": HEAD + "create index concurrently on t (a);\nselect 1 / 0;"})
    await migrate_up(bare_db, read_folder(folder))
    conn = await connect(bare_db)
    await conn.execute("update supabase_migrations.toolkit_journal set state = 'started' where statement_index = 1")
    result = await migrate_up(bare_db, read_folder(folder))
    failure = result.steps[0].failure
    assert failure is not None
    assert "gives its index no name" in failure.message
    assert await conn.fetchval("select count(*) from pg_index where indrelid = 't'::regclass") == 1
    # The way it says: a name in the file.
    await conn.execute("drop index t_a_idx")
    write({"2_i.sql": HEAD + "create index concurrently named on t (a);\nselect 1;"})
    assert (await migrate_up(bare_db, read_folder(folder))).ok


async def test_an_invalid_index_that_was_there_before_is_not_kept_by_if_not_exists(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(TABLE | {"2_i.sql": HEAD + "create index concurrently if not exists i on t (a);"})
    await migrate_up(bare_db, read_folder(folder), to="1")
    await (await connect(bare_db)).execute("create index i on t (a)")
    conn = await connect(as_superuser(bare_db))
    await conn.execute("update pg_index set indisvalid = false where indexrelid = 'i'::regclass")
    result = await migrate_up(bare_db, read_folder(folder))
    assert result.steps[0].failure is not None
    assert "INVALID" in result.steps[0].failure.message


async def test_an_index_build_that_was_done_when_the_connection_broke_is_not_built_twice(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(TABLE | {"2_i.sql": HEAD + "create index concurrently i on t (a);\nselect 1 / 0;"})
    await migrate_up(bare_db, read_folder(folder))
    conn = await connect(bare_db)
    # As if the backend died between the build and its journal entry.
    await conn.execute("update supabase_migrations.toolkit_journal set state = 'started' where statement_index = 1")
    write({"2_i.sql": HEAD + "create index concurrently i on t (a);\nselect 1;"})
    assert (await migrate_up(bare_db, read_folder(folder))).ok


async def test_an_index_build_waits_for_old_transactions_longer_than_the_lock_timeout(
    bare_db: str, write: Write, connect: Connect, options: Options
) -> None:
    """lock_timeout would kill it and leave an INVALID index; the wait stands in nobody's way."""
    folder = write(TABLE | {"2_i.sql": HEAD + "create index concurrently i on t (a);"})
    await migrate_up(bare_db, read_folder(folder), to="1")
    writer, watcher = await connect(bare_db), await connect(bare_db)
    transaction = writer.transaction()
    await transaction.start()
    await writer.execute("insert into t values (9, 9)")
    seen: list[Progress] = []
    running = asyncio.create_task(migrate_up(bare_db, read_folder(folder), options=options, on_progress=seen.append))
    # Ten times the lock timeout of `options`: the build waits for our transaction all the while.
    await until(
        watcher,
        """
        select exists (select from pg_stat_activity where query like '%create index concurrently%'
          and pid <> pg_backend_pid() and datname = current_database() and wait_event_type = 'Lock'
          and clock_timestamp() - query_start > '500 ms')
    """,
    )
    await transaction.commit()
    result = await asyncio.wait_for(running, 30)
    assert result.ok, [s.failure for s in result.steps]


async def test_a_runner_that_waits_does_not_deadlock_with_an_index_build(
    bare_db: str, write: Write, connect: Connect
) -> None:
    """Blocked in pg_advisory_lock it would hold a snapshot that CREATE INDEX CONCURRENTLY waits for; it polls."""
    folder = write(
        TABLE
        | {
            "2_i.sql": HEAD + "create index concurrently i on t (a);\nselect pg_sleep(0.3);\n"
            "create index concurrently j on t (b);"
        }
    )
    results = await asyncio.gather(*(migrate_up(bare_db, read_folder(folder)) for _ in range(3)))
    assert all(result.ok for result in results)
    assert sorted(len(result.steps) for result in results) == [0, 0, 2]
    conn = await connect(bare_db)
    assert await conn.fetchval("select bool_and(indisvalid) from pg_index where indrelid = 't'::regclass")
