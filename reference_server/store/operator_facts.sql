-- What the operators' pages and metrics show.

-- name: answers
select;

-- name: queue
-- Of every process, or of one user's.
select t.task_type, t.status, count(*)::integer as tasks
from public.background_tasks t
where $1::text is null or exists (
  select from public.generated_articles_state s where s.id = t.process_id and s.user_id = $1)
group by t.task_type, t.status;

-- name: queue_facts
-- Tasks that wait because their process is paused or over are not late.
select coalesce(extract(epoch from clock_timestamp() - min(greatest(t.created_at, t.scheduled_for))
         filter (where t.status = 'pending' and t.scheduled_for <= clock_timestamp()
                 and t.pending_dependencies = 0)), 0)::double precision as oldest_pending_seconds,
       (count(*) filter (where t.status = 'running' and t.heartbeat_at < clock_timestamp() - $1::interval))::integer
         as expired_leases
from public.background_tasks t
where t.status in ('pending', 'running')
  and ($2::text is null or exists (
    select from public.generated_articles_state s where s.id = t.process_id and s.user_id = $2));

-- name: workers
-- Those that hold tasks, dead or alive, and those whose connections of their own are open (workers/link.py names them).
with busy as (
  select t.worker_id, t.worker_hostname, count(*)::integer as running, max(t.heartbeat_at) as last_heartbeat
  from public.background_tasks t
  where t.status = 'running'
  group by t.worker_id, t.worker_hostname
), connected as (
  select c.name[1] as worker_id, bool_or(c.name[2] = 'listen') as listening
  from pg_catalog.pg_stat_activity a
  cross join regexp_matches(a.application_name, '^reference_server worker (.+) (listen|beat)$') as c (name)
  where a.datname = current_database()
  group by c.name[1]
)
select worker_id, coalesce(busy.worker_hostname, split_part(worker_id, ':', 1)) as worker_hostname,
       coalesce(busy.running, 0) as running, busy.last_heartbeat, connected.worker_id is not null as connected,
       coalesce(connected.listening, false) as listening
from busy full join connected using (worker_id)
order by worker_id;

-- name: processes
-- On the legacy schema too.
select s.status::text as status, count(*) as number from public.generated_articles_state s group by s.status;

-- name: events_appended
select coalesce(sum(c.last_sequence), 0)::bigint from public.process_event_counters c;
