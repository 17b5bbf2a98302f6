"""Every check of the verify files is seen to fail on the defect it is for."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.integration.migrate.probe_plants import MAX_PLUS_ONE
from toolkit.migrate import migrate_verify
from toolkit.migrate.folder.files import read_folder
from toolkit.report.record import Verdict
from toolkit.resources import migrations_dir

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
Plant = Callable[[asyncpg.Connection], Awaitable[object]]


def sql(statement: str) -> Plant:
    return lambda conn: conn.execute(statement)


def mutate(function: str, pattern: str, replacement: str) -> Plant:
    """The function with one part of its text replaced, as a careless later migration would."""

    async def plant(conn: asyncpg.Connection) -> None:
        definition = await conn.fetchval(
            "select pg_get_functiondef(oid) from pg_proc where proname = $1 and pronamespace = 'public'::regnamespace",
            function,
        )
        changed, times = re.subn(pattern, replacement, definition, count=1, flags=re.DOTALL)
        assert times == 1, f"{function} no longer reads as the plant expects"
        await conn.execute(changed)

    return plant


STATE = "public.generated_articles_state"
PUBLISH = "trigger_publish_process_event"
START_KEY = "public.idx_generated_articles_state_start_key"

PLANTS: dict[str, Plant] = {
    "LEG-1": sql("drop table public.image_placeholders cascade"),
    "LEG-2": sql("alter table public.articles disable row level security"),
    "LEG-3": sql("alter type public.generation_status add value 'sleeping'"),
    "LEG-4": sql("drop index public.articles_one_per_process"),
    "LEG-5": sql("delete from public.flow_steps where step_order = 9"),
    "LEG-6": sql(
        "alter table public.generated_articles_state drop constraint if exists generated_articles_state_progress;"
        "insert into public.generated_articles_state (user_id, progress_percentage) values ('u', 101)"
    ),
    "LEG-7": mutate("cleanup_old_processes", r"and not exists \([^;]*\)", ""),
    "RT-1": sql("drop table public.task_dependencies cascade"),
    "RT-2": sql(f"alter table {STATE} drop column user_input_timeout"),
    "RT-3": sql("alter table public.process_events rename column acknowledged_by to seen_by"),
    "RT-4": sql("create function public.cleanup_old_events(days text) returns integer language sql as 'select 1'"),
    "RT-5": sql("alter function public.publish_process_event() reset search_path"),
    "RT-6": sql("grant execute on function public.cleanup_old_events(integer) to authenticated"),
    "RT-7": sql(f"alter table {STATE} disable trigger {PUBLISH}"),
    "RT-8": sql("drop index public.idx_background_tasks_queue"),
    "RT-9": sql("create index on public.process_events (process_id)"),
    "RT-10": sql("alter table public.background_tasks disable row level security"),
    "RT-11": sql("grant select on public.process_events to anon"),
    "RT-12": sql("grant insert on public.process_events to service_role"),
    "RT-13": sql("alter publication supabase_realtime drop table public.process_events"),
    "RT-14": sql("alter publication supabase_realtime set (publish = 'insert')"),
    "RT-15": sql("alter table public.articles replica identity nothing"),
    "RT-16": sql("alter table public.process_events replica identity full"),
    # The original migration's first defect: the child row before its parent.
    "RT-20": sql(
        f"drop trigger {PUBLISH} on {STATE}; create trigger {PUBLISH} before insert or update on {STATE} "
        "for each row execute function public.publish_process_event()"
    ),
    "RT-21": sql("alter table public.process_events add check (event_type <> 'test_event')"),
    # One kind of change hides another: the second test is made an alternative of the first.
    "RT-22": mutate("publish_process_event", r"end if;\s+if (new\.current_step_name)", r"elsif \1"),
    "RT-23": mutate(
        "publish_process_event", r"'process_id', new\.id,", "'process_id', new.id, 'context', new.article_context,"
    ),
    "RT-24": sql(MAX_PLUS_ONE),
    "RT-25": sql("alter table public.process_events disable trigger trigger_guard_process_event"),
    "RT-26": mutate("resolve_user_input", r"if state\.status <> 'user_input_required'.*? then", "if false then"),
    "RT-27": mutate("complete_background_task", r" and claim_token = p_claim_token", ""),
    "RT-28": mutate("fail_background_task", r"task\.retry_count < task\.max_retries", "true"),
    "RT-29": sql(
        "create or replace function public.settle_task_dependents(p_task_id uuid) returns void "
        "language plpgsql set search_path = '' as 'begin end'"
    ),
    "RT-30": mutate("claim_background_task", r"and s\.status in \([^)]*\)", ""),
    "RT-31": sql("alter table public.background_tasks drop constraint background_tasks_priority_check"),
    "RT-32": sql("create policy leak on public.process_events for select to authenticated using (true)"),
    "RT-33": mutate("refuse_task_write", r" and claim_token = p_claim_token", ""),
    "RT-34": mutate("finish_task_step", r"t\.priority >= next_priority", "t.priority > next_priority"),
    "RT-35": mutate("update_task_status", r"new\.updated_at := clock_timestamp\(\);", "null;"),
    "RT-36": mutate("resolve_user_input", r"p_next_status not in \('in_progress', 'auto_progressing'\)", "false"),
    "RT-37": sql("alter table public.background_tasks drop constraint background_tasks_retries"),
    "RT-38": sql("alter table public.background_tasks alter column status drop not null"),
    "RT-39": sql("alter table public.background_tasks alter column max_retries set default 4"),
    "RT-40": sql("alter function public.heartbeat_background_tasks(uuid[]) reset search_path"),
    "RT-41": sql("alter table public.process_event_counters drop constraint process_event_counters_process_id_fkey"),
    "RT-42": sql(
        "drop index public.idx_background_tasks_queue; create index idx_background_tasks_queue on "
        "public.background_tasks (priority desc, scheduled_for, created_at) where status = 'pending'"
    ),
    "RT-43": mutate("resolve_user_input", r"where id = p_process_id;(\s+perform)", r";\1"),
    "RT-44": mutate("create_process_event", r"if not exists .*? end if;", ""),
    "RT-45": sql("alter policy process_event_counters_none on public.process_event_counters using (true)"),
    "RT-46": sql("grant execute on function public.append_process_events(uuid, jsonb, text) to service_role"),
    "IDX-1": sql("drop index public.idx_active_processes"),
    "IDX-2": sql(f"drop index {START_KEY}; create index idx_generated_articles_state_start_key on {STATE} (user_id)"),
    "IDX-3": sql(f"alter table {STATE} drop constraint generated_articles_state_task_priority_check"),
    "OWN-1": sql(
        "alter policy articles_owner on public.articles with check (user_id = (select auth.jwt() ->> 'sub')"
        " and (organization_id is null or public.is_organization_member(organization_id)))"
    ),
    "OWN-2": sql("grant select (claim_token) on public.background_tasks to authenticated"),
    "OWN-3": sql("alter table public.process_events disable trigger trigger_refuse_process_event"),
    "OWN-4": sql("grant execute on function public.refuse_process_event() to anon"),
    "IDX-4": sql(
        "drop index public.idx_generated_articles_state_input_timeout; create index "
        f"idx_generated_articles_state_input_timeout on {STATE} (user_input_timeout)"
    ),
}

# Further defects of checks that look at several things.
MORE: list[tuple[str, Plant]] = [
    (
        "IDX-3",
        sql(
            f"alter table {STATE} drop constraint {STATE.split('.')[1]}_background_task_id_fkey, add constraint"
            f" {STATE.split('.')[1]}_background_task_id_fkey foreign key (background_task_id)"
            " references public.background_tasks (id) on delete set null not valid"
        ),
    ),
    ("RT-22", mutate("publish_process_event", r"'input_resolved'", "'input_required'")),
    ("RT-22", mutate("publish_process_event", r"new\.image_mode, (new\.input_type\) is)", r"true, \1")),
    ("RT-26", mutate("resolve_user_input", r"if state\.user_input_timeout <= .*? then", "if false then")),
    ("RT-26", mutate("mark_process_waiting_for_input", r"coalesce\(p_input_type, ''\) = ''", "false")),
    ("RT-26", mutate("mark_process_waiting_for_input", r"p_reopen and ", "")),
    ("RT-29", mutate("enqueue_background_task", r" and p_dependency_type <> 'always'", "")),
    ("RT-29", mutate("settle_task_dependents", r" or edge\.dependency_type = 'always'", "")),
    ("RT-29", mutate("settle_task_dependents", r", 'paused'", "")),
    ("RT-29", mutate("settle_task_dependents", r"pending_dependencies - 1", "0")),
    ("RT-29", mutate("enqueue_background_task", r"if added is null then", "if false then")),
    ("RT-21", mutate("append_process_event", r"coalesce\(p_event_category, 'system'\)", "p_event_category")),
    ("RT-22", mutate("publish_process_event", r"'step_changed', 'data', data \|\| ", "'step_changed', 'data', ")),
    ("RT-22", mutate("publish_process_event", r"jsonb_build_array\(old\.status, new\.status\)", "'[]'::jsonb")),
    ("RT-24", mutate("cleanup_old_events", r", 'generation_cancelled'", "")),
    ("RT-24", mutate("cleanup_old_events", r"'process_created', ", "")),
    ("RT-24", mutate("cleanup_old_events", r"and e\.created_at <= limit_time", "")),
    ("RT-24", mutate("cleanup_old_events", r" and s\.updated_at <= limit_time", "")),
    ("RT-25", mutate("guard_process_event", r"new\.event_sequence", "old.event_sequence")),
    ("RT-25", mutate("guard_process_event", r"new\.created_at", "old.created_at")),
    ("RT-25", mutate("acknowledge_process_event", r" and process_id = p_process_id and", " and")),
    (
        "RT-25",
        sql(
            "alter table public.process_events drop constraint unique_process_sequence;"
            "create index unique_process_sequence on public.process_events (process_id, event_sequence)"
        ),
    ),
    ("RT-27", mutate("heartbeat_background_tasks", r" and b\.claim_token = any \(p_claim_tokens\)", "")),
    ("RT-27", mutate("rescue_background_tasks", r"< p_max_rescues", "<= p_max_rescues")),
    ("RT-27", mutate("rescue_background_tasks", r" and t\.heartbeat_at < clock_timestamp\(\) - p_lease", "")),
    ("RT-27", mutate("release_background_task", r" and claim_token = p_claim_token", "")),
    ("RT-28", mutate("fail_background_task", r"0\.5 \+ random\(\) / 2", "random()")),
    ("RT-28", mutate("fail_background_task", r"0\.5 \+ random\(\) / 2", "1")),
    ("RT-28", mutate("fail_background_task", r"power\(2, ", "power(1, ")),
    ("RT-28", mutate("fail_background_task", r"p_retryable and ", "")),
    ("RT-30", mutate("claim_background_task", r" and t\.scheduled_for <= clock_timestamp\(\)", "")),
    ("RT-30", mutate("claim_background_task", r"t\.priority desc", "t.priority")),
    ("RT-30", mutate("claim_background_task", r"t\.scheduled_for, t\.created_at", "t.created_at")),
    ("RT-30", mutate("claim_background_task", r"'resuming', ", "")),
    ("RT-32", sql("create policy leak on public.task_dependencies for select to authenticated using (true)")),
    (
        "RT-32",
        sql(
            "alter policy process_events_read on public.process_events"
            f" using (exists (select from {STATE} s where s.id = s.id))"
        ),
    ),
    (
        "RT-32",
        sql(f"alter policy background_tasks_read on public.background_tasks using (exists (select from {STATE} s))"),
    ),
    ("RT-33", mutate("refuse_task_write", r"and process_id = p_process_id and", "and")),
    ("RT-33", mutate("refuse_task_write", r"'resuming', ", "'resuming', 'paused', ")),
    ("RT-33", mutate("checkpoint_task_step", r"greatest\(progress_percentage, p_progress\)", "p_progress")),
    ("RT-34", mutate("finish_task_step", r"p_heir_token is not null and ", "")),
    ("RT-34", mutate("finish_task_step", r"if not public\.complete_background_task.*?end if;", "null;")),
    ("RT-35", mutate("update_task_status", r"new\.completed_at := null;", "null;")),
    ("RT-36", mutate("mark_process_waiting_for_input", r"mins => p_timeout_minutes", "secs => p_timeout_minutes")),
    ("RT-36", mutate("mark_process_waiting_for_input", r"input_reminder_sent = false, ", "")),
    (
        "OWN-1",  # who sees a process, as the colleagues in its organisation do, makes no article of it
        sql(
            "alter policy articles_owner on public.articles with check (user_id = (select auth.jwt() ->> 'sub')"
            " and (organization_id is null or public.is_organization_member(organization_id))"
            " and (generation_process_id is null or exists"
            f" (select from {STATE} s where s.id = generation_process_id)))"
        ),
    ),
    (
        "OWN-1",
        sql(
            "alter policy style_guide_templates_owner on public.style_guide_templates"
            " with check (user_id = (select auth.jwt() ->> 'sub'))"
        ),
    ),
    ("OWN-2", sql("revoke select (task_data) on public.background_tasks from authenticated")),
    ("OWN-3", mutate("refuse_process_event", r"jsonb_typeof\(new\.event_data\),?(\s+using)", r"'scalar'\1")),
]


@pytest.mark.parametrize(
    ("check", "plant"), [*PLANTS.items(), *(pytest.param(*more, id=f"{more[0]}+{n}") for n, more in enumerate(MORE))]
)
async def test_the_planted_defect_is_found(migrated_db: str, connect: Connect, check: str, plant: Plant) -> None:
    conn = await connect(migrated_db)
    await plant(conn)
    result = await migrate_verify(migrated_db, read_folder(migrations_dir()))
    (found,) = [c for c in result.checks if c.id == check]
    assert found.verdict is Verdict.FAIL, found
    assert found.witness
    assert found.remedy


def test_every_check_has_its_plant() -> None:
    texts = [file.read_text() for file in sorted((migrations_dir() / "verify").glob("*.sql"))]
    assert {check for text in texts for check in re.findall(r"^-- check: (\S+)", text, re.MULTILINE)} == set(PLANTS)
