"""Verification: every planted defect is found by the check that is for it, and nothing stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.integration.migrate.conftest import Write, until
from tests.integration.migrate.probe_plants import DEFECTS, LEAKY_CLAIM
from tests.support.databases import as_superuser
from tests.support.generation import bench
from toolkit.migrate import MigrationRefused, VerifyResult, migrate_up, migrate_verify, snapshot
from toolkit.migrate.catalog.tables import user_tables
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.row_comparison.table_digests import compare_digests, digest_tables
from toolkit.probes import waking
from toolkit.probes.chosen import PROBES, probes_of
from toolkit.report.record import Check, Verdict
from toolkit.resources import migrations_dir

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
MIGRATION = "20250727000000"


@pytest.fixture
async def applied(bare_db: str) -> str:
    """DSN of a database to which the project's migrations were applied by the runner."""
    result = await migrate_up(bare_db, read_folder(migrations_dir()))
    assert result.ok, [step.failure for step in result.steps]
    return bare_db


def by_id(result: VerifyResult) -> dict[str, Check]:
    return {check.id: check for check in result.checks}


async def probe(dsn: str, identifier: str) -> Check:
    (found,) = [p for p in PROBES if p.id == identifier]
    return await found.run(dsn, MIGRATION)


# -- the project's own migrations ---------------------------------------------------------------------------------


async def test_a_good_database_passes_and_verifying_changes_nothing(applied: str, connect: Connect) -> None:
    conn = await connect(applied)
    catalog, rows = await snapshot(applied), await digest_tables(conn, await user_tables(conn))
    folder = read_folder(migrations_dir())
    result = await migrate_verify(applied, folder, probes=probes_of(folder))
    assert [check for check in result.checks if check.verdict is not Verdict.PASS] == []
    assert result.verdict is Verdict.PASS
    assert {"LEG-1", "RT-1", "RT-50", "RT-51", "RT-52", "RT-53", "RT-54", "RT-55", "RT-56"} <= by_id(result).keys()
    assert compare_digests(rows, await digest_tables(conn, await user_tables(conn))) == ()
    assert (await snapshot(applied)).digest() == catalog.digest()


async def test_each_planted_defect_is_found_by_its_probe_and_no_probe_leaves_rows(
    applied: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "_WAKE_DEADLINE_S", 1)  # what is switched off is not waited for
    conn = await connect(as_superuser(applied))
    missed = []
    for name, (defect, identifier, evidence) in DEFECTS.items():
        undo = await _definitions(conn)
        await conn.execute(defect)
        result = await probe(applied, identifier)
        if result.verdict is not Verdict.FAIL or evidence not in "\n".join(result.witness):
            missed.append((name, result))
        left = await conn.fetchval(
            "select count(*) from public.generated_articles_state where user_id like 'toolkit%'"
        ) + await conn.fetchval("select count(*) from public.organizations where owner_user_id like 'toolkit%'")
        assert left == 0, name
        await conn.execute(undo)
    assert missed == []


async def _definitions(conn: asyncpg.Connection) -> str:
    """What puts functions, policies, grants and triggers back as they are."""
    functions = await conn.fetch(
        "select pg_get_functiondef(oid) as text from pg_proc"
        " where pronamespace in ('public'::regnamespace, 'auth'::regnamespace)"
    )
    policies = await conn.fetch(
        "select polname, pg_get_expr(polqual, polrelid) as condition from pg_policy"
        " where polrelid = 'public.process_events'::regclass"
    )
    return "\n".join(
        [
            *(f"{row['text']};" for row in functions),
            "drop sequence if exists public.event_numbers;",
            "do $$ declare p name; begin for p in select polname from pg_policy where polrelid ="
            " 'public.process_events'::regclass loop execute format('drop policy %I on public.process_events', p);"
            " end loop; end $$;",
            *(
                f"create policy {p['polname']} on public.process_events for select to authenticated "
                f"using ({p['condition']});"
                for p in policies
            ),
            "revoke all on public.process_events from anon; revoke insert on public.process_events from authenticated;"
            "revoke execute on function public.create_process_event(uuid, text, jsonb, text, text) from anon;"
            "grant execute on function public.create_process_event(uuid, text, jsonb, text, text) to service_role;"
            "alter table public.process_events enable row level security;"
            "alter table public.generated_articles_state enable trigger trigger_publish_process_event;",
            "alter policy task_dependencies_read on public.task_dependencies"
            " using (exists (select from public.background_tasks t where t.id = dependent_task_id));",
            "create or replace trigger trigger_notify_background_task after insert or update of status,"
            " pending_dependencies on public.background_tasks"
            " for each row execute function public.notify_background_task();"
            "alter table public.background_tasks enable trigger trigger_notify_background_task;",
        ]
    )


async def test_the_servers_own_workers_leave_probe_tasks_alone(applied: str) -> None:
    async with bench(applied) as b:
        b.worker()
        process_id = await b.start()
        found = await probe(applied, "RT-51")
        assert (found.verdict, found.witness) == (Verdict.PASS, ())
        await b.until(process_id, lambda view: view.is_waiting_for_input)  # it was at work all the time


async def test_live_workers_that_take_probe_tasks_make_it_unknown_and_not_a_failure(
    applied: str, connect: Connect
) -> None:
    conn = await connect(applied)
    await conn.execute(LEAKY_CLAIM)
    result = await probe(applied, "RT-51")
    assert result.verdict is Verdict.UNKNOWN
    assert "live-worker-1" in result.detail


