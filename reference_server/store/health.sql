-- What the operators' pages and metrics show.

-- name: queue
select t.task_type, t.status, count(*)::integer as tasks
from public.background_tasks t
group by t.task_type, t.status;

-- name: queue_facts
-- Tasks that wait because their process is paused or over are not late.
select coalesce(extract(epoch from clock_timestamp() - min(greatest(t.created_at, t.scheduled_for))
         filter (where t.status = 'pending' and t.scheduled_for <= clock_timestamp()
                 and t.pending_dependencies = 0)), 0)::double precision as oldest_pending_seconds,
       (count(*) filter (where t.status = 'running' and t.heartbeat_at < clock_timestamp() - $1::interval))::integer
         as expired_leases
from public.background_tasks t
where t.status in ('pending', 'running');

-- name: workers
select t.worker_id, t.worker_hostname, count(*)::integer as running, max(t.heartbeat_at) as last_heartbeat
from public.background_tasks t
where t.status = 'running'
group by t.worker_id, t.worker_hostname
order by t.worker_id;
