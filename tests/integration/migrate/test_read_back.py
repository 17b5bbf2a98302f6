"""D27: rows that were exported or copied return as they were, and never mix with a log that began anew."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import asyncpg
import pytest

from tests.integration.migrate.conftest import PAIR, Write
from toolkit.migrate import Options, migrate_down, migrate_up
from toolkit.migrate.catalog.tables import user_tables
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.row_comparison.table_digests import TableDigest, compare_digests, digest_tables
from toolkit.postgres.servers import EMBEDDED_VERSION, wheel_bin_dir
from toolkit.resources import migrations_dir

Connect = Callable[[str], Awaitable[asyncpg.Connection]]

STATE = "public.generated_articles_state"
LOG = ("public.process_events", "public.process_event_counters", "public.background_tasks", "public.task_dependencies")


async def run(program: str, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """The output of a client program; AssertionError with its words when it fails."""
    process = await asyncio.create_subprocess_exec(
        str(wheel_bin_dir(EMBEDDED_VERSION) / program),
        *arguments,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def read_back(dsn: str, folder: Path) -> str:
    return await run("psql", "-X", "-d", dsn, "-f", "read_back.sql", cwd=folder)


async def worked_on(conn: asyncpg.Connection) -> str:
    """A process with everything the new tables and columns hold: answers, events, tasks that depend on others."""
    process = str(await conn.fetchval(f"insert into {STATE} (user_id) values ('u') returning id"))
    await conn.execute("select mark_process_waiting_for_input($1, 'select_persona')", process)
    await conn.execute("select resolve_user_input($1, $2)", process, '{"payload": "\\"quoted\\", \\n null"}')
    parent = await conn.fetchval("select enqueue_background_task($1, 'generation_start')", process)
    await conn.execute(
        "select enqueue_background_task($1, 'generation_continue', p_depends_on => array[$2::uuid])", process, parent
    )
    await conn.execute("select * from claim_background_task('w')")
    await conn.execute(
        f"update {STATE} set background_task_id = $2, step_durations = '{{\"a\": 1.5}}', executing_step = 'b',"
        ' step_execution_start = now(), article_context = \'{"text": "日本語"}\' where id = $1',
        process,
        parent,
    )
    event = await conn.fetchval("select id from process_events where process_id = $1 limit 1", process)
    await conn.execute("select acknowledge_process_event($1, $2, 'u''s')", process, event)
    return process


async def exported(dsn: str, options: Options) -> Path:
    """Roll the project's migration back; where its rows were written to."""
    result = await migrate_down(dsn, read_folder(migrations_dir()), last=3, options=options)
    assert result.ok
    (folder,) = [step.export_dir for step in result.steps if step.export_dir]
    return folder


async def everything(conn: asyncpg.Connection) -> dict[str, TableDigest]:
    return await digest_tables(conn, await user_tables(conn))


async def test_d27_down_up_and_read_back_is_as_before(migrated_db: str, connect: Connect, options: Options) -> None:
    conn = await connect(migrated_db)
    for _ in range(3):
        await worked_on(conn)
    before = await everything(conn)
    assert all(before[table].rows for table in LOG)
    folder = await exported(migrated_db, options)
    assert (await migrate_up(migrated_db, read_folder(migrations_dir()), options=options)).ok
    assert compare_digests(before, await everything(conn)) != ()
    await conn.execute(
        "alter database " + str(await conn.fetchval("select current_database()")) + " set timezone = 'Asia/Tokyo'"
    )
    said = await read_back(migrated_db, folder)
    assert "public.process_events" in said
    assert compare_digests(before, await everything(conn)) == ()
    # Once more changes nothing, and counting goes on.
    await read_back(migrated_db, folder)
    assert compare_digests(before, await everything(conn)) == ()
    process, last = await conn.fetchrow("select process_id, last_sequence from process_event_counters limit 1")
    await conn.execute("select create_process_event($1, 'test_event')", process)
    found = await conn.fetchval("select max(event_sequence) from process_events where process_id = $1", process)
    assert found == last + 1


