-- Each check's last query returns what is wrong: no rows, no problem. Nothing of this is kept.

-- check: RT-1 The new tables exist
-- remedy: toolkit migrate up
select t.name as missing_table
from unnest(array['process_events', 'background_tasks', 'task_dependencies', 'process_event_counters']) as t (name)
where to_regclass('public.' || t.name) is null;

-- check: RT-2 The state table has the new columns, of the right type
-- remedy: toolkit migrate down --last 2 && toolkit migrate up
select w.name as column_name, w.type as expected, c.data_type as found
from (values
  ('realtime_channel', 'text'), ('executing_step', 'text'), ('step_execution_start', 'timestamp with time zone'),
  ('background_task_id', 'uuid'), ('task_priority', 'integer'), ('user_input_timeout', 'timestamp with time zone'),
  ('input_reminder_sent', 'boolean'), ('interaction_history', 'jsonb'), ('step_durations', 'jsonb'),
  ('total_processing_time', 'interval'), ('start_idempotency_key', 'text'),
  ('start_request_digest', 'text')) as w (name, type)
left join information_schema.columns c
  on c.table_schema = 'public' and c.table_name = 'generated_articles_state' and c.column_name = w.name
where c.data_type is distinct from w.type;

-- check: RT-3 process_events and background_tasks have the columns of the guide
-- remedy: toolkit migrate down --last 2 && toolkit migrate up
select w.tbl as table_name, w.name as missing_column
from (values
  ('process_events', 'id'), ('process_events', 'process_id'), ('process_events', 'event_type'),
  ('process_events', 'event_data'), ('process_events', 'event_sequence'), ('process_events', 'created_at'),
  ('process_events', 'published_at'), ('process_events', 'acknowledged_by'), ('process_events', 'event_category'),
  ('process_events', 'event_source'), ('background_tasks', 'id'), ('background_tasks', 'process_id'),
  ('background_tasks', 'task_type'), ('background_tasks', 'task_data'), ('background_tasks', 'status'),
  ('background_tasks', 'priority'), ('background_tasks', 'scheduled_for'), ('background_tasks', 'retry_count'),
  ('background_tasks', 'max_retries'), ('background_tasks', 'retry_delay_seconds'),
  ('background_tasks', 'claim_token'), ('background_tasks', 'heartbeat_at'),
  ('background_tasks', 'rescue_count'), ('background_tasks', 'pending_dependencies')) as w (tbl, name)
where not exists (
  select from information_schema.columns c
  where c.table_schema = 'public' and c.table_name = w.tbl and c.column_name = w.name);

-- check: RT-4 Every function exists exactly once, so that a call by name is never ambiguous
-- remedy: drop the overload that is not in the migration file.
select w.name as function_name, count(p.oid) as found
from unnest(array['append_process_event', 'create_process_event', 'guard_process_event', 'acknowledge_process_event',
  'cleanup_old_events', 'publish_process_event', 'set_realtime_channel', 'update_task_status',
  'notify_background_task', 'enqueue_background_task', 'claim_background_task', 'heartbeat_background_tasks',
  'settle_task_dependents', 'complete_background_task', 'fail_background_task', 'release_background_task',
  'rescue_background_tasks', 'mark_process_waiting_for_input', 'resolve_user_input', 'append_process_events',
  'refuse_task_write', 'checkpoint_task_step', 'finish_task_step']) as w (name)
left join pg_proc p on p.proname = w.name and p.pronamespace = 'public'::regnamespace
group by w.name having count(p.oid) <> 1;

-- check: RT-5 Functions with the owner's rights pin their search_path
-- remedy: alter function … set search_path = '';
select p.oid::regprocedure::text as function_name
from pg_proc p
where p.pronamespace = 'public'::regnamespace and p.prosecdef
  and not exists (select from unnest(p.proconfig) c where c like 'search_path=%');

