"""Defects planted in a real database, each seen by the check that is for it."""

from __future__ import annotations

import pytest

from tests.integration.checks.conftest import Patient, results
from toolkit.monitor.database_facts import database_facts
from toolkit.report.record import Verdict
from toolkit.targets.target import Target

# What is planted: the statements, in which {asks}, {works} and {done} are processes; the checks that must fail.
# Rows are changed with triggers off (session_replication_role) where a row of another time is needed.
OLD = "set session_replication_role = replica;"
NEW = "; set session_replication_role = origin"
PLANTED: dict[str, tuple[str, set[str]]] = {
    "a migration forgotten": (
        "delete from supabase_migrations.schema_migrations where version = '20250728000000';"
        "delete from supabase_migrations.toolkit_events where version = '20250728000000'",
        {"MIG-1"},
    ),
    "an applied migration edited": (
        "update supabase_migrations.toolkit_events set sha256 = 'other' where version = '20250727000000'",
        {"MIG-2"},
    ),
    "no publication": ("drop publication supabase_realtime", {"PUB-1", "PUB-2"}),
    "updates not published": ("alter publication supabase_realtime set (publish = 'insert')", {"PUB-1"}),
    "events dropped from the publication": (
        "alter publication supabase_realtime drop table public.process_events",
        {"PUB-2"},
    ),
    "replica identity nothing": ("alter table public.background_tasks replica identity nothing", {"PUB-3"}),
    "a key that is deferrable": (
        "alter table public.background_tasks add unique (id); alter table public.background_tasks "
        "drop constraint background_tasks_pkey cascade, add primary key (id) deferrable",
        {"PUB-3"},
    ),
    "row security off": ("alter table public.generated_articles_state disable row level security", {"RLS-1"}),
    "row security without a policy": ("drop policy process_events_read on public.process_events", {"RLS-2"}),
    "the schema closed": ("revoke usage on schema public from authenticated, public", {"GRT-1"}),
    "a column granted": (
        "grant update (event_data) on public.process_events to authenticated",
        {"GRT-2"},
    ),
    "select revoked": ("revoke select on public.process_events from authenticated", {"GRT-1"}),
    "anon may read": ("grant select on public.process_events to anon", {"GRT-2"}),
    "clients may write": ("grant insert on public.background_tasks to authenticated", {"GRT-2"}),
    "trigger disabled": (
        "alter table public.generated_articles_state disable trigger trigger_publish_process_event",
        {"TRG-1"},
    ),
    "trigger dropped": ("drop trigger trigger_notify_background_task on public.background_tasks", {"TRG-1"}),
    "function lost": ("drop function public.acknowledge_process_event", {"FUN-1"}),
    "server may not call": (
        "revoke execute on function public.claim_background_task from service_role",
        {"FUN-1"},
    ),
    "everybody may call": ("grant execute on function public.create_process_event to public", {"FUN-2"}),
    "an event deleted": (
        "delete from public.process_events where process_id = '{asks}' and event_sequence = 2",
        {"EVT-1"},
    ),
    "the first events deleted": (
        "delete from public.process_events where process_id = '{asks}' and event_sequence = 1",
        {"EVT-1"},
    ),
    "a counter set back": (
        "update public.process_event_counters set last_sequence = 1 where process_id = '{asks}'",
        {"EVT-2"},
    ),
    "a change without an event": (
        OLD + "update public.generated_articles_state set status = 'paused' where id = '{works}'" + NEW,
        {"EVT-3"},
    ),
    "a worker that does nothing": (
        "select public.claim_background_task('w');"
        + OLD
        + "update public.background_tasks set started_at = now() - interval '1 hour';"
        "update public.process_events set created_at = now() - interval '1 hour'" + NEW,
        {"EVT-4"},
    ),
    "a dead worker": (
        "select public.claim_background_task('w');"
        "update public.background_tasks set heartbeat_at = now() - interval '5 minutes'",
        {"TSK-1"},
    ),
    "a task nobody takes": (
        "update public.background_tasks set scheduled_for = now() - interval '5 minutes',"
        " created_at = now() - interval '5 minutes'",
        {"TSK-2"},
    ),
    "a failed task": (
        "select public.fail_background_task(id, claim_token, 'boom', null, false)"
        " from public.claim_background_task('w');"
        "update public.generated_articles_state set status = 'error', error_message = 'boom' where id = '{works}'",
        {"TSK-3"},
    ),
    "a last attempt": ("update public.background_tasks set retry_count = max_retries", {"TSK-4"}),
    "a task of an ended process": (
        "select public.enqueue_background_task('{done}', 'generation_continue')",
        {"TSK-5"},
    ),
    "a task that waits for nothing": (
        "update public.background_tasks set pending_dependencies = 1",
        {"TSK-6"},
    ),
    "an orphan": (
        "delete from public.background_tasks;"
        + OLD
        + "update public.generated_articles_state set updated_at = now() - interval '1 hour' where id = '{works}'"
        + NEW,
        {"PRC-1"},
    ),
    "a prompt of no known type": (
        "update public.generated_articles_state set input_type = 'guess' where id = '{asks}'",
        {"PRC-2"},
    ),
    "a flag that was forgotten": (
        "update public.generated_articles_state set is_waiting_for_input = true where id = '{works}'",
        {"PRC-3"},
    ),
    "a prompt that nobody closed": (
        "update public.generated_articles_state set user_input_timeout = now() - interval '1 hour' where id = '{asks}'",
        {"PRC-4"},
    ),
    "a step that was renamed": (
        OLD + "update public.generated_articles_state set updated_at = now() - interval '1 hour',"
        " current_step_name = 'persona_choosing' where id = '{asks}'" + NEW,
        {"PRC-5", "EVT-3"},
    ),
    "a lost article": ("delete from public.articles", {"PRC-6"}),
    "an error without words": (
        "delete from public.background_tasks;"
        "update public.generated_articles_state set status = 'error' where id = '{works}'",
        {"PRC-7"},
    ),
    "an empty context": (
        "update public.generated_articles_state set article_context = '{{}}' where id = '{works}'",
        {"PRC-8"},
    ),
}