async def test_d27_what_went_on_meanwhile_keeps_what_it_has(
    migrated_db: str, connect: Connect, options: Options
) -> None:
    conn = await connect(migrated_db)
    moved, gone, still = [await worked_on(conn) for _ in range(3)]
    events = await conn.fetchval("select count(*) from process_events where process_id = $1", moved)
    folder = await exported(migrated_db, options)
    await conn.execute(f"update {STATE} set progress_percentage = 77 where id = $1::uuid", moved)
    await conn.execute(f"delete from {STATE} where id = $1::uuid", gone)
    assert (await migrate_up(migrated_db, read_folder(migrations_dir()), options=options)).ok
    await conn.execute("select create_process_event($1, 'test_event')", moved)
    await read_back(migrated_db, folder)
    # Its log is whole: what was exported, and what came after it.
    numbers = "select array_agg(event_sequence order by event_sequence) from process_events where process_id = $1"
    assert await conn.fetchval(numbers, moved) == list(range(1, events + 2))
    assert await conn.fetchval("select last_sequence from process_event_counters where process_id = $1", moved) == (
        events + 1
    )
    rows = {str(r["id"]): r for r in await conn.fetch(f"select * from {STATE}")}
    assert rows[moved]["executing_step"] is None, "a row that went on keeps what it has"
    assert rows[still]["executing_step"] == "b"
    for table in LOG[:3]:
        assert await conn.fetchval(f"select count(*) from {table} where process_id = $1", gone) == 0
    assert await conn.fetchval("select count(*) from task_dependencies") == 2


@pytest.mark.parametrize("defect", ["another log", "a row is missing", "a row was added"])
async def test_d27_what_cannot_be_put_back_whole_is_refused(
    migrated_db: str, connect: Connect, options: Options, defect: str
) -> None:
    conn = await connect(migrated_db)
    process = await worked_on(conn)
    folder = await exported(migrated_db, options)
    if defect == "another log":  # as where the counters were lost: numbers were given out twice
        await conn.execute("drop table supabase_migrations.retained_event_counters")
    assert (await migrate_up(migrated_db, read_folder(migrations_dir()), options=options)).ok
    if defect == "another log":
        await conn.execute("select create_process_event($1, 'test_event')", process)
    elif defect == "a row is missing":
        file = folder / "public.background_tasks.csv"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    else:
        with (folder / "public.process_event_counters.csv").open("a") as file:
            file.write("00000000-0000-0000-0000-000000000000,7\n")
    before = await everything(conn)
    says = "stand where exported ones should go" if defect == "another log" else "were exported"
    with pytest.raises(AssertionError, match=rf"(?s){says}.*othing was changed"):
        await read_back(migrated_db, folder)
    assert compare_digests(before, await everything(conn)) == ()


async def test_tables_of_any_shape_go_back(bare_db: str, write: Write, connect: Connect, options: Options) -> None:
    odd = '"Odd, it\'s"'
    folder = write(
        PAIR
        | {
            "2_second.sql": f"create table public.{odd} (id integer generated always as identity primary key,"
            ' "a,b" text, twice integer generated always as (id * 2) stored,'
            f" parent integer references public.{odd} (id)); create table public.keyless (note text);"
            "alter table public.first add extra text default 'x'",
            "rollbacks/2_second.sql": f"-- destroys: table {odd}\n-- destroys: table keyless\n"
            f"-- destroys: column first.extra\ndrop table public.{odd}; drop table public.keyless;"
            "alter table public.first drop extra",
        }
    )
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    conn = await connect(bare_db)
    await conn.execute(
        f"""insert into public.{odd} ("a,b") values (null), (''), ('\\N'), (e'x\\n"y"');
            update public.{odd} set parent = 5 - id; insert into public.keyless values ('a'), ('a');
            update public.first set extra = 'y'"""
    )
    before = await everything(conn)
    (step,) = (await migrate_down(bare_db, read_folder(folder), options=options)).steps
    assert step.failure is None, step.failure
    assert step.export_dir is not None
    assert (await migrate_up(bare_db, read_folder(folder), options=options)).ok
    await read_back(bare_db, step.export_dir)
    assert compare_digests(before, await everything(conn)) == ()
    assert await conn.fetchval(f"insert into public.{odd} default values returning id") == 5
    with pytest.raises(AssertionError, match="no key to tell them"):
        await read_back(bare_db, step.export_dir)


