"""A dry run does everything and leaves nothing: catalog, history, ledger, rows and exports are as before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from tests.integration.migrate.conftest import PAIR, Write
from toolkit.migrate import Options, migrate_down, migrate_up, snapshot
from toolkit.migrate.catalog.tables import user_tables
from toolkit.migrate.dry_run.run import dry_run
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.row_comparison.table_digests import digest_tables
from toolkit.migrate.run.locks import RUNNER_KEY, LockPolicy
from toolkit.migrate.run.plan import Down, MigrationRefused, Up
from toolkit.migrate.run.tracing import Lock

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
HEAD = "-- toolkit: transaction=false\n"


async def everything(conn: asyncpg.Connection, dsn: str) -> tuple[object, ...]:
    """Catalog, rows, history, ledger and journal, as something to compare."""
    ledger: list[object] = []
    for table in ("schema_migrations", "toolkit_events", "toolkit_journal"):
        name = f"supabase_migrations.{table}"
        exists = await conn.fetchval("select to_regclass($1) is not null", name)
        ledger.append([tuple(r) for r in await conn.fetch(f"select * from {name} order by 1, 2")] if exists else None)
    return (await snapshot(dsn)).digest(), await digest_tables(conn, await user_tables(conn)), ledger


async def test_up_shows_locks_rewrites_and_changes_and_leaves_nothing(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(
        PAIR
        | {
            "2_second.sql": "alter table public.first add column extra text default 'x';\n"
            "alter table public.first alter column note type integer using 1;\n"
            "create table public.second (id integer);\n"
            "create index first_note on public.first (note); update public.first set note = 2; "
            "drop table public.zeroth;",
        }
    )
    await migrate_up(bare_db, read_folder(folder), to="1")
    conn = await connect(bare_db)
    await conn.execute("create table public.zeroth ()")
    before = await everything(conn, bare_db)
    result = await dry_run(bare_db, read_folder(folder), Up())
    assert result.ok, result.steps
    assert (result.where, result.same_after, result.moved) == ("target", True, ())
    assert await everything(conn, bare_db) == before
    assert not await conn.fetchval("select exists (select from pg_locks where locktype = 'advisory')")
    (step,) = result.steps
    assert "added: table public.second" in [str(change) for change in step.changes]
    traces = {trace.index: trace for trace in result.traces}
    assert traces[1].locks == (Lock("public.first", "AccessExclusiveLock"),)
    assert traces[1].rewritten == ()
    assert traces[2].rewritten == ("index public.first_pkey", "table public.first")
    assert Lock("public.second", "AccessExclusiveLock", made_here=True) in traces[3].locks
    assert Lock("public.first", "ShareLock") in traces[2].locks  # it builds the key again
    assert Lock("public.first", "RowExclusiveLock") in traces[5].locks
    assert Lock("public.zeroth", "AccessExclusiveLock") in traces[6].locks  # gone when it is read, yet named
    assert [trace.line for trace in result.traces] == [1, 2, 3, 4, 4, 4]
    assert (await migrate_up(bare_db, read_folder(folder))).ok


async def test_a_database_without_history_gets_none(bare_db: str, write: Write, connect: Connect) -> None:
    conn = await connect(bare_db)
    before = await everything(conn, bare_db)
    result = await dry_run(bare_db, read_folder(write(PAIR)), Up())
    assert [step.outcome for step in result.steps] == ["applied", "applied"]
    assert await everything(conn, bare_db) == before
    assert await conn.fetchval("select to_regnamespace('supabase_migrations') is null")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("create table public.x ();\n\ninsert into public.first\n  (nope) values (1);", "42703"),
        ("create table public.x (); select 1 / 0", "22012"),
        ("insert into public.child values (7)", "23503"),  # a deferred key, which only the commit would check
        ("set role anon; alter table public.first add z integer", "42501"),
    ],
)
async def test_a_failure_is_the_one_of_the_real_run_and_leaves_nothing(
    bare_db: str, write: Write, connect: Connect, text: str, says: str
) -> None:
    folder = write(
        {
            "1_first.sql": PAIR["1_first.sql"] + "create table public.child (id integer references public.first"
            " deferrable initially deferred);",
            "2_good.sql": "create table public.good ();",
            "3_bad.sql": text,
            "4_never.sql": "select 1;",
        }
    )
    await migrate_up(bare_db, read_folder(folder), to="1")
    conn = await connect(bare_db)
    before = await everything(conn, bare_db)
    result = await dry_run(bare_db, read_folder(folder), Up())
    assert [step.outcome for step in result.steps] == ["applied", "failed", "not_run"]
    assert result.same_after
    assert await everything(conn, bare_db) == before
    real = await migrate_up(bare_db, read_folder(folder))
    assert result.steps[1].failure == real.steps[1].failure
    failure = result.steps[1].failure
    assert failure is not None
    assert failure.sqlstate == says


async def test_files_see_what_a_commit_between_them_would_have_done(bare_db: str, write: Write) -> None:
    """Pending deferred checks would refuse the ALTER TABLE; the modes of constraints are as a new transaction's."""
    folder = write(
        {
            "1_a.sql": "create table public.a (id integer primary key, b integer);"
            "alter table public.a add foreign key (b) references public.a deferrable initially deferred;"
            "set search_path = nowhere; set local lock_timeout = '7s';",
            "2_b.sql": "insert into public.a values (1, 2), (2, 1);",
            "3_c.sql": "alter table a add c text; insert into a values (3, 4); insert into a values (4, 3);",
        }
    )
    result = await dry_run(bare_db, read_folder(folder), Up())
    assert result.ok, [step.failure for step in result.steps]