-- check: RT-6 No client may call a function of the server
-- remedy: revoke execute on function … from public, anon, authenticated;
select p.oid::regprocedure::text as function_name, r.role_name
from pg_proc p cross join unnest(array['anon', 'authenticated']) as r (role_name)
where p.pronamespace = 'public'::regnamespace
  and p.proname = any (array['append_process_event', 'create_process_event', 'acknowledge_process_event',
    'cleanup_old_events', 'enqueue_background_task', 'claim_background_task', 'heartbeat_background_tasks',
    'settle_task_dependents', 'complete_background_task', 'fail_background_task', 'release_background_task',
    'rescue_background_tasks', 'mark_process_waiting_for_input', 'resolve_user_input', 'append_process_events',
    'refuse_task_write', 'checkpoint_task_step', 'finish_task_step'])
  and has_function_privilege(r.role_name, p.oid, 'execute');

-- check: RT-7 The triggers exist, are enabled, and fire at the right time
-- remedy: alter table … enable trigger …; a missing one comes back with toolkit migrate down and up.
select w.tbl as table_name, w.name as trigger_name, t.tgenabled::text as enabled, t.tgtype as type
from (values
  ('public.generated_articles_state', 'trigger_publish_process_event', 21),  -- after insert or update, each row
  ('public.generated_articles_state', 'trigger_set_realtime_channel', 7),    -- before insert, each row
  ('public.background_tasks', 'trigger_update_task_status', 23),             -- before insert or update, each row
  ('public.background_tasks', 'trigger_notify_background_task', 21),
  ('public.process_events', 'trigger_guard_process_event', 19)) as w (tbl, name, type)
left join pg_trigger t on t.tgrelid = to_regclass(w.tbl) and t.tgname = w.name
where t.oid is null or t.tgenabled <> 'O' or t.tgtype <> w.type;

-- check: RT-8 The indexes and unique constraints exist and are valid
-- remedy: drop the invalid index and create it again (concurrently on a live system).
select w.name as index_name, i.indisvalid as valid
from unnest(array['unique_process_sequence', 'unique_task_dependency', 'idx_process_events_created',
  'idx_process_events_type', 'idx_background_tasks_queue', 'idx_background_tasks_running',
  'idx_background_tasks_process', 'idx_task_dependencies_dependent']) as w (name)
left join pg_index i on i.indexrelid = to_regclass('public.' || w.name)
where i.indexrelid is null or not i.indisvalid;

-- check: RT-9 No index repeats the leading columns of another
-- remedy: drop the shorter index.
select a.indexrelid::regclass::text as index_name, b.indexrelid::regclass::text as repeats
from pg_index a join pg_index b on a.indrelid = b.indrelid and a.indexrelid <> b.indexrelid
where a.indrelid = any (array['public.process_events', 'public.background_tasks', 'public.task_dependencies',
    'public.process_event_counters']::regclass[])
  and a.indpred is null and b.indpred is null and a.indexprs is null and b.indexprs is null
  and b.indkey::text like a.indkey::text || ' %';

-- check: RT-10 Row level security is on, and each policy names its role
-- remedy: alter table … enable row level security; recreate the policy with "to authenticated".
select c.relname as table_name, c.relrowsecurity as row_security, p.polname as policy, p.polroles::regrole[]::text as roles
from pg_class c left join pg_policy p on p.polrelid = c.oid
where c.oid = any (array['public.process_events', 'public.background_tasks', 'public.task_dependencies',
    'public.process_event_counters', 'public.generated_articles_state']::regclass[])
  and (not c.relrowsecurity or p.oid is null or p.polroles <> array['authenticated'::regrole::oid]);

-- check: RT-11 Clients may read what is theirs and write nothing
-- remedy: revoke all on … from anon, authenticated; grant select on … to authenticated;
select t.name as table_name, r.name as role_name, v.name as privilege
from unnest(array['process_events', 'background_tasks', 'task_dependencies', 'process_event_counters']) as t (name)
cross join unnest(array['anon', 'authenticated']) as r (name)
cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate']) as v (name)
where has_table_privilege(r.name, 'public.' || t.name, v.name)
  <> (r.name = 'authenticated' and v.name = 'select' and t.name <> 'process_event_counters');

