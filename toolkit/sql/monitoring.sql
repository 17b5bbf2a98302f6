-- What the monitor asks: the guide's queries made right, and its key metrics. Nothing here writes. Rows of probes
-- (users toolkit_probe_…) are left out.
-- $1, where there is one, is the window in seconds.

-- name: active_processes
select s.status::text as status, count(*)::int as processes, max(s.updated_at) as last_change
from public.generated_articles_state s where :no_probe group by s.status order by s.status;

-- name: recent_events
select e.event_type, count(*)::int as events, count(distinct e.process_id)::int as processes,
       max(e.created_at) as last_at
from public.process_events e join public.generated_articles_state s on s.id = e.process_id
where e.created_at > now() - make_interval(secs => $1) and :no_probe
group by e.event_type order by 2 desc, 1;

-- name: queue_health
-- The guide counts what was created within the window; a task that waits for longer is the one to see.
select t.status, t.priority, count(*)::int as tasks,
       avg(extract(epoch from now() - t.created_at))::float8 as mean_age_s,
       max(extract(epoch from now() - t.created_at))::float8 as oldest_age_s
from public.background_tasks t
where t.status in ('pending', 'running', 'paused') or t.updated_at > now() - make_interval(secs => $1)
group by t.status, t.priority order by t.status, t.priority desc;

-- name: failed_processes
select s.id::text as process_id, s.current_step_name as step, coalesce(s.error_message, '') as message, s.updated_at
from public.generated_articles_state s where s.status = 'error' and :no_probe order by s.updated_at desc limit 10;

-- name: table_sizes
select c.relname::text as name, pg_total_relation_size(c.oid)::bigint as bytes,
       coalesce(t.n_live_tup, 0)::bigint as live, coalesce(t.n_dead_tup, 0)::bigint as dead,
       coalesce(t.n_tup_ins, 0)::bigint as inserted,
       coalesce(t.seq_scan, 0)::bigint as seq_scans, coalesce(t.seq_tup_read, 0)::bigint as seq_rows,
       coalesce(t.idx_scan, 0)::bigint as index_scans, greatest(t.last_vacuum, t.last_autovacuum) as vacuumed_at
from pg_class c join pg_stat_user_tables t on t.relid = c.oid
where c.relnamespace = 'public'::regnamespace
  and c.relname in ('generated_articles_state', 'process_events', 'background_tasks')
order by c.relname;

-- name: indexes
select i.relname::text as on_table, i.indexrelname::text as name, i.idx_scan::bigint as scans,
       pg_relation_size(i.indexrelid)::bigint as bytes
from pg_stat_user_indexes i
where i.schemaname = 'public' and i.relname in ('generated_articles_state', 'process_events', 'background_tasks')
order by i.relname, i.idx_scan desc, i.indexrelname;

-- name: growth
-- From the log itself: what was appended within the window, and how large its rows are.
select count(*)::int as events, coalesce(sum(pg_column_size(e.*)), 0)::bigint as bytes
from public.process_events e join public.generated_articles_state s on s.id = e.process_id
where e.created_at > now() - make_interval(secs => $1) and :no_probe;

-- name: queue
select (count(*) filter (where t.status = 'pending'))::int as pending,
       (count(*) filter (where t.status = 'running'))::int as running,
       extract(epoch from clock_timestamp() - min(greatest(t.created_at, t.scheduled_for)) filter (
         where t.status = 'pending' and t.pending_dependencies = 0 and t.scheduled_for <= clock_timestamp()
           and s.status in ('in_progress', 'resuming', 'auto_progressing')))::float8 as oldest_due_s
from public.background_tasks t join public.generated_articles_state s on s.id = t.process_id
where t.status in ('pending', 'running');

-- name: slots
select slot_name::text as name, active, temporary, coalesce(wal_status, '') as wal_status,
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint as retained_bytes,
       pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint as lag_bytes
from pg_replication_slots order by slot_name;

-- name: tasks_ended
select t.task_type, (count(*) filter (where t.status = 'completed'))::int as completed,
       (count(*) filter (where t.status = 'failed'))::int as failed,
       (percentile_cont(0.5) within group (order by extract(epoch from t.execution_time))
         filter (where t.status = 'completed'))::float8 as p50_s,
       (percentile_cont(0.95) within group (order by extract(epoch from t.execution_time))
         filter (where t.status = 'completed'))::float8 as p95_s
from public.background_tasks t
where t.status in ('completed', 'failed') and t.completed_at > now() - make_interval(secs => $1)
group by t.task_type order by t.task_type;

-- name: step_durations
-- The time of a step over all its attempts, as the state rows that changed within the window hold it.
select d.key as step, count(*)::int as processes,
       (percentile_cont(0.5) within group (order by d.value::float8))::float8 as p50_s,
       (percentile_cont(0.95) within group (order by d.value::float8))::float8 as p95_s
from public.generated_articles_state s cross join lateral jsonb_each_text(s.step_durations) d
where s.updated_at > now() - make_interval(secs => $1) and :no_probe
group by d.key order by d.key;

-- name: steps
-- Of the processes that began a step within the window: how many ended it, are still at it, failed at it.
with began as (
  select e.process_id, e.event_data ->> 'step_name' as step, min(e.event_sequence) as sequence
  from public.process_events e
  where e.event_type = 'step_started' and e.created_at > now() - make_interval(secs => $1)
  group by 1, 2
), told as (
  select e.process_id, e.event_data ->> 'step_name' as step, e.event_sequence, e.event_type
  from public.process_events e
  where e.event_type in ('step_completed', 'generation_error', 'task_retry_scheduled')
    and e.created_at > now() - make_interval(secs => $1)
)
select b.step, count(*)::int as began,
       (count(*) filter (where exists (select from told t where t.process_id = b.process_id and t.step = b.step
         and t.event_type = 'step_completed' and t.event_sequence > b.sequence)))::int as completed,
       (count(*) filter (where exists (select from told t where t.process_id = b.process_id and t.step = b.step
         and t.event_type = 'generation_error' and t.event_sequence > b.sequence)))::int as failed,
       (count(*) filter (where s.executing_step = b.step
         and s.status in ('in_progress', 'resuming', 'auto_progressing')))::int as running
from began b join public.generated_articles_state s on s.id = b.process_id
group by b.step order by b.step;