async def test_down_counts_what_it_would_destroy_and_exports_nothing(
    bare_db: str, write: Write, connect: Connect, options: Options
) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder))
    conn = await connect(bare_db)
    await conn.execute("insert into public.second values (7), (8)")
    before = await everything(conn, bare_db)
    result = await dry_run(bare_db, read_folder(folder), Down(to="0"), options=options)
    assert [step.outcome for step in result.steps] == ["rolled_back", "rolled_back"]
    assert result.doomed == (("public.second", 2), ("public.first", 1), ("public.first", 1))
    assert await everything(conn, bare_db) == before
    assert not Path(options.export_dir).exists()


async def test_what_the_header_does_not_declare_is_found_by_a_dry_run(
    bare_db: str, write: Write, options: Options
) -> None:
    folder = write(PAIR | {"rollbacks/2_second.sql": "drop table public.second; alter table public.first drop extra"})
    await migrate_up(bare_db, read_folder(folder))
    result = await dry_run(bare_db, read_folder(folder), Down(), options=options)
    failure = result.steps[0].failure
    assert failure is not None
    assert "destroys what its header does not declare" in failure.message
    write({"rollbacks/2_second.sql": "-- destroys: table secnod\n" + PAIR["rollbacks/2_second.sql"]})
    result = await dry_run(bare_db, read_folder(folder), Down(), options=options)
    real = await migrate_down(bare_db, read_folder(folder), options=options)
    assert result.steps[0].failure is not None
    assert "public.secnod" in result.steps[0].failure.message
    assert real.steps[0].failure is not None
    assert real.steps[0].failure.remedy == result.steps[0].failure.remedy


async def test_a_sequence_that_moved_is_told(bare_db: str, write: Write, connect: Connect) -> None:
    conn = await connect(bare_db)
    await conn.execute(
        "create table public.counted (id bigint generated always as identity, n integer);"
        "create table public.calm (id bigint generated always as identity)"
    )
    result = await dry_run(
        bare_db, read_folder(write({"1_a.sql": "insert into public.counted (n) values (1), (2);"})), Up()
    )
    assert result.ok
    assert result.moved == ("public.counted_id_seq: unused → 2",)
    assert await conn.fetchval("select count(*) from public.counted") == 0


async def test_a_busy_table_is_waited_for_no_longer_than_the_lock_timeout(
    bare_db: str, write: Write, connect: Connect, options: Options
) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder), to="1")
    blocker = await connect(bare_db)
    before = await everything(blocker, bare_db)
    async with blocker.transaction():
        await blocker.execute("lock table public.first in share mode")
        result = await dry_run(bare_db, read_folder(folder), Up(), options=options)
    failure = result.steps[0].failure
    assert failure is not None
    assert failure.sqlstate == "55P03"
    assert f"pid {blocker.get_server_pid()}" in failure.message
    assert await everything(blocker, bare_db) == before
    # Where its own deadline comes first, it still says whom it waited for.
    async with blocker.transaction():
        await blocker.execute("lock table public.first in share mode")
        patient = replace(options, locks=replace(options.locks, deadline_s=60))
        result = await dry_run(bare_db, read_folder(folder), Up(), options=patient, deadline_s=0.6)
    failure = result.steps[0].failure
    assert failure is not None
    assert "did not end within 0.6 s" in failure.message
    assert f"locks were not free; open transactions: pid {blocker.get_server_pid()}" in failure.message


async def test_a_dry_run_ends_at_its_deadline(bare_db: str, write: Write, connect: Connect) -> None:
    folder = write({"1_slow.sql": "create table public.slow ();\nselect pg_sleep(60);"})
    conn = await connect(bare_db)
    before = await everything(conn, bare_db)
    result = await asyncio.wait_for(dry_run(bare_db, read_folder(folder), Up(), deadline_s=0.3), 30)
    failure = result.steps[0].failure
    assert failure is not None
    assert (failure.statement, failure.line) == (2, 2)
    assert "did not end within 0.3 s" in failure.message
    assert "--dry-run-deadline" in failure.remedy
    assert await everything(conn, bare_db) == before
    assert await conn.fetchval("select pg_try_advisory_lock($1)", RUNNER_KEY)