-- check: RT-12 The server's role appends events by function only
-- remedy: revoke insert, update, delete on public.process_events from service_role;
select v.name as privilege
from unnest(array['insert', 'update', 'delete']) as v (name)
where has_table_privilege('service_role', 'public.process_events', v.name)
union all
select 'execute on create_process_event is missing'
where not has_function_privilege('service_role', 'public.create_process_event(uuid, text, jsonb, text, text)', 'execute');

-- check: RT-13 The publication holds the tables of before and the three new members
-- remedy: alter publication supabase_realtime add table …;
select w.name as not_published
from unnest(array['articles', 'image_placeholders', 'generated_articles_state', 'process_events',
  'background_tasks']) as w (name)
where not exists (
  select from pg_publication_tables p
  where p.pubname = 'supabase_realtime' and p.schemaname = 'public' and p.tablename = w.name);

-- check: RT-14 The publication sends inserts, updates and deletes
-- remedy: alter publication supabase_realtime set (publish = 'insert, update, delete, truncate');
select pubinsert, pubupdate, pubdelete from pg_publication
where pubname = 'supabase_realtime' and not (pubinsert and pubupdate and pubdelete);

-- check: RT-15 Published tables have a replica identity, so that updates and deletes can be sent
-- remedy: give the table a primary key, or alter table … replica identity …;
select c.oid::regclass::text as table_name, c.relreplident::text as replica_identity
from pg_publication_tables p
join pg_class c on c.oid = (quote_ident(p.schemaname) || '.' || quote_ident(p.tablename))::regclass
where p.pubname = 'supabase_realtime'
  and (c.relreplident = 'n' or (c.relreplident = 'd' and not exists (
    select from pg_index i where i.indrelid = c.oid and i.indisprimary)));

-- check: RT-16 Events of the log keep the default replica identity: they are inserted once and kept small
-- remedy: alter table public.process_events replica identity default;
select relreplident::text as replica_identity from pg_class
where oid = 'public.process_events'::regclass and relreplident <> 'd';

-- check: RT-20 A process can be created, and its creation is event 1
-- remedy: the trigger must run after the insert: compare publish_process_event with the migration file.
do $$
declare
  probe uuid;
  found_events text;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  select string_agg(event_sequence || ' ' || event_type, ', ' order by event_sequence) into found_events
  from public.process_events where process_id = probe;
  if found_events is distinct from '1 process_created' then
    raise exception 'expected "1 process_created", found "%"', found_events;
  end if;
  if (select realtime_channel from public.generated_articles_state where id = probe) is distinct from 'process_' || probe then
    raise exception 'the realtime channel was not set to process_<id>';
  end if;
end $$;

-- check: RT-21 create_process_event with the three arguments of the guide appends one event
-- remedy: compare create_process_event with the migration file.
do $$
declare
  probe uuid;
  event_id uuid;
  event public.process_events;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  event_id := public.create_process_event(probe, 'test_event', '{"test": "data"}'::jsonb);
  select * into event from public.process_events where id = event_id;
  if (event.event_sequence, event.event_type, event.event_data)
     is distinct from (2, 'test_event', '{"test": "data"}'::jsonb) then
    raise exception 'unexpected event: %', to_jsonb(event);
  end if;
  begin
    perform public.create_process_event(gen_random_uuid(), 'test_event');
    raise exception 'an event was appended to a process that does not exist' using errcode = 'assert_failure';
  exception when foreign_key_violation then null;
  end;
end $$;

-- check: RT-22 One update that changes several things leaves one event for each of them
-- remedy: compare publish_process_event with the migration file.
do $$
declare
  probe uuid;
  found_events text;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  update public.generated_articles_state
  set status = 'user_input_required', current_step_name = 'persona_generated', progress_percentage = 15,
      is_waiting_for_input = true, input_type = 'select_persona'
  where id = probe;
  update public.generated_articles_state set updated_at = now() where id = probe;
  update public.generated_articles_state set image_mode = not image_mode where id = probe;
  update public.generated_articles_state
  set status = 'in_progress', is_waiting_for_input = false, input_type = null where id = probe;
  select string_agg(event_type, ', ' order by event_sequence) into found_events
  from public.process_events where process_id = probe and event_sequence > 1;
  if found_events is distinct from 'status_changed, step_changed, progress_updated, input_required, process_updated, '
      'status_changed, input_resolved' then
    raise exception 'found: %', found_events;
  end if;
