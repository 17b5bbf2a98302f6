"""Verification: every planted defect is found by the check that is for it, and nothing stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.integration.migrate.conftest import Write, until
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


MAX_PLUS_ONE = """
create or replace function public.append_process_event(
  p_process_id uuid, p_event_type text, p_event_data jsonb, p_event_category text, p_event_source text
) returns public.process_events language plpgsql set search_path = '' as $$
declare appended public.process_events;
begin
  insert into public.process_events (process_id, event_type, event_data, event_sequence)
  values (p_process_id, p_event_type, coalesce(p_event_data, '{}'), (
    select coalesce(max(event_sequence), 0) + 1 from public.process_events where process_id = p_process_id))
  returning * into appended;
  return appended;
end $$
"""
SEQUENCE = """
create sequence public.event_numbers;
create or replace function public.append_process_event(
  p_process_id uuid, p_event_type text, p_event_data jsonb, p_event_category text, p_event_source text
) returns public.process_events language plpgsql set search_path = '' as $$
declare appended public.process_events;
begin
  insert into public.process_events (process_id, event_type, event_data, event_sequence)
  values (p_process_id, p_event_type, coalesce(p_event_data, '{}'), nextval('public.event_numbers'))
  returning * into appended;
  return appended;
end $$
"""
UNLOCKED_CLAIM = """
create or replace function public.claim_background_task(
  p_worker_id text, p_worker_hostname text default null, p_task_types text[] default null
) returns setof public.background_tasks language plpgsql set search_path = '' as $$
declare chosen uuid;
begin
  select t.id into chosen from public.background_tasks t
  where t.status = 'pending' and t.task_type = any (p_task_types) order by t.created_at limit 1;
  perform pg_sleep(0.002);
  return query update public.background_tasks t
    set status = 'running', claim_token = gen_random_uuid(), worker_id = p_worker_id
    where t.id = chosen returning t.*;
end $$
"""
LEAKY_CLAIM = UNLOCKED_CLAIM.replace("worker_id = p_worker_id", "worker_id = 'live-worker-1'")

OWN_POLICY = """
drop policy process_events_read on public.process_events;
create policy own on public.process_events for select to authenticated using
"""


def replaced(function: str, part: str, by: str) -> str:
    """A statement that changes the text of a function, as a careless later migration would."""
    return f"""
    do $plant$ declare now_is text; then_is text; begin
      select pg_get_functiondef(oid) into now_is from pg_proc
      where proname = '{function}' and pronamespace = 'public'::regnamespace;
      then_is := regexp_replace(now_is, '\\s*{part.strip()}', '{by}');
      assert then_is <> now_is;
      execute then_is;
    end $plant$"""


DEFECTS: dict[str, tuple[str, str, str]] = {
    "max+1 sequences": (MAX_PLUS_ONE, "RT-50", "unique_process_sequence"),
    "sequences from a sequence": (SEQUENCE, "RT-50", "sequence"),
    "claim without lock": (UNLOCKED_CLAIM, "RT-51", "a claim waited for another"),
    "anon reads events": (
        "grant select on public.process_events to anon; create policy leak on public.process_events for select to anon"
        " using (true)",
        "RT-52",
        "anon without claims sees",
    ),
    "everybody reads events": (
        "create policy leak on public.process_events for select to authenticated using (true)",
        "RT-52",
        "the owner of another process sees",
    ),
    "members see the process and not its events": (
        f"{OWN_POLICY} (exists (select from public.generated_articles_state s where s.id = process_id"
        " and s.user_id = (select auth.jwt() ->> 'sub')))",
        "RT-52",
        "a member of the organisation sees 0",
    ),
    "a text sub cast to uuid": (
        f"{OWN_POLICY} (auth.uid() is not null)",
        "RT-52",
        "[22P02]",
    ),
    "empty claims raise": (
        "create or replace function auth.jwt() returns jsonb language sql stable as"
        " $$ select current_setting('request.jwt.claims', true)::jsonb $$",
        "RT-52",
        "authenticated with empty claims reading",
    ),
    "a policy that queries itself": (
        "create policy loop on public.process_events for select to authenticated using"
        " (exists (select from public.process_events))",
        "RT-52",
        "recursion",
    ),
    "row security off": (
        "alter table public.process_events disable row level security",
        "RT-52",
        "the owner of another process sees",
    ),
    "clients forge events": (
        "grant insert on public.process_events to authenticated; create policy forge on public.process_events"
        " for insert to authenticated with check (true)",
        "RT-53",
        "could insert an event",
    ),
    "clients call the function": (
        "grant execute on function public.create_process_event(uuid, text, jsonb, text, text) to anon",
        "RT-53",
        "anon without claims could call create_process_event",
    ),
    "the server cannot call the function": (
        "revoke execute on function public.create_process_event(uuid, text, jsonb, text, text) from service_role",
        "RT-54",
        "[42501]",
    ),
    "the trigger runs with the writer's rights": (
        "alter function public.publish_process_event() security invoker",
        "RT-54",
        "[42501]",
    ),
    "claims wait for each other": (
        replaced("claim_background_task", " skip locked", ""),
        "RT-51",
        "waited for another",
    ),
    "whoever has a process reads all events": (
        f"{OWN_POLICY} (exists (select from public.generated_articles_state s where s.id = s.id))",
        "RT-52",
        "the owner of another process sees 1 of 1 rows of process_events",
    ),
    "everybody reads dependencies": (
        "alter policy task_dependencies_read on public.task_dependencies using (true)",
        "RT-52",
        "rows of task_dependencies",
    ),
    "nobody is woken by a new task": (
        "alter table public.background_tasks disable trigger trigger_notify_background_task",
        "RT-55",
        "a new task woke nobody",
    ),
    "nobody is woken by a task given back": (
        "create or replace trigger trigger_notify_background_task after insert on public.background_tasks"
        " for each row execute function public.notify_background_task()",
        "RT-55",
        "a task given back woke nobody",
    ),
    **{
        f"{function} without {clause}": (replaced(function, f" {clause}", ""), "RT-56", said)
        for function, clause, said in (
            ("mark_process_waiting_for_input", "for no key update", "a prompt is opened while"),
            ("resolve_user_input", "for no key update", "a prompt is answered while"),
            ("refuse_task_write", "for no key update", "keeps a part of its step"),
            ("fail_background_task", "for no key update", "reports a failure while"),
            ("enqueue_background_task", "for share", "afterwards 1, expected 0"),
            ("heartbeat_background_tasks", "skip locked", "a heartbeat comes while"),
            ("rescue_background_tasks", "skip locked", "a rescue comes while"),
        )
    },
    "the trigger is off": (
        "alter table public.generated_articles_state disable trigger trigger_publish_process_event",
        "RT-54",
        "found",
    ),
}


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
