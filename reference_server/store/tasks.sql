-- The task queue. Claimed rows are written only by whoever holds their claim token.

-- name: enqueue
select public.enqueue_background_task(
  $1, $2, $3, $4, p_id => $5, p_max_retries => $6, p_retry_delay_seconds => $7, p_created_by => $8);

-- name: claim
select t.id, t.process_id, t.task_type, t.task_data, t.claim_token, t.retry_count, t.rescue_count, t.max_retries
from public.claim_background_task($1, $2, $3) t;

-- name: next_due
-- Seconds until the next task that is scheduled for later; null when none is.
select extract(epoch from min(t.scheduled_for) - clock_timestamp())::double precision
from public.background_tasks t
where t.status = 'pending' and t.pending_dependencies = 0 and t.scheduled_for > clock_timestamp()
  and t.task_type = any ($1::text[]);

-- name: refuse
-- Locks the process first.
select public.refuse_task_write($1, $2, $3);

-- name: notify
select pg_notify($1, $2);

-- name: held
select exists (select from public.background_tasks where id = $1 and status = 'running' and claim_token = $2);

-- name: checkpoint
select public.checkpoint_task_step($1, $2, $3, $4, $5, $6, $7, $8);

-- name: finish
select f.refusal, f.reached, f.inherited
from public.finish_task_step(
  $1, $2, $3, $4, $5, $6, $7, $8, $9, p_gate => $10, p_gate_progress => $11, p_gate_events => $12,
  p_next => $13, p_heir_token => $14, p_heir_events => $15) f;

-- name: complete
select public.complete_background_task($1, $2);

-- name: fail
select public.fail_background_task($1, $2, $3, $4, $5);

-- name: release
-- By token: of a task and the one that may have been inherited from it at most one is running.
select public.release_background_task(t.id, t.claim_token)
from public.background_tasks t
where t.process_id = $1 and t.status = 'running' and t.claim_token = any ($2::uuid[]);

-- name: heartbeat
select h.claim_token from public.heartbeat_background_tasks($1::uuid[]) h;

-- name: rescue
select r.id, r.process_id, r.status, r.rescue_count, r.worker_id
from public.rescue_background_tasks($1::interval, $2) r
order by r.process_id;

-- name: retry_facts
select t.retry_count, t.scheduled_for from public.background_tasks t where t.id = $1;

-- name: pause
-- Running ones too: without a claim token their worker can change nothing any more.
update public.background_tasks set status = 'paused' where process_id = $1 and status in ('pending', 'running');

-- name: unpause
update public.background_tasks
set status = 'pending', worker_id = null, worker_hostname = null, scheduled_for = clock_timestamp()
where process_id = $1 and status = 'paused'
returning task_type;

-- name: open
-- Everything of a process that has not ended yet.
select t.id from public.background_tasks t
where t.process_id = $1 and t.status in ('pending', 'running', 'paused')
order by t.id;

-- name: cancel
update public.background_tasks set status = 'cancelled', error_message = $2 where id = any ($1::uuid[]);

-- name: settle
select public.settle_task_dependents($1);