end $$;

-- check: RT-23 An event never carries the article context
-- remedy: compare publish_process_event with the migration file.
do $$
declare
  probe uuid;
  largest integer;
begin
  insert into public.generated_articles_state (user_id, article_context)
  values ('toolkit_verify', jsonb_build_object('text', repeat('x', 50000))) returning id into probe;
  update public.generated_articles_state set status = 'paused' where id = probe;
  select max(octet_length(event_data::text)) into largest from public.process_events where process_id = probe;
  if largest > 4096 then
    raise exception 'an event of a row with a 50 kB context has % bytes', largest;
  end if;
end $$;

-- check: RT-24 Sequences are never given out again after a clean-up
-- remedy: the counter table must outlive events: compare append_process_event and cleanup_old_events.
do $$
declare
  ended uuid;
  running uuid;
  ancient timestamptz := now() - interval '200 years';
begin
  -- Older than anything real, so that the clean-up below can reach nothing but these two.
  insert into public.generated_articles_state (user_id, status, updated_at)
  values ('toolkit_verify', 'completed', ancient) returning id into ended;
  insert into public.generated_articles_state (user_id, updated_at)
  values ('toolkit_verify', ancient) returning id into running;
  insert into public.process_events (process_id, event_type, event_sequence, created_at)
  select p, 'test_event', n, ancient from unnest(array[ended, running]) p, generate_series(2, 10) n;
  update public.process_event_counters set last_sequence = 10 where process_id in (ended, running);
  perform public.cleanup_old_events(36500);
  if (select count(*) from public.process_events where process_id = running) <> 10 then
    raise exception 'the clean-up removed events of a process that still runs';
  end if;
  if (select count(*) from public.process_events where process_id = ended) <> 1 then
    raise exception 'the clean-up left % events of an ended process',
      (select count(*) from public.process_events where process_id = ended);
  end if;
  perform public.create_process_event(ended, 'test_event');
  if (select max(event_sequence) from public.process_events where process_id = ended) <> 11 then
    raise exception 'sequence % was given out again after the clean-up',
      (select max(event_sequence) from public.process_events where process_id = ended);
  end if;
end $$;

-- check: RT-25 An event cannot be rewritten
-- remedy: restore the trigger trigger_guard_process_event.
do $$
declare
  probe uuid;
  known boolean;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  begin
    update public.process_events set event_data = '{"forged": true}' where process_id = probe;
    raise exception 'event_data could be changed' using errcode = 'assert_failure';
  exception when restrict_violation then null;
  end;
  known := public.acknowledge_process_event(
    probe, (select id from public.process_events where process_id = probe), 'toolkit_verify');
  if not known or not exists (select from public.process_events where process_id = probe and acknowledged_by = '{toolkit_verify}') then
    raise exception 'an event could not be acknowledged';
  end if;
end $$;

-- check: RT-26 A prompt is answered once, and an ended process is never revived
-- remedy: compare mark_process_waiting_for_input and resolve_user_input with the migration file.
do $$
declare
  probe uuid;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  perform public.mark_process_waiting_for_input(probe, 'select_persona');
  perform public.resolve_user_input(probe, '{"selected_id": 0}');
  begin
    perform public.resolve_user_input(probe, '{"selected_id": 1}');
    raise exception 'a prompt was answered twice' using errcode = 'assert_failure';
  exception when object_not_in_prerequisite_state then null;
  end;
  begin
    perform public.mark_process_waiting_for_input(probe, 'select_theme');
    update public.generated_articles_state set user_input_timeout = clock_timestamp() where id = probe;
    perform public.resolve_user_input(probe, '{"selected_index": 0}');
    raise exception 'a prompt was answered after its time' using errcode = 'assert_failure';
  exception when object_not_in_prerequisite_state then null;
  end;
  begin
    perform public.mark_process_waiting_for_input(probe, '');
    raise exception 'a prompt of no type was opened' using errcode = 'assert_failure';
  exception when null_value_not_allowed then null;
  end;
  begin
    update public.generated_articles_state set status = 'paused' where id = probe;
    perform public.mark_process_waiting_for_input(probe, 'select_theme', p_reopen => true);
    update public.generated_articles_state set status = 'paused', is_waiting_for_input = false where id = probe;
    perform public.mark_process_waiting_for_input(probe, 'select_theme');
    raise exception 'a paused process asked without being resumed' using errcode = 'assert_failure';
  exception when object_not_in_prerequisite_state then null;
  end;
  update public.generated_articles_state set status = 'completed' where id = probe;
  begin
    perform public.mark_process_waiting_for_input(probe, 'select_persona');
    raise exception 'a completed process was revived' using errcode = 'assert_failure';
  exception when object_not_in_prerequisite_state then null;
  end;
  if (select jsonb_array_length(interaction_history) from public.generated_articles_state where id = probe) <> 1 then
    raise exception 'the answer is not in the interaction history';
  end if;