async def test_rows_of_a_table_that_inherits_from_another_return_once(
    bare_db: str, connect: Connect, options: Options, write: Write
) -> None:
    folder = write(
        PAIR
        | {
            "2_second.sql": "create table public.place (id integer primary key, name text);"
            "create table public.city (mayor text, primary key (id)) inherits (public.place);"
            "create table public.day (k integer primary key) partition by range (k);"
            "create table public.day_1 partition of public.day for values from (0) to (10);"
            "create table public.thing (id integer primary key);"
            "create table public.tool (primary key (id)) inherits (public.thing);"
            "alter table public.thing add note text default 'x'",
            "rollbacks/2_second.sql": "-- destroys: table city\n-- destroys: table place\n-- destroys: table day\n"
            "-- destroys: table day_1\n-- destroys: table tool\n-- destroys: table thing\n"
            "drop table public.city, public.place, public.day, public.tool, public.thing",
            "3_third.sql": "alter table public.thing add extra text",
            "rollbacks/3_third.sql": "-- destroys: column thing.extra\n-- destroys: column tool.extra\n"
            "alter table public.thing drop extra",
        }
    )
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    conn = await connect(bare_db)
    await conn.execute(
        "insert into place values (1, 'moor'), (2, 'sea'); insert into city values (2, 'rome', 'm'), (3, 'oslo', null);"
        "insert into day values (1), (2); insert into thing (id, extra) values (1, 'a'), (2, 'b');"
        "insert into tool (id, extra) values (1, 'c'), (2, null)"
    )
    before = await everything(conn)
    assert [before[f"public.{name}"].rows for name in ("place", "city", "day", "thing", "tool")] == [2] * 5
    for last in (1, 2):
        result = await migrate_down(bare_db, read_folder(folder), last=last, options=options)
        assert result.ok, result.steps
        assert (await migrate_up(bare_db, read_folder(folder), options=options)).ok
        for step in reversed(result.steps):
            assert step.export_dir is not None
            await read_back(bare_db, step.export_dir)
        assert compare_digests(before, await everything(conn)) == ()


async def test_d27_rows_copied_between_databases_arrive_as_they_were(
    migrated_db: str, bare_db: str, connect: Connect, tmp_path: Path
) -> None:
    here, there = await connect(migrated_db), await connect(bare_db)
    assert (await migrate_up(bare_db, read_folder(migrations_dir()))).ok
    tables = (STATE, *LOG)
    file = tmp_path / "rows.sql"
    dump = (*(f"--table={table}" for table in tables), "--data-only", f"--file={file}", f"--dbname={migrated_db}")
    load = ("-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", bare_db, "-f", str(file))
    await here.execute(f"insert into {STATE} (user_id) values ('u')")
    await run("pg_dump", *dump)
    # Simply loaded, the copied states write events of their own under the numbers of the copied ones.
    with pytest.raises(AssertionError, match=r"duplicate key.*(unique_process_sequence|process_event_counters_pkey)"):
        await run("psql", *load)
    for _ in range(2):
        await worked_on(here)
    await run("pg_dump", *dump)
    await run("psql", *load, env={"PGOPTIONS": "-c session_replication_role=replica"})
    assert compare_digests(await digest_tables(here, tables), await digest_tables(there, tables)) == ()
    process, last = await there.fetchrow("select process_id, last_sequence from process_event_counters limit 1")
    await there.execute("select create_process_event($1, 'test_event')", process)
    found = "select max(event_sequence) from process_events where process_id = $1"
    assert await there.fetchval(found, process) == last + 1