async def test_a_healthy_database_passes(patient: Patient) -> None:
    found = await patient.examine()
    assert await patient.failing() == set()
    asked = [c for id, c in found.items() if not id.startswith(("SET", "API", "RT", "CLK-2"))]
    assert [c.id for c in asked if c.verdict is Verdict.UNKNOWN] == []
    # Nobody works on this database.
    assert found["WRK-1"].verdict is Verdict.FAIL


@pytest.mark.parametrize("defect", PLANTED)
async def test_a_planted_defect_is_found(patient: Patient, defect: str) -> None:
    statements, expected = PLANTED[defect]
    await patient.conn.execute(statements.format(asks=patient.asks, works=patient.works, done=patient.done))
    assert await patient.failing() == expected


async def test_events_cleaned_up_are_no_gap(patient: Patient) -> None:
    await patient.conn.execute(
        "update public.generated_articles_state set progress_percentage = 99 where id = $1", patient.done
    )
    assert await patient.conn.fetchval("select public.cleanup_old_events(0)") > 0
    assert await patient.failing() == set()


async def test_an_abandoned_slot_is_told_of(patient: Patient) -> None:
    name = patient.dsn.split("/@/")[-1].split("?")[0].rsplit("/", 1)[-1]
    await patient.conn.execute("select pg_create_logical_replication_slot($1, 'pgoutput')", name)
    try:
        found = await database_facts(Target(kind="embedded", database_url=patient.dsn))
        assert isinstance(found.slots, tuple)
        assert [slot.active for slot in found.slots if slot.name == name] == [False]
    finally:
        await patient.conn.execute("select pg_drop_replication_slot($1)", name)


async def test_a_role_that_rows_are_hidden_from(patient: Patient) -> None:
    await patient.conn.execute("create role hidden_from login; grant pg_read_all_data to hidden_from")
    try:
        dsn = patient.dsn.replace("postgresql://postgres@", "postgresql://hidden_from@")
        assert dsn != patient.dsn
        found = {check.id: check for check in await results(dsn)}
        assert (found["DB-6"].verdict, "hidden_from" in found["DB-6"].detail) == (Verdict.FAIL, True)
    finally:
        await patient.conn.execute("grant hidden_from to postgres; drop owned by hidden_from; drop role hidden_from")


async def test_a_legacy_database_is_unknown_where_the_tables_are_missing(legacy_db: str) -> None:
    found = {check.id: check for check in await results(legacy_db)}
    assert {id for id, c in found.items() if c.verdict is Verdict.FAIL} == {
        "MIG-1",
        "SCH-1",
        "PUB-2",
        "TRG-1",
        "FUN-1",
    }
    assert (found["EVT-1"].verdict, "toolkit migrate" in found["EVT-1"].remedy) == (Verdict.UNKNOWN, True)
    # What is not there is not fine.
    vacuous = ("PUB-3", "RLS-1", "RLS-2", "GRT-1", "GRT-2", "FUN-2")
    assert {id for id in vacuous if found[id].verdict is Verdict.UNKNOWN} == set(vacuous)
    assert found["PRC-6"].verdict is Verdict.PASS


async def test_no_database_is_unknown_with_the_reason() -> None:
    found = {check.id: check for check in await results("postgresql://nobody:s3cret@127.0.0.1:1/none")}
    assert (found["DB-1"].verdict, "127.0.0.1:1" in found["DB-1"].detail) == (Verdict.UNKNOWN, True)
    assert not any("s3cret" in f"{check.detail} {check.remedy}" for check in found.values())