end $$;

-- check: RT-27 A worker that lost its claim can change nothing
-- remedy: compare the task functions with the migration file.
do $$
declare
  probe uuid;
  task uuid;
  first_token uuid;
  second_token uuid;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  task := public.enqueue_background_task(probe, 'toolkit_verify', p_priority => 10);
  select claim_token into first_token from public.claim_background_task('verify-1', p_task_types => '{toolkit_verify}');
  update public.background_tasks set heartbeat_at = now() - interval '1 hour' where id = task;
  -- Only the probe's: other workers of a live system keep their leases.
  perform 1 from public.rescue_background_tasks(interval '59 minutes') r where r.id = task;
  select claim_token into second_token from public.claim_background_task('verify-2', p_task_types => '{toolkit_verify}');
  if second_token is null or second_token = first_token then
    raise exception 'the task was not rescued and claimed anew';
  end if;
  if public.complete_background_task(task, first_token)
     or public.fail_background_task(task, first_token, 'late') is not null
     or public.release_background_task(task, first_token)
     or exists (select from public.heartbeat_background_tasks(array[first_token])) then
    raise exception 'a stale claim token was accepted';
  end if;
  if not public.complete_background_task(task, second_token) then
    raise exception 'the holder could not complete its task';
  end if;
end $$;

-- check: RT-28 A failed task is tried again later, and only so often
-- remedy: compare fail_background_task with the migration file.
do $$
declare
  probe uuid;
  task uuid;
  outcome text;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  task := public.enqueue_background_task(probe, 'toolkit_verify', p_max_retries => 1, p_retry_delay_seconds => 60);
  outcome := public.fail_background_task(task, (public.claim_background_task('verify', p_task_types => '{toolkit_verify}')).claim_token, 'first');
  if outcome <> 'pending' or (select scheduled_for from public.background_tasks where id = task) < clock_timestamp() + interval '20 s' then
    raise exception 'the first failure gave %, without a delay', outcome;
  end if;
  update public.background_tasks set scheduled_for = now() where id = task;
  outcome := public.fail_background_task(task, (public.claim_background_task('verify', p_task_types => '{toolkit_verify}')).claim_token, 'second');
  if outcome <> 'failed' then
    raise exception 'the second failure gave %', outcome;
  end if;
end $$;

