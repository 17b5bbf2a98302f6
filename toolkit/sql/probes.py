"""What the behavioural probes of the realtime migration run. Every row of theirs belongs to one recognisable user."""

from __future__ import annotations

USER_PREFIX = "toolkit_probe_"

CREATE_PROCESS = """
    insert into public.generated_articles_state (user_id, organization_id) values ($1, $2) returning id
"""
CREATE_ORGANIZATION = "insert into public.organizations (name, owner_user_id) values ($1, $1) returning id"
ADD_MEMBER = "insert into public.organization_members (organization_id, user_id) values ($1, $2)"

APPEND = "select public.create_process_event($1, $2, $3::jsonb)"
UPDATE_PROGRESS = """
    update public.generated_articles_state set progress_percentage = (progress_percentage + 1) % 100 where id = $1
"""
# Lets other writers run between the allocation of a sequence and the commit.
LINGER = "select pg_sleep($1::float8)"
VISIBLE_SEQUENCES = """
    select count(*)::int as events, coalesce(max(event_sequence), 0) as highest
    from public.process_events where process_id = $1
"""
SEQUENCES = "select event_sequence, event_type from public.process_events where process_id = $1 order by event_sequence"

ENQUEUE = "select public.enqueue_background_task($1, $2, p_priority => 0)"
CLAIM = "select id, claim_token, worker_id from public.claim_background_task($1, p_task_types => array[$2])"
COMPLETE = "select public.complete_background_task($1, $2)"
TASKS = "select id, status, worker_id from public.background_tasks where task_type = $1"
PENDING = "select exists (select from public.background_tasks where task_type = $1 and status = 'pending')"

ASSUME = "select set_config('role', $1, true)"
CLAIMS = "select set_config('request.jwt.claims', $1, true)"
VISIBLE = {
    "generated_articles_state": "select count(*) from public.generated_articles_state where id = $1",
    "process_events": "select count(*) from public.process_events where process_id = $1",
    "background_tasks": "select count(*) from public.background_tasks where process_id = $1",
}
WRITES = {
    "insert an event": "insert into public.process_events (process_id, event_type, event_sequence)"
    " values ($1, 'generation_completed', 1000)",
    "rewrite an event": "update public.process_events set event_sequence = event_sequence + 1000 where process_id = $1",
    "delete events": "delete from public.process_events where process_id = $1",
    "insert a task": "insert into public.background_tasks (process_id, task_type) values ($1, 'forged')",
    "change a task": "update public.background_tasks set priority = 10 where process_id = $1",
    "delete tasks": "delete from public.background_tasks where process_id = $1",
    "call create_process_event": "select public.create_process_event($1, 'generation_completed')",
    "call enqueue_background_task": "select public.enqueue_background_task($1, 'forged')",
}

# Deleting the process takes its events, counters and tasks along; the organisation takes its members.
REMOVE = (
    "delete from public.generated_articles_state where user_id like $1 || '%'",
    "delete from public.organizations where owner_user_id like $1 || '%'",
)
REMOVE_STALE = (
    "delete from public.generated_articles_state"
    " where user_id like 'toolkit\\_probe\\_%' and created_at < now() - interval '1 hour'",
    "delete from public.organizations"
    " where owner_user_id like 'toolkit\\_probe\\_%' and created_at < now() - interval '1 hour'",
)

# Puts a task out of every worker's reach without changing what a reader may see.
PARK = "update public.background_tasks set scheduled_for = now() + interval '10 years' where process_id = $1"
