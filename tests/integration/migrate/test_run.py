"""Applying and rolling back: all of a file or nothing, and the history says what happened."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from tests.integration.migrate.conftest import PAIR, Write
from toolkit.errors import EnvironmentError_, RefusalError
from toolkit.migrate import MigrationRefused, Options, Progress, migrate_down, migrate_status, migrate_up, snapshot
from toolkit.migrate.catalog import diff
from toolkit.migrate.catalog.tables import user_tables
from toolkit.migrate.dry_run.run import dry_run
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.row_comparison.table_digests import digest_tables
from toolkit.migrate.run.locks import RUNNER_KEY, LockPolicy
from toolkit.migrate.run.plan import Up

Connect = Callable[[str], Awaitable[asyncpg.Connection]]


async def test_up_records_history_as_the_cli_does_and_a_ledger_event(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(PAIR)
    seen: list[Progress] = []
    result = await migrate_up(bare_db, read_folder(folder), on_progress=seen.append)
    assert result.ok
    assert [(s.version, s.outcome, s.attempts) for s in result.steps] == [("1", "applied", 1), ("2", "applied", 1)]
    conn = await connect(bare_db)
    rows = await conn.fetch("select * from supabase_migrations.schema_migrations order by version")
    assert [dict(row) for row in rows] == [
        {"version": "1", "name": "first", "statements": [s.rstrip(";") for s in PAIR["1_first.sql"].split("\n")]},
        {"version": "2", "name": "second", "statements": [s.rstrip(";") for s in PAIR["2_second.sql"].split("\n")]},
    ]
    events = await conn.fetch("select * from supabase_migrations.toolkit_events order by id")
    assert [(e["event"], e["version"], e["name"]) for e in events] == [
        ("applied", "1", "first"),
        ("applied", "2", "second"),
    ]
    assert events[0]["sha256"] == hashlib.sha256(PAIR["1_first.sql"].encode()).hexdigest()
    assert events[0]["run_id"] == events[1]["run_id"]
    assert events[0]["statements"] == 2
    assert {"file", "statement", "done"} <= {p.phase for p in seen}
    assert "added: table public.second" in [str(change) for change in result.steps[1].changes]


async def test_running_again_is_a_no_op_and_to_stops_where_asked(bare_db: str, write: Write) -> None:
    folder = write(PAIR)
    assert [s.version for s in (await migrate_up(bare_db, read_folder(folder), to="1")).steps] == ["1"]
    assert [s.version for s in (await migrate_up(bare_db, read_folder(folder))).steps] == ["2"]
    before = await snapshot(bare_db)
    again = await migrate_up(bare_db, read_folder(folder))
    assert again.ok
    assert again.steps == ()
    assert again.catalog_before == again.catalog_after == before.digest()


async def test_status_and_plans_create_nothing(bare_db: str, write: Write, connect: Connect) -> None:
    status = await migrate_status(bare_db, read_folder(write(PAIR)))
    assert status.pending == ("1", "2")
    conn = await connect(bare_db)
    assert await conn.fetchval("select to_regnamespace('supabase_migrations') is null")


async def test_the_rollback_column_of_hosted_projects_is_filled(bare_db: str, write: Write, connect: Connect) -> None:
    conn = await connect(bare_db)
    await conn.execute(
        "create schema supabase_migrations; create table supabase_migrations.schema_migrations ("
        "version text primary key, statements text[], name text, created_by text, idempotency_key text unique,"
        " rollback text[])"
    )
    await migrate_up(bare_db, read_folder(write(PAIR)))
    rows = await conn.fetch("select rollback from supabase_migrations.schema_migrations order by version")
    assert rows[0]["rollback"] == ["-- destroys: table first\ndrop table public.first"]


async def test_a_failing_file_leaves_nothing_and_says_where_and_what_next(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(
        PAIR
        | {
            "3_bad.sql": "-- a comment\ncreate table public.third ();\n\n"
            "insert into public.third\n  (nope) values (1);",
            "4_never.sql": "create table public.fourth ();",
        }
    )
    await migrate_up(bare_db, read_folder(folder), to="2")
    before = await snapshot(bare_db)
    result = await migrate_up(bare_db, read_folder(folder))
    assert not result.ok
    assert [s.outcome for s in result.steps] == ["failed", "not_run"]
    failure = result.steps[0].failure
    assert failure is not None
    assert (failure.file, failure.statement, failure.line, failure.sqlstate) == ("3_bad.sql", 2, 5, "42703")
    assert "nope" in failure.message
    assert failure.remedy
    assert diff(before, await snapshot(bare_db)) == ()
    conn = await connect(bare_db)
    assert await conn.fetchval("select count(*) from supabase_migrations.schema_migrations") == 2
    event = await conn.fetchrow("select * from supabase_migrations.toolkit_events order by id desc limit 1")
    assert (event["event"], event["version"]) == ("failed", "3")
    assert "3_bad.sql:5, statement 2" in event["detail"]
    # Corrected, it runs.
    write({"3_bad.sql": "create table public.third ()"})
    assert (await migrate_up(bare_db, read_folder(folder))).ok


async def test_what_the_parser_cannot_read_is_the_servers_to_judge(bare_db: str, write: Write) -> None:
    """The syntax of a later Postgres: this server does not know it either, and says so at its line."""
    result = await migrate_up(bare_db, read_folder(write({"1_a.sql": "create table a ();\n\ncreate future é;"})))
    failure = result.steps[0].failure
    assert failure is not None
    assert (failure.statement, failure.line, failure.sqlstate) == (2, 3, "42601")


async def test_a_table_behind_a_comment_that_a_carriage_return_ends_is_made(
    bare_db: str, write: Write, connect: Connect
) -> None:
    text = "create table a (x int);\n-- x\rcreate table b (y int);"
    folder = write({"1_a.sql": ""})
    (folder / "1_a.sql").write_bytes(text.encode())
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    conn = await connect(bare_db)
    assert await conn.fetchval("select to_regclass('a') is not null and to_regclass('b') is not null")


@pytest.mark.parametrize(
    "text",
    [
        "set role anon; set search_path = nowhere; set lock_timeout = '7s'; set statement_timeout = '9s';",
        "set local role anon; set local search_path = nowhere;",
    ],
)
async def test_settings_of_one_file_do_not_reach_the_next_or_the_history(bare_db: str, write: Write, text: str) -> None:
    folder = write(
        {
            "1_a.sql": f"create table public.a (); {text}",
            "2_b.sql": "do $$ begin assert current_user = 'postgres'; assert current_setting('search_path') ~ 'public';"
            " assert current_setting('statement_timeout') = '0'; end $$; create table b ();",
        }
    )
    result = await migrate_up(bare_db, read_folder(folder))
    assert result.ok, [s.failure for s in result.steps]


async def test_a_role_that_may_not_keep_a_history_is_told_so(bare_db: str, write: Write, connect: Connect) -> None:
    conn = await connect(bare_db)
    name = f"narrow_{await conn.fetchval('select oid from pg_database where datname = current_database()')}"
    await conn.execute(f"create role {name} login")
    try:
        narrow = bare_db.replace("//postgres@", f"//{name}@")
        for request in (migrate_up(narrow, read_folder(write(PAIR))), dry_run(narrow, read_folder(write(PAIR)), Up())):
            with pytest.raises(EnvironmentError_, match="may not create the migration history"):
                await request
    finally:
        await conn.execute(f"drop role {name}")


async def test_a_transaction_ended_inside_a_procedure_cannot_split_a_file(bare_db: str, write: Write) -> None:
    folder = write(
        {
            "1_a.sql": "create table public.a (); "
            "create procedure public.p() language plpgsql as $$ begin commit; end $$;",
            "2_b.sql": "create table public.b (); call public.p(); create table public.c ();",
        }
    )
    before_second = await migrate_up(bare_db, read_folder(folder), to="1")
    result = await migrate_up(bare_db, read_folder(folder))
    assert result.steps[0].failure is not None
    assert result.steps[0].failure.sqlstate == "2D000"
    assert (await snapshot(bare_db)).digest() == before_second.catalog_after


async def test_the_roles_own_statement_timeout_is_not_the_runners(
    bare_db: str, write: Write, connect: Connect, options: Options
) -> None:
    conn = await connect(bare_db)
    await conn.execute(
        f"alter database \"{await conn.fetchval('select current_database()')}\" set statement_timeout = '300ms'"
    )
    slow = "public.slow() returns integer language sql immutable as 'select 1 from pg_catalog.pg_sleep(0.4)'"
    folder = write(
        {
            "1_slow.sql": f"create table public.t (id integer); insert into public.t values (1);"
            f"create function {slow}; select pg_sleep(0.4)",
            "2_alone.sql": "-- toolkit: transaction=false\ncreate index concurrently i on public.t ((public.slow()))",
        }
    )
    result = await migrate_up(bare_db, read_folder(folder), options=options)
    assert result.ok, result.steps


async def test_down_exports_what_it_destroys_then_restores_the_catalog(
    bare_db: str, write: Write, connect: Connect, options: Options
) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder), to="1")
    before = await snapshot(bare_db)
    await migrate_up(bare_db, read_folder(folder))
    conn = await connect(bare_db)
    await conn.execute(
        "insert into public.second values (7), (8); insert into public.first values (2, E'q\"\\n,', null)"
    )
    result = await migrate_down(bare_db, read_folder(folder), options=options)
    assert result.ok
    assert diff(before, await snapshot(bare_db)) == ()
    (step,) = result.steps
    assert step.export_dir is not None
    assert stat.S_IMODE(step.export_dir.stat().st_mode) == 0o700
    manifest = json.loads((step.export_dir / "manifest.json").read_text())
    tables = {entry["table"]: entry for entry in manifest["tables"]}
    assert (manifest["version"], set(tables)) == ("2", {"public.second", "public.first"})
    assert tables["public.first"]["columns"] == ["id", "extra"]
    file = step.export_dir / tables["public.second"]["file"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert tables["public.second"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert list(csv.reader(file.open())) == [["id"], ["7"], ["8"]]
    rows = await conn.fetch("select event, version from supabase_migrations.toolkit_events order by id desc limit 1")
    assert [tuple(row) for row in rows] == [("rolled_back", "2")]
    assert await conn.fetchval("select array_agg(version) from supabase_migrations.schema_migrations") == ["1"]
    # What was exported can be read back as the manifest says.
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    copied = await conn.copy_to_table("second", source=file, format="csv", header=True)
    assert copied == "COPY 2"


async def test_a_rollback_that_destroys_more_than_it_declares_is_taken_back(
    bare_db: str, write: Write, options: Options
) -> None:
    folder = write(
        PAIR | {"rollbacks/2_second.sql": "drop table public.second; alter table public.first drop extra, drop note"}
    )
    await migrate_up(bare_db, read_folder(folder))
    before = await snapshot(bare_db)
    result = await migrate_down(bare_db, read_folder(folder), options=options)
    failure = result.steps[0].failure
    assert failure is not None
    assert "columns public.first (extra), columns public.first (note), table public.second" in failure.message
    assert "-- destroys: table public.second" in failure.remedy
    assert diff(before, await snapshot(bare_db)) == ()


@pytest.mark.parametrize(
    "statement",
    [
        "delete from public.first where id = 1",
        "truncate public.first",
        "update public.first set note = 'b'",
        "alter table public.first alter column note type integer using 0",
        "do $$ begin execute 'delete from public.' || 'first'; end $$",
        "delete from public.parent",  # a cascade
        "delete from public.part",
        "drop table public.first; create table public.first (id integer primary key, note text)",
        "truncate public.first; alter table public.first alter column id type bigint",
        "do $$ begin truncate public.first; end $$; alter table public.first alter column id type bigint",
        "alter table public.first alter column id type bigint; delete from public.first",
    ],
)
async def test_a_rollback_that_changes_rows_unasked_is_taken_back(
    bare_db: str, write: Write, options: Options, connect: Connect, statement: str
) -> None:
    folder = write(
        {
            "1_first.sql": PAIR["1_first.sql"] + "create table public.parent (id integer primary key);"
            "alter table public.first add parent integer references public.parent on delete cascade;"
            "insert into public.parent values (7); update public.first set parent = 7;"
            "create table public.part (id integer) partition by range (id);"
            "create table public.part_1 partition of public.part for values from (0) to (10);"
            "insert into public.part values (1)",
            "2_second.sql": "create view public.second as select 1 as one",
            "rollbacks/2_second.sql": f"drop view public.second; {statement}",
        }
    )
    await migrate_up(bare_db, read_folder(folder))
    conn = await connect(bare_db)
    before = await snapshot(bare_db), await digest_tables(conn, await user_tables(conn))
    (step,) = (await migrate_down(bare_db, read_folder(folder), options=options)).steps
    assert step.failure is not None
    assert "destroys what its header does not declare" in step.failure.message
    assert "-- destroys: " in step.failure.remedy
    assert (await snapshot(bare_db), await digest_tables(conn, await user_tables(conn))) == before
    # The remedy is the way: with these lines it runs, and what it changes is exported before.
    lines = step.failure.remedy.removeprefix("Add to its header: ").removesuffix(".").split("; ")
    write({"rollbacks/2_second.sql": "\n".join([*lines, f"drop view public.second; {statement}"])})
    (again,) = (await migrate_down(bare_db, read_folder(folder), options=options)).steps
    assert again.failure is None, again.failure
    assert {export.table for export in again.exports} == {line.split()[-1] for line in lines}
    assert all(export.rows == 1 for export in again.exports)


async def test_a_rollback_that_only_adds_needs_no_declaration(bare_db: str, write: Write, options: Options) -> None:
    folder = write(
        {
            "1_first.sql": PAIR["1_first.sql"],
            "2_second.sql": "create index on public.first (note)",
            "rollbacks/2_second.sql": "drop index public.first_note_idx; insert into public.first values (2, 'b');"
            "alter table public.first add more text default 'x', alter note type varchar; analyze public.first;",
        }
    )
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    result = await migrate_down(bare_db, read_folder(folder), options=options)
    assert result.ok, result.steps


async def test_a_column_that_gets_its_type_back_keeps_its_rows(bare_db: str, write: Write, options: Options) -> None:
    table = "create table public.kept (id integer primary key, note varchar(9), n numeric(6,2), part integer);"
    folder = write(
        {
            "1_first.sql": table + "insert into public.kept values (1, 'a', 1.25, 1);",
            "2_second.sql": "alter table public.kept alter id type bigint, alter note type text, alter n type numeric",
            "rollbacks/2_second.sql": "alter table public.kept alter id type integer, alter note type varchar(9);",
            "3_third.sql": "select 1",
            "rollbacks/3_third.sql": "alter table public.kept alter n type numeric(6,1)",
        }
    )
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    rounded = (await migrate_down(bare_db, read_folder(folder), options=options)).steps[0]
    assert rounded.failure is not None
    assert rounded.failure.message.startswith("It destroys what its header does not declare: rows")
    write({"rollbacks/3_third.sql": "select 1"})
    result = await migrate_down(bare_db, read_folder(folder), last=2, options=options)
    assert result.ok, result.steps


@pytest.mark.parametrize("declared", ["table public.readings", "rows public.readings"])
async def test_partitions_made_at_run_time_go_with_their_parent(
    bare_db: str, write: Write, options: Options, connect: Connect, declared: str
) -> None:
    statement = "drop table public.readings" if declared.startswith("table") else "drop table public.readings_2"
    folder = write(
        {
            "1_first.sql": "create table public.readings (at integer, n integer) partition by range (at);"
            "create table public.readings_1 partition of public.readings for values from (0) to (10);"
            "create table public.readings_2 partition of public.readings for values from (10) to (20);",
            "rollbacks/1_first.sql": statement,
        }
    )
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    conn = await connect(bare_db)
    await conn.execute(
        "create table public.readings_3 partition of public.readings for values from (20) to (90) partition by range "
        "(at); create table public.readings_3a partition of public.readings_3 for values from (20) to (50); "
        "insert into public.readings values (5), (15), (25)"
    )
    (step,) = (await migrate_down(bare_db, read_folder(folder), options=options)).steps
    assert step.failure is not None
    told = declared if declared.startswith("table") else "table public.readings_2"
    assert step.failure.message.partition("declare: ")[2].startswith(f"{told}. It was rolled back"), step.failure
    write({"rollbacks/1_first.sql": f"-- destroys: {declared}\n{statement}"})
    result = await migrate_down(bare_db, read_folder(folder), options=options)
    assert result.ok, result.steps
    assert [export.rows for export in result.steps[0].exports] == [3]


async def test_a_declaration_of_what_is_not_there_is_refused(bare_db: str, write: Write, options: Options) -> None:
    folder = write(PAIR | {"rollbacks/2_second.sql": "-- destroys: table secnod\ndrop table public.second"})
    await migrate_up(bare_db, read_folder(folder))
    result = await migrate_down(bare_db, read_folder(folder), options=options)
    assert result.steps[0].failure is not None
    assert "public.secnod" in result.steps[0].failure.message


async def test_an_export_that_cannot_be_written_stops_the_rollback(
    bare_db: str, write: Write, options: Options, tmp_path: Path
) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder))
    (tmp_path / "exports").write_text("a file where the folder should be")
    before = await snapshot(bare_db)
    result = await migrate_down(bare_db, read_folder(folder), options=options)
    assert result.steps[0].failure is not None
    assert "--export-dir" in result.steps[0].failure.remedy
    assert diff(before, await snapshot(bare_db)) == ()


async def test_edited_gap_and_missing_are_refused_before_anything_runs(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder))
    write(
        {
            "1_first.sql": PAIR["1_first.sql"] + " -- edited",
            "15_gap.sql": "select 1",
            "3_new.sql": "create table public.x ()",
        }
    )
    (folder / "2_second.sql").unlink()
    (folder / "rollbacks" / "2_second.sql").unlink()
    before = await snapshot(bare_db)
    with pytest.raises(MigrationRefused) as caught:
        await migrate_up(bare_db, read_folder(folder))
    assert sorted(refusal.code for refusal in caught.value.refusals) == ["edited", "gap", "missing-locally"]
    assert diff(before, await snapshot(bare_db)) == ()
    status = await migrate_status(bare_db, read_folder(folder))
    assert status.troubled == ("1", "15", "2")


# -- locks --------------------------------------------------------------------------------------------------------


async def test_a_blocked_file_is_retried_as_a_whole_and_then_goes_through(
    bare_db: str, write: Write, connect: Connect, options: Options
) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder), to="1")
    blocker = await connect(bare_db)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("lock table public.first in share mode")
    retried = asyncio.Event()

    def tell(progress: Progress) -> None:
        if progress.phase == "retry":
            retried.set()

    patient = Options(locks=LockPolicy(lock_timeout_ms=50, first_pause_s=0.02, longest_pause_s=0.05, deadline_s=30))
    running = asyncio.create_task(migrate_up(bare_db, read_folder(folder), options=patient, on_progress=tell))
    await asyncio.wait_for(retried.wait(), 30)
    await transaction.rollback()
    result = await asyncio.wait_for(running, 30)
    assert result.ok
    assert result.steps[0].attempts > 1


async def test_a_lock_that_is_never_free_is_given_up_naming_who_holds_it(
    bare_db: str, write: Write, connect: Connect, options: Options
) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder), to="1")
    before = await snapshot(bare_db)
    blocker = await connect(bare_db)
    async with blocker.transaction():
        await blocker.execute("lock table public.first in share mode")
        result = await migrate_up(bare_db, read_folder(folder), options=options)
    failure = result.steps[0].failure
    assert failure is not None
    assert failure.sqlstate == "55P03"
    assert f"pid {blocker.get_server_pid()}" in failure.message
    assert result.steps[0].attempts > 1
    assert diff(before, await snapshot(bare_db)) == ()


async def test_a_second_runner_is_refused_and_told_who_works(
    bare_db: str, write: Write, connect: Connect, options: Options
) -> None:
    other = await connect(bare_db)
    await other.execute("set application_name = 'the other runner'")
    assert await other.fetchval("select pg_try_advisory_lock($1)", RUNNER_KEY)
    with pytest.raises(RefusalError, match="the other runner") as caught:
        await migrate_up(bare_db, read_folder(write(PAIR)), options=options)
    assert f"pid {other.get_server_pid()}" in caught.value.what
    await other.fetchval("select pg_advisory_unlock($1)", RUNNER_KEY)
    assert (await migrate_up(bare_db, read_folder(write(PAIR)), options=options)).ok


async def test_two_runners_at_once_apply_everything_exactly_once(bare_db: str, write: Write, connect: Connect) -> None:
    folder = write(PAIR)
    first, second = await asyncio.gather(
        migrate_up(bare_db, read_folder(folder)), migrate_up(bare_db, read_folder(folder))
    )
    assert first.ok
    assert second.ok
    assert len(first.steps) + len(second.steps) == 2
    conn = await connect(bare_db)
    assert await conn.fetchval("select count(*) from supabase_migrations.toolkit_events") == 2
    assert await conn.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0