async def test_a_backend_that_dies_in_a_dry_run_leaves_nothing(bare_db: str, write: Write, connect: Connect) -> None:
    folder = write({"1_a.sql": "create table public.a (); select pg_terminate_backend(pg_backend_pid());"})
    conn = await connect(bare_db)
    before = await everything(conn, bare_db)
    result = await dry_run(bare_db, read_folder(folder), Up())
    failure = result.steps[0].failure
    assert failure is not None
    assert failure.statement == 2
    assert await everything(conn, bare_db) == before


async def test_requests_that_a_run_refuses_are_refused(bare_db: str, write: Write) -> None:
    folder = write(PAIR)
    with pytest.raises(MigrationRefused, match="There is no version 7"):
        await dry_run(bare_db, read_folder(folder), Up("7"))
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    nothing = await dry_run(bare_db, read_folder(folder), Up())
    assert (nothing.ok, nothing.steps) == (True, ())


# -- on a copy ----------------------------------------------------------------------------------------------------


async def test_an_index_built_concurrently_runs_on_a_copy_with_its_rows(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(
        {
            "1_t.sql": "create table public.t (a integer); insert into t select 1 from generate_series(1, 2);",
            "2_i.sql": HEAD + "create table public.u ();\ncreate unique index concurrently i on t (a);",
        }
    )
    await migrate_up(bare_db, read_folder(folder), to="1")
    before = await snapshot(bare_db)
    conn = await connect(bare_db)
    copies = "select array_agg(datname order by datname) from pg_database where datname like 'toolkit_prove%'"
    existing = await conn.fetchval(copies)  # other tests' own
    await conn.close(timeout=5)
    result = await dry_run(bare_db, read_folder(folder), Up(), may_copy_rows=True)
    assert (result.where, result.same_after) == ("copy", None)
    assert "2_i.sql runs outside a transaction, so this ran on a copy" in result.notes[0]
    failure = result.steps[0].failure
    assert failure is not None
    assert failure.sqlstate == "23505"  # two equal rows: only a copy with rows shows it
    conn = await connect(bare_db)
    assert (await snapshot(bare_db)).digest() == before.digest()
    assert await conn.fetchval("select count(*) from supabase_migrations.toolkit_journal") == 0
    assert await conn.fetchval(copies) == existing


async def test_of_a_target_that_is_not_ours_the_schema_alone_is_copied(
    bare_db: str, write: Write, connect: Connect, options: Options
) -> None:
    folder = write(
        {
            "1_t.sql": "create table public.t (a integer); insert into t select 1 from generate_series(1, 2);",
            "2_i.sql": HEAD + "create table public.u ();\nselect 1 / 0;\ncreate index concurrently i on t (a);",
        }
    )
    await migrate_up(bare_db, read_folder(folder))  # u is there and journaled: the copy must go on after it
    write({"2_i.sql": HEAD + "create table public.u ();\nselect 1;\ncreate index concurrently i on t (a);"})
    conn = await connect(bare_db)
    before = await everything(conn, bare_db)
    patient = replace(options, locks=LockPolicy())
    result = await dry_run(bare_db, read_folder(folder), Up(), options=patient)
    assert (result.where, result.ok) == ("schema copy", True), result
    assert any("has no rows" in note for note in result.notes)
    assert [trace.index for trace in result.traces] == [2, 3]
    assert result.traces[1].sampled
    assert Lock("public.t", "ShareUpdateExclusiveLock") in result.traces[1].locks
    assert "added: index public.i" in [str(change) for change in result.steps[0].changes]
    assert await everything(conn, bare_db) == before


async def test_an_enum_value_that_a_later_file_uses_needs_the_commit_between(bare_db: str, write: Write) -> None:
    folder = write(
        {
            "1_e.sql": "create type public.mood as enum ('good'); create table public.m (mood public.mood);",
            "2_e.sql": "alter type public.mood add value 'bad';",
            "3_e.sql": "insert into public.m values ('bad');",
        }
    )
    await migrate_up(bare_db, read_folder(folder), to="1")
    result = await dry_run(bare_db, read_folder(folder), Up(), may_copy_rows=True)
    assert (result.where, result.ok) == ("copy", True)
    assert "3_e.sql uses an enum value" in result.notes[0]
    write({"2_e.sql": "alter type public.mood add value 'bad'; insert into public.m values ('bad');"})
    (wrong, _) = (await dry_run(bare_db, read_folder(folder), Up())).steps
    assert wrong.failure is not None  # within one file it is the file's own mistake
    assert wrong.failure.sqlstate == "55P04"
