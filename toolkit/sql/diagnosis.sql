-- What the doctor asks the database; nothing here writes but the probe's own two statements at the end.
-- `-- rows:` sections list what breaks a rule, a `line` each; they are counted, and some lines are kept.
-- Rows of probes (users toolkit_probe_…) are left out: another doctor may be at work.

-- name: bound
select set_config('statement_timeout', '20000', true), set_config('search_path', '', true);

-- name: now
select extract(epoch from clock_timestamp())::float8;

-- name: notify
select pg_notify($1, $2);

-- name: server
select current_setting('server_version_num')::int as version, current_setting('wal_level') as wal_level,
       current_setting('output_plugin_libraries', true) as output_plugins,
       (select count(*)::int from pg_replication_slots) as slots_used,
       current_setting('max_replication_slots')::int as slots_max,
       (select count(*)::int from pg_stat_activity where backend_type = 'walsender') as senders_used,
       current_setting('max_wal_senders')::int as senders_max,
       (select count(*)::int from pg_stat_activity where backend_type = 'client backend') as connections_used,
       current_setting('max_connections')::int as connections_max;

-- name: session
-- Row security of a table that is not there hides nothing.
select current_user::text as role,
       not coalesce(bool_or(row_security_active(to_regclass('public.' || t))), false) as sees_all_rows
from unnest(array['generated_articles_state', 'process_events', 'background_tasks']) t
where to_regclass('public.' || t) is not null;

-- name: slots
select slot_name::text as name, active, temporary, coalesce(wal_status, '') as wal_status,
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint as retained_bytes
from pg_replication_slots order by slot_name;

-- name: tables
select c.relname::text as name, c.relrowsecurity as row_security,
       :identity_trouble as identity_trouble,
       (select coalesce(array_agg(distinct case r when 0 then 'public' else pg_get_userbyid(r)::text end), '{}')
        from pg_policy p cross join unnest(p.polroles) r
        where p.polrelid = c.oid and p.polcmd in ('r', '*') and p.polpermissive) as readers,
       :privileges as grants
from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname = any ($1);

-- name: triggers
select c.relname::text as on_table, t.tgname::text as name, :trigger_silence as silence
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where not t.tgisinternal and c.relnamespace = 'public'::regnamespace and c.relname = any ($1);

-- name: executors
-- A row each overload.
select p.proname::text as name, :executors as roles
from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname = any ($1);

-- name: publication
select puballtables as all_tables, pubinsert, pubupdate, pubdelete,
       (select coalesce(array_agg(t.tablename::text), '{}') from pg_publication_tables t
        where t.pubname = p.pubname and t.schemaname = 'public') as tables
from pg_publication p where pubname = $1;

-- name: events
select count(*)::int from public.process_events;

-- rows: broken
-- A process that was there when the migration was applied may go on from the numbers it had before a rollback.
select 'process ' || e.process_id || ': ' || count(*) || ' events, ' || count(distinct e.event_sequence)
       || ' numbers from ' || min(e.event_sequence) || ' to ' || max(e.event_sequence) as line
from public.process_events e join public.generated_articles_state s on s.id = e.process_id
where :no_probe
group by e.process_id, s.status, s.realtime_channel
having (count(*) <> max(e.event_sequence) - min(e.event_sequence) + 1
        or count(*) <> count(distinct e.event_sequence)
        or (min(e.event_sequence) <> 1 and s.realtime_channel is not null))
  -- What cleanup_old_events leaves of a process that ended has holes by design.
  and not (s.status in ('completed', 'cancelled', 'error') and bool_and(e.event_type in :kept));

-- rows: behind
select 'process ' || e.process_id || ': counter ' || coalesce(c.last_sequence::text, 'missing') || ', log at '
       || e.highest as line
from (select process_id, max(event_sequence) as highest from public.process_events group by process_id) e
join public.generated_articles_state s on s.id = e.process_id
left join public.process_event_counters c on c.process_id = e.process_id
where :no_probe and (c.last_sequence is null or c.last_sequence < e.highest);

