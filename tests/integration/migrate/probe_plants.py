"""Defects of our own migration that only the probes can see, each with its probe and what that says of it."""

from __future__ import annotations

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