-- check: RT-29 Dependents wait for their parents, go on after success and end with failure
-- remedy: compare enqueue_background_task and settle_task_dependents with the migration file.
do $$
declare
  probe uuid;
  parent uuid;
  child uuid;
  grandchild uuid;
  anyway uuid;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  parent := public.enqueue_background_task(probe, 'toolkit_verify', p_max_retries => 0);
  child := public.enqueue_background_task(probe, 'toolkit_verify', p_priority => 9, p_depends_on => array[parent]);
  grandchild := public.enqueue_background_task(probe, 'toolkit_verify', p_priority => 10, p_depends_on => array[child]);
  if (select id from public.claim_background_task('verify', p_task_types => '{toolkit_verify}')) <> parent then
    raise exception 'a dependent was claimed before its parent';
  end if;
  perform public.fail_background_task(parent, (select claim_token from public.background_tasks where id = parent), 'x');
  if (select count(*) from public.background_tasks where id in (child, grandchild) and status = 'cancelled') <> 2 then
    raise exception 'the dependents of a failed task still wait';
  end if;
  anyway := public.enqueue_background_task(
    probe, 'toolkit_verify', p_depends_on => array[parent], p_dependency_type => 'always');
  if not exists (
    select from public.background_tasks where id = anyway and status = 'pending' and pending_dependencies = 0) then
    raise exception 'what always follows a task does not follow one that failed';
  end if;
  begin
    perform public.enqueue_background_task(probe, 'toolkit_verify', p_depends_on => array[gen_random_uuid()]);
    raise exception 'a parent that does not exist was accepted' using errcode = 'assert_failure';
  exception when foreign_key_violation then null;
  end;
end $$;

-- check: RT-30 Tasks of a paused or ended process are not claimed
-- remedy: compare claim_background_task with the migration file.
do $$
declare
  probe uuid;
begin
  insert into public.generated_articles_state (user_id, status) values ('toolkit_verify', 'paused') returning id into probe;
  perform public.enqueue_background_task(probe, 'toolkit_verify');
  if exists (select from public.claim_background_task('verify', p_task_types => '{toolkit_verify}')) then
    raise exception 'a task of a paused process was claimed';
  end if;
end $$;

-- check: RT-31 Impossible values are refused
-- remedy: restore the check constraints from the migration file.
do $$
declare
  probe uuid;
  statement text;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  foreach statement in array array[
    format('update public.generated_articles_state set progress_percentage = 999 where id = %L', probe),
    format('insert into public.background_tasks (process_id, task_type, priority) values (%L, ''t'', -99)', probe),
    format('insert into public.background_tasks (process_id, task_type, retry_count, max_retries) values (%L, ''t'', 7, 0)', probe),
    format('insert into public.background_tasks (process_id, task_type, status) values (%L, ''t'', ''sleeping'')', probe),
    format('insert into public.background_tasks (process_id, task_type, status) values (%L, ''t'', ''running'')', probe)
  ] loop
    begin
      execute statement;
      raise exception 'accepted: %', statement using errcode = 'assert_failure';
    exception when check_violation then null;
    end;
  end loop;
end $$;

-- check: RT-32 Events are visible to exactly those who see the process
-- remedy: compare the policies with the migration file.
do $$
declare
  probe uuid;
  org uuid;
  who record;
  states integer;
  events integer;
begin
  insert into public.organizations (name, owner_user_id) values ('toolkit_verify', 'user_verify_owner') returning id into org;
  insert into public.organization_members (organization_id, user_id) values (org, 'user_verify_member');
  insert into public.generated_articles_state (user_id, organization_id) values ('user_verify_owner', org) returning id into probe;
  for who in select * from (values
    ('authenticated', '{"role": "authenticated", "sub": "user_verify_owner"}', 1),
    ('authenticated', '{"role": "authenticated", "sub": "user_verify_member"}', 1),
    ('authenticated', '{"role": "authenticated", "sub": "user_verify_other"}', 0),
    ('authenticated', '{"role": "authenticated"}', 0),
    ('authenticated', '', 0),
    ('service_role', '{"role": "service_role"}', 1)) as v (role_name, claims, expected)
  loop
    perform set_config('request.jwt.claims', who.claims, true), set_config('role', who.role_name, true);
    select count(*) into states from public.generated_articles_state where id = probe;
    select count(*) into events from public.process_events where process_id = probe;
    perform set_config('role', 'none', true), set_config('request.jwt.claims', '', true);
    if (states, events) is distinct from (who.expected, who.expected) then
      raise exception '% with claims "%" sees % processes and % events, expected % of each',
        who.role_name, who.claims, states, events, who.expected;
    end if;
  end loop;
  perform set_config('role', 'anon', true);
  begin
    perform count(*) from public.process_events;
    raise exception 'anon could read events' using errcode = 'assert_failure';
  exception when insufficient_privilege then null;
  end;
  perform set_config('role', 'none', true);
end $$;