-- rows: disagreeing
-- Only what changed lately: older rows may have had their events cleaned up.
select 'process ' || s.id || ': the row is ' || s.status || ' at ' || coalesce(s.current_step_name, '(none)')
       || ', its last event said ' || coalesce(e.status, 'nothing') || ' at ' || coalesce(e.step, '(none)') as line
from (select * from public.generated_articles_state where updated_at > now() - interval '7 days'
      order by updated_at desc limit 2000) s
left join lateral (
  select e.event_data ->> 'status' as status, e.event_data ->> 'current_step' as step
  from public.process_events e
  where e.process_id = s.id and e.event_source = 'database_trigger'
  order by e.event_sequence desc limit 1) e on true
where :no_probe
  and (e.status is distinct from s.status::text or e.step is distinct from s.current_step_name)
  -- A row that was there before the migration and not changed since has no event yet.
  and (e.status is not null or s.realtime_channel is not null)
  and (s.status not in ('completed', 'cancelled', 'error') or exists (
    select from public.process_events a where a.process_id = s.id and a.event_type not in :kept));

-- rows: silent
select 'process ' || t.process_id || ': task ' || t.id || ' of ' || coalesce(t.worker_id, '(nobody)') || ', last event '
       || coalesce(to_char(e.last_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'), 'never') as line
from public.background_tasks t
left join lateral (select max(created_at) as last_at from public.process_events e where e.process_id = t.process_id) e
  on true
where t.status = 'running' and t.heartbeat_at > now() - interval '1 minute'
  and t.started_at < now() - interval '10 minutes'
  and coalesce(e.last_at, '-infinity') < now() - interval '10 minutes';

-- name: due
select extract(epoch from clock_timestamp() - min(greatest(t.created_at, t.scheduled_for)))::float8 as oldest_due_s,
       count(*)::int as due
from public.background_tasks t join public.generated_articles_state s on s.id = t.process_id
where t.status = 'pending' and t.pending_dependencies = 0 and t.scheduled_for <= clock_timestamp()
  and s.status in ('in_progress', 'resuming', 'auto_progressing');

-- rows: expired_leases
select :task || ': held by ' || coalesce(t.worker_id, '(nobody)') || ', silent for '
       || round(extract(epoch from now() - t.heartbeat_at)) || ' s' as line
from public.background_tasks t
where t.status = 'running' and t.heartbeat_at < now() - interval '1 minute';

-- rows: failed
select :task || ' after ' || t.retry_count || ' retries: ' || left(coalesce(t.error_message, '(no message)'), 200)
       as line
from public.background_tasks t where t.status = 'failed' and t.updated_at > now() - interval '1 day';

-- rows: last_attempt
select :task || ': retry ' || t.retry_count || ' of ' || t.max_retries || ', rescued ' || t.rescue_count
       || ' times: ' || left(coalesce(t.error_message, '(no message)'), 200) as line
from public.background_tasks t
where t.status in ('pending', 'running') and ((t.retry_count >= t.max_retries and t.retry_count > 0)
      or t.rescue_count >= 3);

-- rows: of_ended
select :task || ': ' || t.status || ', the process is ' || s.status as line
from public.background_tasks t join public.generated_articles_state s on s.id = t.process_id
where t.status in ('pending', 'running', 'paused') and s.status in ('completed', 'cancelled', 'error') and :no_probe;

-- rows: waiting_for_ended
select :task || ': waits for ' || t.pending_dependencies || ' tasks' as line
from public.background_tasks t
where t.status = 'pending' and t.pending_dependencies > 0 and not exists (
  select from public.task_dependencies d join public.background_tasks p on p.id = d.parent_task_id
  where d.dependent_task_id = t.id and p.status in ('pending', 'running', 'paused'));

-- name: workers
-- A worker's listening connection is named after it, or was last heard listening.
select (select count(*)::int from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
          and (application_name like '% listen' or query ilike 'listen %background_tasks%')) as listeners,
       (select count(distinct worker_id)::int from public.background_tasks
        where status = 'running' and heartbeat_at > now() - interval '1 minute') as beating;

-- rows: orphans
select 'process ' || s.id || ': ' || s.status || ' at ' || coalesce(s.current_step_name, '(none)') || ' since '
       || to_char(s.updated_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as line
from public.generated_articles_state s
where s.status in ('in_progress', 'resuming', 'auto_progressing') and s.updated_at < now() - interval '30 seconds'
  and :no_probe and :not_legacy
  and not exists (select from public.background_tasks t where t.process_id = s.id and t.status in ('pending', 'running'));

-- rows: promptless
select 'process ' || s.id || ': waits for ' || coalesce(s.input_type, '(nothing)') || ' at '
       || coalesce(s.current_step_name, '(none)') as line
from public.generated_articles_state s
where s.status = 'user_input_required' and :no_probe and (s.input_type is null or not (s.input_type = any ($1)));

-- rows: flag_differs
select 'process ' || s.id || ': ' || s.status || ', is_waiting_for_input ' || s.is_waiting_for_input as line
from public.generated_articles_state s
where :no_probe and ((s.status = 'user_input_required') <> s.is_waiting_for_input)
  and :not_legacy;

-- rows: overdue_prompts
select 'process ' || s.id || ': ' || coalesce(s.input_type, '(nothing)') || ' until '
       || to_char(s.user_input_timeout at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as line
from public.generated_articles_state s
where :no_probe and s.status = 'user_input_required' and s.user_input_timeout < now() - interval '2 minutes';

-- name: steps
select coalesce(s.current_step_name, '(none)') as step, count(*)::int as processes
from public.generated_articles_state s
where :no_probe and s.status not in ('completed', 'cancelled', 'error')
  and s.updated_at < now() - interval '30 seconds'
group by 1;

-- rows: without_article
select 'process ' || s.id || ' of ' || to_char(s.updated_at at time zone 'UTC', 'YYYY-MM-DD')
       || ': article_id ' || coalesce(s.article_id::text, '(none)') as line
from public.generated_articles_state s
where s.status = 'completed' and :no_probe and not exists (
  select from public.articles a where a.id = s.article_id or a.generation_process_id = s.id);

-- rows: silent_errors
select 'process ' || s.id || ' at ' || coalesce(s.current_step_name, '(none)') as line
from public.generated_articles_state s
where s.status = 'error' and :no_probe and coalesce(s.error_message, '') = '';

-- rows: without_context
select 'process ' || s.id || ': ' || s.status || ' at ' || coalesce(s.current_step_name, '(none)') || ', context is '
       || left(s.article_context::text, 60) as line
from public.generated_articles_state s
where s.status in ('in_progress', 'user_input_required', 'paused', 'resuming', 'auto_progressing') and :no_probe
  and s.current_step_name is distinct from 'start'
  and (jsonb_typeof(s.article_context) <> 'object' or s.article_context = '{}'::jsonb);

-- name: create_probe
-- A process for the probe: paused, so that no worker ever takes an interest in it.
insert into public.generated_articles_state (user_id, status, current_step_name)
values ($1, 'paused', 'keyword_analyzing') returning id::text;

-- name: remove_probe
-- Its events, counters and tasks go with it; whatever else its owner has stays.
delete from public.generated_articles_state where id = $1::uuid;

-- name: write_probe
select public.create_process_event($1::uuid, 'test_event', $2::jsonb)::text;

-- name: events_after
select id::text as id, process_id::text as process_id, event_type, event_data::text as event_data, event_sequence,
       created_at::text as created_at
from public.process_events where process_id = $1::uuid and event_sequence > $2 order by event_sequence limit 500;