async def test_rows_that_cannot_be_removed_are_a_failure_and_go_with_a_later_run(
    applied: str, connect: Connect
) -> None:
    conn = await connect(applied)
    await conn.execute(
        "create function public.no() returns trigger language plpgsql as $$ begin raise 'kept'; end $$;"
        "create trigger no before delete on public.generated_articles_state for each row execute function public.no()"
    )
    result = await probe(applied, "RT-54")
    assert result.verdict is Verdict.FAIL
    assert "could not be removed" in result.witness[-1]
    await conn.execute("drop trigger no on public.generated_articles_state")
    await conn.execute("update public.generated_articles_state set created_at = now() - interval '2 hours'")
    assert (await probe(applied, "RT-54")).verdict is Verdict.PASS
    assert await conn.fetchval("select count(*) from public.generated_articles_state") == 0


async def test_a_probe_that_is_cancelled_removes_its_rows(applied: str, connect: Connect) -> None:
    conn = await connect(applied)
    running = asyncio.create_task(probe(applied, "RT-50"))
    await until(conn, "select exists (select from public.process_events where event_sequence > 3)")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await conn.fetchval("select count(*) from public.generated_articles_state") == 0


# -- verify files in general --------------------------------------------------------------------------------------


async def test_violations_exceptions_and_undecided_checks(bare_db: str, write: Write, connect: Connect) -> None:
    folder = write(
        {
            "1_a.sql": "create table public.a (id integer primary key); "
            "insert into public.a select generate_series(1, 30)",
            "verify/1_a.sql": """
            -- check: OK nothing wrong
            select id from public.a where id > 99;
            -- check: ROWS too many
            -- remedy: delete some
            select id, 'x' as why from public.a;
            -- check: RAISES an exception
            do $$ begin raise exception 'it is %', 'wrong'; end $$;
            -- check: AFTER the next check starts afresh
            insert into public.a values (100);
            select id from public.a where id = 100;
            -- check: CLEAN the row of the check before is gone
            select id from public.a where id = 100;
            -- check: TIMEOUT undecided
            set local statement_timeout = '10ms';
            select pg_sleep(5);
            -- check: LAST still runs
            select 1 where false;
        """,
            "2_b.sql": "create table public.b ()",
        }
    )
    await migrate_up(bare_db, read_folder(folder))
    found = by_id(await migrate_verify(bare_db, read_folder(folder), generic=False))
    assert {name: check.verdict.value for name, check in found.items()} == {
        "OK": "pass",
        "ROWS": "fail",
        "RAISES": "fail",
        "AFTER": "fail",
        "CLEAN": "pass",
        "TIMEOUT": "unknown",
        "LAST": "pass",
        "2-verify": "unknown",
    }
    assert found["ROWS"].witness[0] == "id=1, why=x"
    assert found["ROWS"].witness[-1] == "… and 10 more"
    assert found["ROWS"].remedy == "delete some"
    assert found["RAISES"].witness[0].startswith("1_a.sql:8: it is wrong")
    conn = await connect(bare_db)
    assert await conn.fetchval("select count(*) from public.a") == 30


async def test_a_broken_preamble_and_a_lost_connection_are_unknown(bare_db: str, write: Write) -> None:
    folder = write(
        {
            "1_a.sql": "select 1",
            "verify/1_a.sql": "select 1 / 0;\n-- check: A one\nselect 1 where false;",
            "2_b.sql": "select 1",
            "verify/2_b.sql": "-- check: B one\nselect pg_terminate_backend(pg_backend_pid());\n"
            "-- check: C two\nselect 1 where false;",
        }
    )
    await migrate_up(bare_db, read_folder(folder))
    found = by_id(await migrate_verify(bare_db, read_folder(folder), generic=False))
    assert {name: check.verdict.value for name, check in found.items()} == {
        "A": "unknown",
        "B": "unknown",
        "C": "unknown",
    }
    assert "division by zero" in found["A"].detail


async def test_only_applied_versions_are_verified_and_to_limits_them(bare_db: str, write: Write) -> None:
    check = "-- check: X{} holds\nselect 1 where false;"
    folder = write(
        {
            "1_a.sql": "select 1",
            "verify/1_a.sql": check.format(1),
            "2_b.sql": "select 1",
            "verify/2_b.sql": check.format(2),
        }
    )
    with pytest.raises(MigrationRefused, match="Nothing of"):
        await migrate_verify(bare_db, read_folder(folder))
    await migrate_up(bare_db, read_folder(folder), to="1")
    assert (await migrate_verify(bare_db, read_folder(folder))).versions == ("1",)
    with pytest.raises(MigrationRefused, match="Version 2 is not applied"):
        await migrate_verify(bare_db, read_folder(folder), to="2")
    await migrate_up(bare_db, read_folder(folder))
    assert (await migrate_verify(bare_db, read_folder(folder), to="1")).versions == ("1",)


async def test_a_strangers_migration_of_our_version_gets_no_probe_and_no_row_of_one(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = read_folder(
        write(
            {
                "20250727000000_notes.sql": "create table public.notes (id integer primary key);",
                "verify/20250727000000_notes.sql": "-- check: N holds\nselect 1 where false;",
            }
        )
    )
    assert (await migrate_up(bare_db, folder)).ok
    result = await migrate_verify(bare_db, folder, probes=probes_of(folder), generic=False)
    assert [(check.id, check.verdict) for check in result.checks] == [("N", Verdict.PASS)]
