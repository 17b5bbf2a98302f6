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
# The dependent's id is its process's: so a dependency is found without asking for the task, which may be hidden.
ENQUEUE_AFTER = """
    select public.enqueue_background_task($1, $2, p_priority => 0, p_id => $1, p_depends_on => array[$3::uuid])
"""
CLAIM = "select id, claim_token, worker_id from public.claim_background_task($1, p_task_types => array[$2])"
# A claim that waits for a lock is told from one that is slow.
SHORT_LOCK_TIMEOUT = "set local lock_timeout = '3s'"
FORGET_TASKS = "delete from public.background_tasks where task_type = $1"
COMPLETE = "select public.complete_background_task($1, $2)"
TASKS = "select id, status, worker_id from public.background_tasks where task_type = $1"
PENDING = "select exists (select from public.background_tasks where task_type = $1 and status = 'pending')"

ASSUME = "select set_config('role', $1, true)"
CLAIMS = "select set_config('request.jwt.claims', $1, true)"
VISIBLE = {
    "generated_articles_state": "select count(*) from public.generated_articles_state where id = $1",
    "process_events": "select count(*) from public.process_events where process_id = $1",
    "background_tasks": "select count(*) from public.background_tasks where process_id = $1",
    "task_dependencies": "select count(*) from public.task_dependencies where dependent_task_id = $1",
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
CHANNEL = "background_tasks"
PAUSE = "update public.generated_articles_state set status = 'paused' where id = $1"
RESUME = "update public.generated_articles_state set status = 'in_progress' where id = $1"
RUN = "update public.background_tasks set status = 'running', claim_token = gen_random_uuid() where id = $1"
PEND = "update public.background_tasks set status = 'pending' where id = $1"
# Races: `first` runs in a transaction that stays open, `second` begins meanwhile and, where it must, waits for it.
OPEN_PROMPT = "select public.mark_process_waiting_for_input($1, 'select_theme')"
ANSWER = "select public.resolve_user_input($1, '{}')"
CANCEL = "update public.generated_articles_state set status = 'cancelled' where id = $1"
HOLD = "update public.background_tasks set status = 'running', claim_token = $2 where id = $1"
TAKE_AWAY = "update public.background_tasks set claim_token = gen_random_uuid() where id = $1"
CHECKPOINT = "select public.checkpoint_task_step($1, $2, $3, '{}', 1, '[]', 'toolkit_probe')"
FAIL = "select public.fail_background_task($1, $2, 'toolkit_probe')"
HEARTBEAT = "select count(*) from public.heartbeat_background_tasks(array[$1::uuid])"
OLD_HEARTBEAT = "update public.background_tasks set heartbeat_at = now() - interval '200 years' where id = $1"
RESCUE = "select count(*) from public.rescue_background_tasks(interval '100 years') r where r.id = $1"
DEPENDENCIES_LEFT = "select pending_dependencies from public.background_tasks where id = $1"
LOCK_TASK = "select from public.background_tasks where id = $1 for update"
LOCK_PROCESS = "select from public.generated_articles_state where id = $1 for update"
WAITS = "select pg_blocking_pids($1) && array[$2::integer]"
PARK = "update public.background_tasks set scheduled_for = now() + interval '10 years' where process_id = $1"
