-- Each check's last query returns what is wrong: no rows, no problem. Nothing of this is kept.

-- check: RT-1 The new tables exist
-- remedy: toolkit migrate up
select t.name as missing_table
from unnest(array['process_events', 'background_tasks', 'task_dependencies', 'process_event_counters']) as t (name)
where to_regclass('public.' || t.name) is null;

-- check: RT-2 The state table has the new columns, of the right type
-- remedy: toolkit migrate down --last 3 && toolkit migrate up
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
-- remedy: toolkit migrate down --last 3 && toolkit migrate up
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
-- Of background_tasks only some columns are read, from the version on that says which.
where case when v.name in ('delete', 'truncate') then has_table_privilege(r.name, 'public.' || t.name, v.name)
  else has_any_column_privilege(r.name, 'public.' || t.name, v.name) end
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
  if event.event_category <> 'manual' or event.event_source <> 'application' or event.acknowledged_by <> '{}'
     or event.published_at is null or event.created_at not between clock_timestamp() - interval '1 hour' and clock_timestamp() then
    raise exception 'an event appended with the defaults is: %', to_jsonb(event);
  end if;
  event_id := public.create_process_event(probe, 'test_event', null, null, null);
  select * into event from public.process_events where id = event_id;
  if event.event_data <> '{}' or event.event_category <> 'system' or event.event_source <> 'backend' then
    raise exception 'an event appended with nothing but its type is: %', to_jsonb(event);
  end if;
  begin
    perform public.create_process_event(gen_random_uuid(), 'test_event');
    raise exception 'an event was appended to a process that does not exist' using errcode = 'assert_failure';
  exception when foreign_key_violation then null;
  end;
end $$;

-- check: RT-22 One update that changes several things leaves one event for each of them, which tells the row and the change
-- remedy: compare publish_process_event with the migration file.
do $$
declare
  probe uuid;
  turn record;
  event record;
  told jsonb;
  happened jsonb;
  latest integer := 0;
begin
  insert into public.generated_articles_state (user_id, executing_step)
  values ('toolkit_verify', 'research') returning id into probe;
  for turn in select * from (values
    (1, 'true', '[["process_created", {"status": [null, "in_progress"]}]]'::jsonb),
    (2, 'status = ''user_input_required'', current_step_name = ''persona_generated'', progress_percentage = 15,
         is_waiting_for_input = true, input_type = ''select_persona''',
     '[["status_changed", {"status": ["in_progress", "user_input_required"]}],
       ["step_changed", {"current_step": ["start", "persona_generated"]}],
       ["progress_updated", {"progress": [0, 15]}], ["input_required", {"is_waiting_for_input": [false, true]}]]'),
    (3, 'updated_at = now()', '[]'),
    (4, 'image_mode = not image_mode', '[["process_updated", {"article_id": [null, null]}]]'),
    (5, 'status = ''in_progress'', is_waiting_for_input = false, input_type = null, error_message = ''trouble''',
     '[["status_changed", {"status": ["user_input_required", "in_progress"]}],
       ["input_resolved", {"is_waiting_for_input": [true, false]}]]'),
    (6, 'progress_percentage = 15', '[]')
  ) as v (number, change, expected)
  loop
    if turn.number > 1 then
      execute format('update public.generated_articles_state set %s where id = %L', turn.change, probe);
    end if;
    select jsonb_build_object(
      'process_id', s.id, 'status', s.status, 'current_step', s.current_step_name, 'executing_step', s.executing_step,
      'progress_percentage', s.progress_percentage, 'is_waiting_for_input', s.is_waiting_for_input,
      'input_type', s.input_type, 'updated_at', s.updated_at) into told
    from public.generated_articles_state s where id = probe;
    happened := '[]';
    for event in
      select * from public.process_events where process_id = probe and event_sequence > latest order by event_sequence
    loop
      latest := event.event_sequence;
      happened := happened || jsonb_build_array(jsonb_build_array(event.event_type, event.event_data -> 'changes'));
      if not event.event_data @> told or event.event_category <> 'process_state' or event.event_source <> 'database_trigger' then
        raise exception 'after %, event % does not tell the row %: %', turn.change, event.event_type, told, to_jsonb(event);
      end if;
      if event.event_type = 'status_changed'
         and event.event_data -> 'error_message' is distinct from (case when turn.number = 5 then '"trouble"' else 'null' end)::jsonb then
        raise exception 'a change of status does not tell the error: %', event.event_data;
      end if;
      if event.event_type = 'process_created' and not event.event_data @> (
        select jsonb_build_object('user_id', s.user_id, 'organization_id', s.organization_id, 'image_mode', s.image_mode,
          'realtime_channel', s.realtime_channel) from public.generated_articles_state s where id = probe)
         or event.event_type = 'process_updated' and not event.event_data @> (
        select jsonb_build_object('article_id', s.article_id, 'image_mode', s.image_mode)
        from public.generated_articles_state s where id = probe) then
        raise exception 'event % does not tell what belongs to it: %', event.event_type, event.event_data;
      end if;
    end loop;
    if happened <> turn.expected then
      raise exception 'after % found: %', turn.change, happened;
    end if;
  end loop;
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

-- check: RT-24 A clean-up takes old events of ended processes, never the first and the final one, and no sequence is reused
-- remedy: the counter table must outlive events: compare append_process_event and cleanup_old_events.
do $$
declare
  ancient timestamptz := now() - interval '200 years';
  probe uuid;
  ending record;
  left_over text;
begin
  -- Older than anything real, so that the clean-ups below can reach nothing but these.
  for ending in select * from (values
    ('completed', 'generation_completed', ancient, ancient, '1 process_created, 4 generation_completed, 5 young'),
    ('cancelled', 'generation_cancelled', ancient, ancient, '1 process_created, 4 generation_cancelled, 5 young'),
    ('error', 'generation_error', ancient, ancient, '1 process_created, 4 generation_error, 5 young'),
    ('completed', 'generation_completed', now(), ancient,
     '1 process_created, 2 step_started, 3 step_completed, 4 generation_completed, 5 young'),
    ('in_progress', 'generation_started', ancient, ancient,
     '1 process_created, 2 step_started, 3 step_completed, 4 generation_started, 5 young'),
    ('paused', 'generation_paused', ancient, ancient,
     '1 process_created, 2 step_started, 3 step_completed, 4 generation_paused, 5 young')
  ) as v (status, last_type, updated, created, expected)
  loop
    insert into public.generated_articles_state (user_id, status, updated_at)
    values ('toolkit_verify', ending.status::public.generation_status, ending.updated) returning id into probe;
    delete from public.process_events where process_id = probe;
    insert into public.process_events (process_id, event_type, event_sequence, created_at)
    values (probe, 'process_created', 1, ending.created), (probe, 'step_started', 2, ending.created), (probe, 'step_completed', 3, ending.created),
           (probe, ending.last_type, 4, ending.created), (probe, 'young', 5, now());
    update public.process_event_counters set last_sequence = 5 where process_id = probe;
    perform public.cleanup_old_events(36500);
    select string_agg(event_sequence || ' ' || event_type, ', ' order by event_sequence) into left_over
    from public.process_events where process_id = probe;
    if left_over is distinct from ending.expected then
      raise exception 'of a process that is % since %, the clean-up left: %', ending.status, ending.updated, left_over;
    end if;
    delete from public.process_events where process_id = probe;
    perform public.create_process_event(probe, 'test_event');
    if (select max(event_sequence) from public.process_events where process_id = probe) <> 6 then
      raise exception 'sequence % was given out again after the clean-up',
        (select max(event_sequence) from public.process_events where process_id = probe);
    end if;
  end loop;
  begin
    perform public.cleanup_old_events(-1);
    raise exception 'a clean-up of events from the future was accepted' using errcode = 'assert_failure';
  exception when invalid_parameter_value then null;
  end;
end $$;

-- check: RT-25 An event cannot be rewritten, and its sequence is given once
-- remedy: restore the trigger trigger_guard_process_event and the constraint unique_process_sequence.
do $$
declare
  probe uuid;
  another uuid;
  event uuid;
  change text;
  known boolean;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into another;
  select id into event from public.process_events where process_id = probe;
  foreach change in array array[
    'event_data = jsonb_build_object(1, 2)', 'event_sequence = 1000', 'event_type = upper(event_type)',
    'event_category = upper(event_category)', 'event_source = upper(event_source)',
    'created_at = created_at - make_interval(days => 1)', 'id = gen_random_uuid()',
    format('process_id = %L, event_sequence = 1000', another)
  ] loop
    begin
      execute format('update public.process_events set %s where id = %L', change, event);
      raise exception 'an event could be rewritten: %', change using errcode = 'assert_failure';
    exception when restrict_violation then null;
    end;
  end loop;
  begin
    insert into public.process_events (process_id, event_type, event_sequence) values (probe, 'test_event', 1);
    raise exception 'sequence 1 was given twice' using errcode = 'assert_failure';
  exception when unique_violation then null;
  end;
  known := public.acknowledge_process_event(probe, event, 'toolkit_verify')
    and public.acknowledge_process_event(probe, event, 'toolkit_verify_2')
    and public.acknowledge_process_event(probe, event, 'toolkit_verify');
  if not known or (select acknowledged_by from public.process_events where id = event) <> '{toolkit_verify,toolkit_verify_2}' then
    raise exception 'acknowledged by two people, one of them twice, an event has: %',
      (select acknowledged_by from public.process_events where id = event);
  end if;
  known := public.acknowledge_process_event(another, event, 'toolkit_verify_3');
  if known or exists (select from public.process_events where id = event and 'toolkit_verify_3' = any (acknowledged_by)) then
    raise exception 'an event was acknowledged in the name of another process';
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

-- check: RT-27 A worker that lost its claim can change nothing, and a heartbeat renews the leases it names alone
-- remedy: compare the task functions with the migration file.
do $$
declare
  probe uuid;
  task uuid;
  neighbour uuid;
  first_token uuid;
  second_token uuid;
  neighbours_token uuid;
  beats uuid[];
  released boolean;
  rescued record;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  task := public.enqueue_background_task(probe, 'toolkit_verify', p_priority => 10);
  select claim_token into first_token from public.claim_background_task('verify-1', p_task_types => '{toolkit_verify}');
  neighbour := public.enqueue_background_task(probe, 'toolkit_verify');
  select claim_token into neighbours_token from public.claim_background_task('verify-3', 'host', '{toolkit_verify}');
  if not exists (
    select from public.background_tasks where id = neighbour and worker_id = 'verify-3' and worker_hostname = 'host') then
    raise exception 'a claim does not say whose it is';
  end if;

  -- Leases of centuries: the tasks of a live system are far from them.
  update public.background_tasks set heartbeat_at = now() - interval '200 years' where id in (task, neighbour);
  select array_agg(h.id) into beats from public.heartbeat_background_tasks(array[neighbours_token]) h;
  if beats is distinct from array[neighbour]
     or (select heartbeat_at from public.background_tasks where id = task) > now() - interval '1 year'
     or (select heartbeat_at from public.background_tasks where id = neighbour) < now() - interval '1 hour' then
    raise exception 'the heartbeat of one claim reached the tasks %, of which it holds %', beats, neighbour;
  end if;
  perform public.rescue_background_tasks(interval '300 years');
  if (select count(*) from public.background_tasks where id in (task, neighbour) and status = 'running') <> 2 then
    raise exception 'a task was taken away before its lease ran out';
  end if;
  update public.background_tasks set scheduled_for = now() - interval '1 day', worker_hostname = 'host' where id = task;
  select * into rescued from public.rescue_background_tasks(interval '100 years') r where r.id = task;
  if (rescued.process_id, rescued.status, rescued.rescue_count, rescued.worker_id) is distinct from (probe, 'pending', 1, 'verify-1') then
    raise exception 'of a rescued task is told: %', to_jsonb(rescued);
  end if;
  if not exists (
    select from public.background_tasks
    where id = task and status = 'pending' and rescue_count = 1 and retry_count = 0 and worker_id is null
      and worker_hostname is null and scheduled_for between clock_timestamp() - interval '1 hour' and clock_timestamp()) then
    raise exception 'a task whose lease ran out is: %', (select to_jsonb(t) from public.background_tasks t where id = task);
  end if;
  if (select status from public.background_tasks where id = neighbour) <> 'running' then
    raise exception 'a task with a fresh lease was taken away';
  end if;
  select claim_token into second_token from public.claim_background_task('verify-2', p_task_types => '{toolkit_verify}');
  if second_token is null or second_token = first_token then
    raise exception 'the task was not claimed anew';
  end if;
  if public.complete_background_task(task, first_token)
     or public.fail_background_task(task, first_token, 'late') is not null
     or public.release_background_task(task, first_token)
     or exists (select from public.heartbeat_background_tasks(array[first_token])) then
    raise exception 'a stale claim token was accepted';
  end if;
  if public.complete_background_task(task, neighbours_token)
     or public.fail_background_task(task, neighbours_token, 'late') is not null
     or public.release_background_task(task, neighbours_token) then
    raise exception 'the claim token of another task was accepted';
  end if;
  released := public.release_background_task(task, second_token);
  if not released or not exists (
    select from public.background_tasks
    where id = task and status = 'pending' and retry_count = 0 and rescue_count = 1 and worker_id is null
      and worker_hostname is null and scheduled_for between clock_timestamp() - interval '1 hour' and clock_timestamp()) then
    raise exception 'a task that its worker gives back is: %', (select to_jsonb(t) from public.background_tasks t where id = task);
  end if;
  select claim_token into second_token from public.claim_background_task('verify-2', 'host', '{toolkit_verify}');
  if not public.complete_background_task(task, second_token) then
    raise exception 'the holder could not complete its task';
  end if;

  -- One that kills its workers ends.
  update public.background_tasks set heartbeat_at = now() - interval '200 years', rescue_count = 5 where id = neighbour;
  perform public.rescue_background_tasks(interval '100 years', 6);
  if (select status from public.background_tasks where id = neighbour) <> 'pending' then
    raise exception 'a task was given up before its last rescue';
  end if;
  perform public.claim_background_task('verify-2', p_task_types => '{toolkit_verify}');
  update public.background_tasks set heartbeat_at = now() - interval '200 years' where id = neighbour;
  select * into rescued from public.rescue_background_tasks(interval '100 years', 6) r where r.id = neighbour;
  if (rescued.status, rescued.rescue_count) is distinct from ('failed', 6) then
    raise exception 'of a task that is given up is told: %', to_jsonb(rescued);
  end if;
  if (select status from public.background_tasks where id = neighbour) <> 'failed' then
    raise exception 'a task is rescued for ever';
  end if;
end $$;

-- check: RT-28 A failed task is tried again after 50 to 100 % of a delay that doubles, and only so often
-- remedy: compare fail_background_task with the migration file.
do $$
declare
  probe uuid;
  task uuid;
  token uuid;
  outcome text;
  waits numeric;
  least_seen numeric;
  most_seen numeric;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  task := public.enqueue_background_task(probe, 'toolkit_verify', p_max_retries => 12, p_retry_delay_seconds => 60);
  for tries in 0..11 loop
    -- Thirty draws: where one may be less than half of the delay, some are.
    least_seen := 1000;
    most_seen := 0;
    for draw in 1..30 loop
      token := gen_random_uuid();
      update public.background_tasks
      set status = 'running', claim_token = token, worker_id = 'verify', worker_hostname = 'host', retry_count = tries
      where id = task;
      outcome := public.fail_background_task(task, token, 'reason', '{"a": 1}');
      if outcome is distinct from 'pending' then
        raise exception 'failure % of a task that may be tried again 12 times gave %', tries + 1, outcome;
      end if;
      waits := (select extract(epoch from scheduled_for - clock_timestamp()) from public.background_tasks where id = task)
        / least(3600, 60 * power(2, tries))::numeric;
      least_seen := least(least_seen, waits);
      most_seen := greatest(most_seen, waits);
    end loop;
    if least_seen < 0.45 or most_seen > 1 or most_seen - least_seen < 0.05 then
      raise exception 'after failure % the delays are % to % of what they should be', tries + 1, least_seen, most_seen;
    end if;
    if not exists (
      select from public.background_tasks
      where id = task and status = 'pending' and retry_count = tries + 1 and worker_id is null
        and worker_hostname is null and error_message = 'reason' and error_details = '{"a": 1}') then
      raise exception 'a task to be tried again is: %', (select to_jsonb(t) from public.background_tasks t where id = task);
    end if;
  end loop;
  token := gen_random_uuid();
  update public.background_tasks set status = 'running', claim_token = token where id = task;
  outcome := public.fail_background_task(task, token, 'last');
  if outcome is distinct from 'failed'
     or not exists (select from public.background_tasks where id = task and status = 'failed' and error_message = 'last') then
    raise exception 'the failure after the last retry gave %', outcome;
  end if;
  task := public.enqueue_background_task(probe, 'toolkit_verify');
  token := (public.claim_background_task('verify', p_task_types => '{toolkit_verify}')).claim_token;
  outcome := public.fail_background_task(task, token, 'for good', null, false);
  if outcome is distinct from 'failed' then
    raise exception 'a failure for good gave %', outcome;
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
  child := public.enqueue_background_task(probe, 'toolkit_verify', p_depends_on => array[parent]);
  if (select status from public.background_tasks where id = child) <> 'cancelled' then
    raise exception 'what follows a success waits for a task that has failed';
  end if;

  -- Parents that have ended otherwise by the time.
  update public.background_tasks set status = 'cancelled' where id = parent;
  child := public.enqueue_background_task(probe, 'toolkit_verify', p_depends_on => array[parent]);
  if (select status from public.background_tasks where id = child) <> 'cancelled' then
    raise exception 'what follows a success waits for a task that was cancelled';
  end if;
  anyway := public.enqueue_background_task(
    probe, 'toolkit_verify', p_depends_on => array[parent], p_dependency_type => 'always');
  update public.background_tasks set status = 'completed' where id = parent;
  child := public.enqueue_background_task(probe, 'toolkit_verify', p_depends_on => array[parent]);
  if (select count(*) from public.background_tasks
      where id in (child, anyway) and status = 'pending' and pending_dependencies = 0) <> 2 then
    raise exception 'a dependent waits for a task that has ended already';
  end if;
  -- Once more, as a caller that heard no answer does: nothing is added.
  if public.enqueue_background_task(probe, 'toolkit_verify', null, p_id => child, p_depends_on => array[grandchild]) <> child
     or exists (select from public.task_dependencies where dependent_task_id = child and parent_task_id = grandchild)
     or not exists (select from public.background_tasks where id = child and pending_dependencies = 0) then
    raise exception 'a task that was enqueued twice has changed';
  end if;
  child := public.enqueue_background_task(probe, 'toolkit_verify', null);
  if (select task_data from public.background_tasks where id = child) <> '{}' then
    raise exception 'a task without data has some';
  end if;

  -- One that is paused with its process is settled as one that waits.
  update public.background_tasks set status = 'running', claim_token = gen_random_uuid() where id = parent;
  child := public.enqueue_background_task(probe, 'toolkit_verify', p_depends_on => array[parent]);
  update public.background_tasks set status = 'paused' where id = child;
  perform public.complete_background_task(parent, (select claim_token from public.background_tasks where id = parent));
  if (select pending_dependencies from public.background_tasks where id = child) <> 0 then
    raise exception 'a paused dependent waits for ever for a task that has ended';
  end if;

  -- Two parents, one of which fails while the dependents wait.
  delete from public.background_tasks where process_id = probe;
  parent := public.enqueue_background_task(probe, 'toolkit_verify', p_priority => 10, p_max_retries => 0);
  grandchild := public.enqueue_background_task(probe, 'toolkit_verify', p_priority => 9);
  child := public.enqueue_background_task(probe, 'toolkit_verify', p_depends_on => array[parent, grandchild]);
  anyway := public.enqueue_background_task(
    probe, 'toolkit_verify', p_depends_on => array[parent, grandchild], p_dependency_type => 'always');
  perform public.claim_background_task('verify', p_task_types => '{toolkit_verify}');
  perform public.claim_background_task('verify', p_task_types => '{toolkit_verify}');
  perform public.complete_background_task(grandchild, (select claim_token from public.background_tasks where id = grandchild));
  if (select array_agg(pending_dependencies) from public.background_tasks where id in (child, anyway)) <> '{1,1}'
     or exists (select from public.claim_background_task('verify', p_task_types => '{toolkit_verify}')) then
    raise exception 'one of two parents has ended, and the dependents do not wait for the other alone';
  end if;
  perform public.fail_background_task(parent, (select claim_token from public.background_tasks where id = parent), 'x');
  if not exists (select from public.background_tasks where id = child and status = 'cancelled')
     or not exists (select from public.background_tasks where id = anyway and status = 'pending' and pending_dependencies = 0) then
    raise exception 'after the failure, what follows a success is %, and what always follows %',
      (select status from public.background_tasks where id = child),
      (select status || ', waiting for ' || pending_dependencies from public.background_tasks where id = anyway);
  end if;
  if (select id from public.claim_background_task('verify', p_task_types => '{toolkit_verify}')) is distinct from anyway then
    raise exception 'what always follows a task is not claimed after its end';
  end if;
  begin
    perform public.enqueue_background_task(probe, 'toolkit_verify', p_depends_on => array[gen_random_uuid()]);
    raise exception 'a parent that does not exist was accepted' using errcode = 'assert_failure';
  exception when foreign_key_violation then null;
  end;
end $$;

-- check: RT-30 A claim takes what is due and of a running process, the most urgent first, then what waits longest
-- remedy: compare claim_background_task with the migration file.
do $$
declare
  probe uuid;
  each record;
  claimed uuid;
begin
  for each in
    select s.status, s.status in ('in_progress', 'resuming', 'auto_progressing') as runs
    from unnest(enum_range(null::public.generation_status)) s (status)
  loop
    insert into public.generated_articles_state (user_id, status) values ('toolkit_verify', each.status) returning id into probe;
    perform public.enqueue_background_task(probe, 'toolkit_verify');
    if exists (select from public.claim_background_task('verify', p_task_types => '{toolkit_verify}')) <> each.runs then
      raise exception 'a task of a process that is % was %', each.status, case when each.runs then 'left' else 'claimed' end;
    end if;
    delete from public.background_tasks where process_id = probe;
  end loop;

  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  insert into public.background_tasks (process_id, task_type, created_by, priority, scheduled_for, created_at) values
    (probe, 'toolkit_verify', 'fourth', 1, now() - interval '9 h', now() - interval '9 h'),
    (probe, 'toolkit_verify', 'third', 9, now() - interval '2 h', now() - interval '1 h'),
    (probe, 'toolkit_verify', 'second', 9, now() - interval '2 h', now() - interval '2 h'),
    (probe, 'toolkit_verify', 'first', 9, now() - interval '3 h', now()),
    (probe, 'toolkit_verify', 'not due', 10, clock_timestamp() + interval '10 s', now() - interval '9 h'),
    (probe, 'toolkit_verify_2', 'of another type', 10, now() - interval '9 h', now());
  insert into public.background_tasks (process_id, task_type, created_by, priority, pending_dependencies)
  values (probe, 'toolkit_verify', 'waits for another', 10, 1);
  for each in select * from unnest('{first,second,third,fourth}'::text[]) with ordinality e (name, turn) loop
    select c.id into claimed from public.claim_background_task('verify', p_task_types => '{toolkit_verify}') c;
    if (select created_by from public.background_tasks where id = claimed) is distinct from each.name then
      raise exception 'turn % was given to %, not to %', each.turn,
        coalesce((select created_by from public.background_tasks where id = claimed), 'nothing'), each.name;
    end if;
  end loop;
  select c.id into claimed from public.claim_background_task('verify', p_task_types => '{toolkit_verify}') c;
  if claimed is not null then
    raise exception 'claimed too early: %', (select created_by from public.background_tasks where id = claimed);
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

-- check: RT-32 Two people with processes of their own see theirs, and nothing of the other's
-- remedy: compare the policies and grants with the migration file.
do $$
declare
  probes uuid[] := array[gen_random_uuid(), gen_random_uuid()];
  org uuid;
  parent uuid;
  who record;
  seen integer[];
  expected integer[];
begin
  for side in 1..2 loop
    insert into public.organizations (name, owner_user_id)
    values ('toolkit_verify', 'user_verify_owner_' || side) returning id into org;
    insert into public.organization_members (organization_id, user_id) values (org, 'user_verify_member_' || side);
    insert into public.generated_articles_state (id, user_id, organization_id)
    values (probes[side], 'user_verify_owner_' || side, org);
    parent := public.enqueue_background_task(probes[side], 'toolkit_verify');
    perform public.enqueue_background_task(probes[side], 'toolkit_verify', p_depends_on => array[parent]);
  end loop;
  for who in select * from (values
    ('authenticated', '{"role": "authenticated", "sub": "user_verify_owner_1"}', '{t,f}'::boolean[]),
    ('authenticated', '{"role": "authenticated", "sub": "user_verify_member_1"}', '{t,f}'),
    ('authenticated', '{"role": "authenticated", "sub": "user_verify_owner_2"}', '{f,t}'),
    ('authenticated', '{"role": "authenticated", "sub": "user_verify_member_2"}', '{f,t}'),
    ('authenticated', '{"role": "authenticated", "sub": "user_verify_other"}', '{f,f}'),
    ('authenticated', '{"role": "authenticated"}', '{f,f}'),
    ('authenticated', '', '{f,f}'),
    ('service_role', '{"role": "service_role"}', '{t,t}')) as v (role_name, claims, may)
  loop
    perform set_config('request.jwt.claims', who.claims, true), set_config('role', who.role_name, true);
    for side in 1..2 loop
      seen := array[
        (select count(*) from public.generated_articles_state where id = probes[side]),
        (select count(*) from public.process_events where process_id = probes[side]),
        (select count(*) from public.background_tasks where process_id = probes[side])];
      expected := case when who.may[side] then '{1,1,2}' else '{0,0,0}' end;
      if seen <> expected then
        raise exception '% with claims "%" sees % processes, events and tasks of %, expected %',
          who.role_name, who.claims, seen, 'user_verify_owner_' || side, expected;
      end if;
    end loop;
    -- All that there are, since a dependency does not name its process; the server's role sees everybody's.
    seen := array[(select count(*) from public.task_dependencies)];
    perform set_config('role', 'none', true), set_config('request.jwt.claims', '', true);
    if who.role_name <> 'service_role' and seen[1] <> (true = any (who.may))::integer then
      raise exception '% with claims "%" sees % dependencies of tasks', who.role_name, who.claims, seen[1];
    end if;
  end loop;
  for who in select unnest('{process_events,background_tasks,task_dependencies,process_event_counters}'::text[]) as name loop
    perform set_config('role', 'anon', true);
    begin
      execute format('select count(*) from public.%I', who.name);
      raise exception 'anon could read %', who.name using errcode = 'assert_failure';
    exception when insufficient_privilege then null;
    end;
    perform set_config('role', 'none', true);
  end loop;
end $$;

-- check: RT-33 What a worker writes for a process needs the claim of a task of that process, and the process running
-- remedy: compare refuse_task_write, checkpoint_task_step and finish_task_step with the migration file.
do $$
declare
  probe uuid;
  another uuid;
  task uuid;
  anothers_task uuid;
  token uuid;
  anothers_token uuid;
  attempt record;
  refusal text;
  before jsonb;
  events bigint;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into another;
  task := public.enqueue_background_task(probe, 'toolkit_verify');
  select claim_token into token from public.claim_background_task('verify', p_task_types => '{toolkit_verify}');
  anothers_task := public.enqueue_background_task(another, 'toolkit_verify');
  select claim_token into anothers_token from public.claim_background_task('verify-2', p_task_types => '{toolkit_verify}');
  for attempt in select * from (values
    ('with a token that nobody has', probe, task, gen_random_uuid(), 'in_progress'),
    ('with the token of another task', probe, task, anothers_token, 'in_progress'),
    ('with the claim of another process', probe, anothers_task, anothers_token, 'in_progress'),
    ('for a process that does not exist', gen_random_uuid(), task, token, 'in_progress'),
    ('for a paused process', probe, task, token, 'paused'),
    ('for a process that waits for its user', probe, task, token, 'user_input_required'),
    ('for a cancelled process', probe, task, token, 'cancelled'),
    ('for a completed process', probe, task, token, 'completed')
  ) as v (how, process, task, token, status)
  loop
    update public.generated_articles_state set status = attempt.status::public.generation_status where id = probe;
    select to_jsonb(s), (select count(*) from public.process_events where process_id in (probe, another))
    into before, events from public.generated_articles_state s where id = probe;
    refusal := public.checkpoint_task_step(
      attempt.process, attempt.task, attempt.token, '{"forged": true}', 99, '[{"type": "test_event"}]', 'verify');
    if refusal is null then
      raise exception 'a part of a step was kept %', attempt.how;
    end if;
    select f.refusal into refusal from public.finish_task_step(
      attempt.process, attempt.task, attempt.token, 'research', '{"forged": true}', '[{"type": "test_event"}]', 'verify',
      'outline_generating', 99) f;
    if refusal is null then
      raise exception 'a step was finished %', attempt.how;
    end if;
    if (select to_jsonb(s) from public.generated_articles_state s where id = probe) <> before
       or (select count(*) from public.process_events where process_id in (probe, another)) <> events then
      raise exception 'what was refused % was written all the same', attempt.how;
    end if;
  end loop;

  update public.generated_articles_state set status = 'in_progress', progress_percentage = 40 where id = probe;
  update public.background_tasks set retry_count = 1 where id = task;
  refusal := public.checkpoint_task_step(probe, task, token, '{"kept": 1}', 30, '[{"type": "test_event"}]', 'verify');
  if refusal is not null or not exists (
      select from public.generated_articles_state
      where id = probe and article_context = '{"kept": 1}' and progress_percentage = 40)
     or (select retry_count from public.background_tasks where id = task) <> 1
     or not exists (select from public.process_events where process_id = probe and event_type = 'test_event') then
    raise exception 'the holder of the claim could not keep a part of its step: %',
      coalesce(refusal, (select to_jsonb(s)::text from public.generated_articles_state s where id = probe));
  end if;
  refusal := public.checkpoint_task_step(probe, task, token, '{"kept": 2}', 50, '[]', 'verify', true);
  if refusal is not null or (select retry_count from public.background_tasks where id = task) <> 0
     or (select progress_percentage from public.generated_articles_state where id = probe) <> 50 then
    raise exception 'a part that is done does not end a series of failures, or the progress does not rise with it';
  end if;
end $$;

-- check: RT-34 A finished step ends its task, adds the next one, and hands it on only when nothing as urgent is due
-- remedy: compare finish_task_step with the migration file.
do $$
declare
  probe uuid;
  task uuid;
  token uuid;
  heir uuid;
  next_id uuid;
  outcome record;
  row_now record;
  events text;
  rival record;
  rival_id uuid;
  busy boolean;
  inherits boolean;
begin
  -- A live system may have urgent tasks of its own: then nothing can be handed on.
  busy := exists (
    select from public.background_tasks
    where status = 'pending' and pending_dependencies = 0 and priority >= 9 and scheduled_for <= clock_timestamp());
  for rival in select * from (values
    ('nothing else is due', null::integer, interval '0', true, true),
    ('nothing else is due and the caller wants no more', null, interval '0', false, false),
    ('something as urgent is due', 9, interval '0', true, false),
    ('something as urgent is due later', 10, interval '1 hour', true, true),
    ('something as urgent waits for another', 10, null, true, true),
    ('something less urgent is due', 8, interval '0', true, true)
  ) as v (how, priority, later, wanted, inherits)
  loop
    inherits := rival.inherits and not busy;
    insert into public.generated_articles_state (user_id, step_execution_start)
    values ('toolkit_verify', clock_timestamp() - interval '5 s') returning id into probe;
    task := public.enqueue_background_task(probe, 'toolkit_verify');
    select claim_token into token from public.claim_background_task('verify', 'host', '{toolkit_verify}');
    if rival.priority is not null then
      rival_id := public.enqueue_background_task(
        probe, 'toolkit_verify_2', p_priority => rival.priority,
        p_scheduled_for => now() + coalesce(rival.later, interval '0'),
        p_depends_on => case when rival.later is null then array[task] else '{}' end, p_dependency_type => 'always');
    end if;
    next_id := gen_random_uuid();
    heir := case when rival.wanted then gen_random_uuid() end;
    select * into outcome from public.finish_task_step(
      probe, task, token, 'research', '{"kept": 1}',
      '[{"type": "first_event", "data": {"n": 1}}, {"type": "second_event", "category": "special"}]', 'verify',
      'outline_generating', 60,
      p_next => jsonb_build_object('id', next_id, 'type', 'toolkit_verify_3', 'data', '{"a": 1}'::jsonb, 'priority', 9,
        'max_retries', 7, 'retry_delay_seconds', 11, 'created_by', 'verify'),
      p_heir_token => heir, p_heir_events => '[{"type": "heir_event"}]');
    if outcome.refusal is not null or outcome.reached is distinct from 60 or outcome.inherited is distinct from inherits then
      raise exception 'when %, finishing a step gives %', rival.how, to_jsonb(outcome);
    end if;
    if (select status from public.background_tasks where id = task) <> 'completed' then
      raise exception 'the task of a finished step is not completed';
    end if;
    select * into row_now from public.background_tasks where id = next_id;
    if row_now.status is distinct from (case when inherits then 'running' else 'pending' end)
       or row_now.claim_token is distinct from (case when inherits then heir end)
       or row_now.worker_id is distinct from (case when inherits then 'verify' end)
       or row_now.task_type <> 'toolkit_verify_3' or row_now.task_data <> '{"a": 1}' or row_now.priority <> 9
       or row_now.max_retries <> 7 or row_now.retry_delay_seconds <> 11 or row_now.created_by is distinct from 'verify' then
      raise exception 'when %, the next task is: %', rival.how, to_jsonb(row_now);
    end if;
    select * into row_now from public.generated_articles_state where id = probe;
    if row_now.article_context is distinct from '{"kept": 1}'::jsonb or row_now.current_step_name is distinct from 'outline_generating'
       or row_now.progress_percentage <> 60 or row_now.background_task_id is distinct from next_id
       or row_now.executing_step is distinct from (case when inherits then 'outline_generating' end)
       or coalesce((row_now.step_durations ->> 'research')::numeric, 0) not between 4 and 600
       or row_now.step_history -> -1 ->> 'step_name' is distinct from 'research'
       or row_now.step_history -> -1 ->> 'status' is distinct from 'completed' then
      raise exception 'when %, the process is: %', rival.how, to_jsonb(row_now);
    end if;
    select string_agg(event_type, ' ' order by event_sequence) into events from public.process_events
    where process_id = probe and event_type in ('first_event', 'second_event', 'heir_event');
    if events is distinct from 'first_event second_event' || (case when inherits then ' heir_event' else '' end) then
      raise exception 'when %, a finished step leaves the events: %', rival.how, events;
    end if;
    if exists (
      select from public.process_events e join (values
        ('first_event', 'process_state', '{"n": 1}'::jsonb), ('second_event', 'special', '{}'))
        as v (event_type, category, data) using (event_type)
      where e.process_id = probe
        and (e.event_category, e.event_data, e.event_source) is distinct from (v.category, v.data, 'verify')) then
      raise exception 'the events of a finished step are: %',
        (select jsonb_agg(to_jsonb(e)) from public.process_events e where e.process_id = probe and e.event_source = 'verify');
    end if;
    delete from public.background_tasks where process_id = probe;
  end loop;

  -- The last step of all, by way of a gate that was answered without asking, done a second time.
  insert into public.generated_articles_state (user_id, step_execution_start, progress_percentage, step_durations, task_priority)
  values ('toolkit_verify', clock_timestamp() - interval '5 s', 70, '{"research": 1000}', 3) returning id into probe;
  task := public.enqueue_background_task(probe, 'toolkit_verify');
  select claim_token into token from public.claim_background_task('verify', 'host', '{toolkit_verify}');
  select * into outcome from public.finish_task_step(
    probe, task, token, 'research', '{}', '[{"type": "first_event"}]', 'verify', 'completed', 65,
    p_gate => 'outline_generated', p_gate_progress => 60, p_gate_events => '[{"type": "gate_event"}]',
    p_heir_token => gen_random_uuid(), p_heir_events => '[{"type": "heir_event"}]');
  select * into row_now from public.generated_articles_state where id = probe;
  if outcome.refusal is not null or outcome.reached is distinct from 70 or outcome.inherited
     or row_now.progress_percentage <> 70 or row_now.current_step_name is distinct from 'completed' or row_now.task_priority <> 3
     or (row_now.step_durations ->> 'research')::numeric not between 1004 and 1600
     or row_now.background_task_id is not null or row_now.executing_step is not null then
    raise exception 'after the last step, % and the process is: %', to_jsonb(outcome), to_jsonb(row_now);
  end if;
  select string_agg(
    coalesce((event_data #>> '{changes,current_step,1}'), event_type), ' ' order by event_sequence) into events
  from public.process_events where process_id = probe and event_type in ('first_event', 'gate_event', 'heir_event', 'step_changed');
  if events is distinct from 'first_event outline_generated gate_event completed' then
    raise exception 'a step that passes a gate leaves the events: %', events;
  end if;
end $$;

-- check: RT-35 A task's times and its claim follow its status
-- remedy: compare update_task_status with the migration file.
do $$
declare
  probe uuid;
  task public.background_tasks;
  ending text;
  ended_at timestamptz;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  insert into public.background_tasks (process_id, task_type, updated_at)
  values (probe, 'toolkit_verify', now() - interval '1 day') returning * into task;
  if task.updated_at < now() or task.started_at is not null or task.completed_at is not null or task.heartbeat_at is not null then
    raise exception 'a new task is: %', to_jsonb(task);
  end if;
  update public.background_tasks set status = 'running', claim_token = gen_random_uuid(), completed_at = now()
  where id = task.id returning * into task;
  if task.started_at is null or task.heartbeat_at is null or task.completed_at is not null then
    raise exception 'a task that has begun is: %', to_jsonb(task);
  end if;
  update public.background_tasks set started_at = started_at - interval '7 s' where id = task.id;
  update public.background_tasks set status = 'completed' where id = task.id returning * into task;
  if task.completed_at is null or task.claim_token is not null or task.execution_time is null
     or task.execution_time not between interval '7 s' and interval '10 minutes' then
    raise exception 'a completed task is: %', to_jsonb(task);
  end if;
  foreach ending in array '{completed,failed,cancelled}'::text[] loop
    update public.background_tasks set status = 'running', claim_token = gen_random_uuid() where id = task.id;
    update public.background_tasks set status = ending where id = task.id returning * into task;
    ended_at := task.completed_at;
    if ended_at is null or task.execution_time is null then
      raise exception 'a task that is % is: %', ending, to_jsonb(task);
    end if;
    update public.background_tasks set completed_at = null where id = task.id returning * into task;
    if task.completed_at is not null then
      raise exception 'the time at which a task was % was set when it had ended already', ending;
    end if;
  end loop;
  update public.background_tasks set updated_at = now() - interval '1 day' where id = task.id returning * into task;
  if task.updated_at < now() then
    raise exception 'a change of a task leaves its updated_at';
  end if;
end $$;

-- check: RT-36 A prompt is open for as long as it says, and its events tell what is asked and answered
-- remedy: compare mark_process_waiting_for_input and resolve_user_input with the migration file.
do $$
declare
  probe uuid;
  expires timestamptz;
  row_now record;
  said jsonb;
  allowed record;
begin
  insert into public.generated_articles_state (user_id, input_reminder_sent, executing_step)
  values ('toolkit_verify', true, 'research') returning id into probe;
  expires := public.mark_process_waiting_for_input(probe, 'select_theme', 7, '{"themes": [1]}');
  select * into row_now from public.generated_articles_state where id = probe;
  if expires - clock_timestamp() not between interval '6 minutes' and interval '7 minutes'
     or row_now.status <> 'user_input_required' or not row_now.is_waiting_for_input or row_now.input_type is distinct from 'select_theme'
     or row_now.user_input_timeout is distinct from expires or row_now.input_reminder_sent or row_now.executing_step is not null then
    raise exception 'a process that asks is: %', to_jsonb(row_now);
  end if;
  select event_data into said from public.process_events where process_id = probe and event_type = 'user_input_required';
  if said ->> 'input_type' is distinct from 'select_theme' or said -> 'data' is distinct from '{"themes": [1]}'
     or said ->> 'timeout_minutes' is distinct from '7' or (said ->> 'timeout_at')::timestamptz is distinct from expires then
    raise exception 'the event of a prompt says: %', said;
  end if;
  begin
    perform public.resolve_user_input(probe, '{"selected_index": 1}', 'completed');
    raise exception 'an answer ended a process' using errcode = 'assert_failure';
  exception when invalid_parameter_value then null;
  end;
  perform public.resolve_user_input(probe, '{"selected_index": 1}', 'auto_progressing');
  select * into row_now from public.generated_articles_state where id = probe;
  if row_now.status <> 'auto_progressing' or row_now.is_waiting_for_input or row_now.input_type is not null
     or row_now.user_input_timeout is not null or row_now.interaction_history -> 0 ->> 'input_type' is distinct from 'select_theme'
     or row_now.interaction_history -> 0 -> 'user_response' is distinct from '{"selected_index": 1}' then
    raise exception 'a process that was answered is: %', to_jsonb(row_now);
  end if;
  select event_data into said from public.process_events where process_id = probe and event_type = 'user_input_resolved';
  if said ->> 'input_type' is distinct from 'select_theme' or said -> 'user_response' is distinct from '{"selected_index": 1}' then
    raise exception 'the event of an answer says: %', said;
  end if;
  begin
    perform public.mark_process_waiting_for_input(probe, 'select_theme', 0);
    raise exception 'a prompt of no time was opened' using errcode = 'assert_failure';
  exception when invalid_parameter_value then null;
  end;
  begin
    perform public.mark_process_waiting_for_input(probe, 'select_theme', null);
    raise exception 'a prompt of no known time was opened' using errcode = 'assert_failure';
  exception when invalid_parameter_value then null;
  end;
  begin
    perform public.mark_process_waiting_for_input(probe, null);
    raise exception 'a prompt of no type was opened' using errcode = 'assert_failure';
  exception when null_value_not_allowed then null;
  end;
  if exists (
    select from public.process_events
    where process_id = probe and event_type in ('user_input_required', 'user_input_resolved')
      and (event_category <> 'user_interaction' or event_source <> 'database')) then
    raise exception 'the events of a prompt are not those of an interaction';
  end if;
  for allowed in
    select s.status, m.reopen,
      s.status in ('in_progress', 'resuming', 'auto_progressing') or s.status = 'paused' and m.reopen as may
    from unnest(enum_range(null::public.generation_status)) s (status), (values (true), (false)) m (reopen)
  loop
    insert into public.generated_articles_state (user_id, status) values ('toolkit_verify', allowed.status) returning id into probe;
    begin
      perform public.mark_process_waiting_for_input(probe, 'select_theme', 7, null, allowed.reopen);
      if not allowed.may then
        raise exception 'a process that is % asked for input (p_reopen %)', allowed.status, allowed.reopen
          using errcode = 'assert_failure';
      end if;
    exception when object_not_in_prerequisite_state then
      if allowed.may then
        raise exception 'a process that is % could not ask for input (p_reopen %)', allowed.status, allowed.reopen;
      end if;
    end;
  end loop;
end $$;

-- check: RT-37 Columns refuse what they must not hold, to the last value, and take what lies beside it
-- remedy: compare the CHECK and NOT NULL of the table with the migration file.
do $$
declare
  probe uuid;
  task uuid;
  other uuid;
  one record;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  insert into public.background_tasks (process_id, task_type, max_retries) values (probe, 'toolkit_verify', 9) returning id into task;
  insert into public.background_tasks (process_id, task_type) values (probe, 'toolkit_verify') returning id into other;
  insert into public.task_dependencies (parent_task_id, dependent_task_id) values (task, other);
  for one in
    select * from (values
      ('generated_articles_state', 'task_priority = -1', false), ('generated_articles_state', 'task_priority = 0', true),
      ('generated_articles_state', 'task_priority = 10', true), ('generated_articles_state', 'task_priority = 11', false),
      ('generated_articles_state', 'progress_percentage = -1', false), ('generated_articles_state', 'progress_percentage = 0', true),
      ('generated_articles_state', 'progress_percentage = 100', true), ('generated_articles_state', 'progress_percentage = 101', false),
      ('process_event_counters', 'last_sequence = 0', false), ('process_event_counters', 'last_sequence = 1', true),
      ('background_tasks', 'task_type = ''''', false), ('background_tasks', 'status = ''sleeping''', false),
      ('background_tasks', 'status = ''pending''', true), ('background_tasks', 'status = ''paused''', true),
      ('background_tasks', 'status = ''completed''', true), ('background_tasks', 'status = ''failed''', true),
      ('background_tasks', 'status = ''cancelled''', true), ('background_tasks', 'status = ''running''', false),
      ('background_tasks', 'status = ''running'', claim_token = id', true),
      ('background_tasks', 'priority = -1', false), ('background_tasks', 'priority = 0', true),
      ('background_tasks', 'priority = 10', true), ('background_tasks', 'priority = 11', false),
      ('background_tasks', 'retry_count = -1', false), ('background_tasks', 'retry_count = max_retries', true),
      ('background_tasks', 'retry_count = max_retries + 1', false), ('background_tasks', 'max_retries = -1', false),
      ('background_tasks', 'max_retries = 0', true),
      ('background_tasks', 'retry_delay_seconds = -1', false), ('background_tasks', 'retry_delay_seconds = 0', true),
      ('background_tasks', 'rescue_count = -1', false), ('background_tasks', 'rescue_count = 0', true),
      ('background_tasks', 'pending_dependencies = -1', false), ('background_tasks', 'pending_dependencies = 1', true),
      ('task_dependencies', 'dependency_type = ''never''', false), ('task_dependencies', 'dependency_type = ''always''', true),
      ('task_dependencies', 'dependency_type = ''sequential''', true),
      ('task_dependencies', 'parent_task_id = dependent_task_id', false)) as v (tbl, change, fits)
  loop
    begin
      execute format(
        'update public.%I set %s where %s', one.tbl, one.change,
        case one.tbl
          when 'generated_articles_state' then format('id = %L', probe)
          when 'task_dependencies' then format('parent_task_id = %L', task)
          when 'background_tasks' then format('id = %L', task)
          else format('process_id = %L', probe) end);
      if not one.fits then
        raise exception '% took: %', one.tbl, one.change using errcode = 'assert_failure';
      end if;
      raise exception 'taken back' using errcode = 'triggered_action_exception';
    exception
      when triggered_action_exception then null;
      when check_violation then
        if one.fits then
          raise exception '% refused: %', one.tbl, one.change;
        end if;
    end;
  end loop;
  for one in
    select * from (values
      ('', '{}'::jsonb, 5, false), (repeat('t', 100), '{}', 5, true), (repeat('t', 101), '{}', 5, false),
      ('toolkit_verify', '{}', 0, false), ('toolkit_verify', jsonb_build_object('x', repeat('x', 262135)), 5, true),
      ('toolkit_verify', jsonb_build_object('x', repeat('x', 262136)), 5, false)) as v (kind, data, sequence, fits)
  loop
    begin
      insert into public.process_events (process_id, event_type, event_data, event_sequence)
      values (probe, one.kind, one.data, one.sequence);
      if not one.fits then
        raise exception 'an event was taken: type of % characters, data of % bytes, sequence %',
          length(one.kind), octet_length(one.data::text), one.sequence using errcode = 'assert_failure';
      end if;
      raise exception 'taken back' using errcode = 'triggered_action_exception';
    exception
      when triggered_action_exception then null;
      when check_violation then
        if one.fits then
          raise exception 'an event was refused: type of % characters, data of % bytes, sequence %',
            length(one.kind), octet_length(one.data::text), one.sequence;
        end if;
    end;
  end loop;
end $$;

-- check: RT-38 Columns that always have a value refuse NULL
-- remedy: alter table public.… alter column … set not null;
select w.tbl as table_name, c.name as nullable_column
from (values
  ('process_events', array['id', 'process_id', 'event_type', 'event_data', 'event_sequence', 'created_at', 'acknowledged_by',
    'event_category', 'event_source']),
  ('process_event_counters', array['process_id', 'last_sequence']),
  ('background_tasks', array['id', 'process_id', 'task_type', 'task_data', 'status', 'priority', 'scheduled_for',
    'retry_count', 'max_retries', 'retry_delay_seconds', 'rescue_count', 'pending_dependencies', 'created_at', 'updated_at']),
  ('task_dependencies', array['id', 'parent_task_id', 'dependent_task_id', 'dependency_type', 'created_at']),
  ('generated_articles_state', array['task_priority', 'input_reminder_sent', 'interaction_history', 'step_durations'])
  ) as w (tbl, names) cross join unnest(w.names) as c (name)
left join pg_attribute a on a.attrelid = to_regclass('public.' || w.tbl) and a.attname = c.name
where a.attnotnull is distinct from true;

-- check: RT-39 A new row has the values that the migration promises where none are given
-- remedy: compare the defaults of the table with the migration file.
do $$
declare
  probe uuid;
  state public.generated_articles_state;
  event public.process_events;
  task public.background_tasks;
  edge public.task_dependencies;
  began constant timestamptz := now();
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning * into state;
  probe := state.id;
  if state.task_priority <> 5 or state.input_reminder_sent or state.interaction_history <> '[]' or state.step_durations <> '{}' then
    raise exception 'a new process is: %', to_jsonb(state);
  end if;
  insert into public.process_events (process_id, event_type, event_sequence)
  values (probe, 'toolkit_verify', 7) returning * into event;
  if event.id is null or event.event_data <> '{}' or event.acknowledged_by <> '{}' or event.event_category <> 'system'
     or event.event_source <> 'backend' or event.created_at < began then
    raise exception 'a new event is: %', to_jsonb(event);
  end if;
  insert into public.background_tasks (process_id, task_type) values (probe, 'toolkit_verify') returning * into task;
  if task.task_data <> '{}' or task.status <> 'pending' or task.priority <> 5 or task.retry_count <> 0 or task.max_retries <> 3
     or task.retry_delay_seconds <> 60 or task.rescue_count <> 0 or task.pending_dependencies <> 0
     or task.scheduled_for not between began and clock_timestamp() or task.created_at not between began and clock_timestamp()
     or task.updated_at not between began and clock_timestamp() then
    raise exception 'a new task is: %', to_jsonb(task);
  end if;
  insert into public.background_tasks (process_id, task_type) values (probe, 'toolkit_verify');
  insert into public.task_dependencies (parent_task_id, dependent_task_id)
  select task.id, t.id from public.background_tasks t where t.process_id = probe and t.id <> task.id returning * into edge;
  if edge.id is null or edge.dependency_type <> 'sequential' or edge.created_at not between began and clock_timestamp() then
    raise exception 'a new dependency is: %', to_jsonb(edge);
  end if;
end $$;

-- check: RT-40 Functions have the rights, the search_path and the defaults of the migration
-- remedy: alter function … security definer or invoker, set search_path = ''; compare the arguments with the file.
select w.name as function_name, p.prosecdef as security_definer, p.proconfig as settings,
       pg_get_function_arguments(p.oid) as arguments
from (values
  ('append_process_event', false, ''), ('append_process_events', false, ''),
  ('create_process_event', true, '{}|manual|application'), ('guard_process_event', false, ''),
  ('acknowledge_process_event', true, ''), ('cleanup_old_events', true, '7'), ('publish_process_event', true, ''),
  ('set_realtime_channel', false, ''), ('update_task_status', false, ''), ('notify_background_task', false, ''),
  ('enqueue_background_task', false, '{}|5|gen_random_uuid()|now()|3|60|NULL|{}|sequential'),
  ('claim_background_task', false, 'NULL|NULL'), ('heartbeat_background_tasks', false, ''),
  ('settle_task_dependents', false, ''), ('complete_background_task', false, ''), ('fail_background_task', false, 'NULL|true'),
  ('release_background_task', false, ''), ('rescue_background_tasks', false, '5'), ('refuse_task_write', false, ''),
  ('checkpoint_task_step', true, 'false'), ('finish_task_step', true, 'NULL|NULL|[]|NULL|NULL|[]'),
  ('mark_process_waiting_for_input', true, '30|{}|false'), ('resolve_user_input', true, 'in_progress')) as w (name, definer, given)
join pg_proc p on p.proname = w.name and p.pronamespace = 'public'::regnamespace
cross join lateral (
  select coalesce(string_agg(trim(both '''' from regexp_replace(
    regexp_replace(m[1], '::.*$', ''), '(CURRENT_TIMESTAMP|transaction_timestamp\(\))', 'now()')), '|' order by n), '') as given
  from regexp_matches(pg_get_function_arguments(p.oid), 'DEFAULT ([^,]+)', 'g') with ordinality as r (m, n)) as found
where p.prosecdef <> w.definer or not coalesce('search_path=""' = any (p.proconfig), false) or found.given <> w.given;

-- check: RT-41 Foreign keys lead to where they should, and what is deleted takes along what belongs to it
-- remedy: compare the foreign keys of the table with the migration file.
select w.tbl as table_name, w.col as column_name, w.parent, w.on_delete
from (values
  ('process_events', 'process_id', 'generated_articles_state', 'c'),
  ('process_event_counters', 'process_id', 'generated_articles_state', 'c'),
  ('background_tasks', 'process_id', 'generated_articles_state', 'c'),
  ('task_dependencies', 'parent_task_id', 'background_tasks', 'c'),
  ('task_dependencies', 'dependent_task_id', 'background_tasks', 'c'),
  ('generated_articles_state', 'background_task_id', 'background_tasks', 'n')) as w (tbl, col, parent, on_delete)
where not exists (
  select from pg_constraint k
  join pg_attribute a on a.attrelid = k.conrelid and k.conkey = array[a.attnum]
  where k.contype = 'f' and k.conrelid = to_regclass('public.' || w.tbl) and a.attname = w.col
    and k.confrelid = to_regclass('public.' || w.parent) and k.confdeltype::text = w.on_delete and k.confupdtype = 'a');

-- check: RT-42 The indexes cover the columns, in the order and for the rows that the queries ask for
-- remedy: create the index again from the migration file.
select w.name as index_name, w.columns as expected, i.indexdef as found
from (values
  ('idx_process_events_created', '(created_at)'), ('idx_process_events_type', '(event_type, created_at)'),
  ('idx_background_tasks_queue', '(priority DESC, scheduled_for, created_at) WHERE ((status = ''pending''::text) AND (pending_dependencies = 0))'),
  ('idx_background_tasks_running', '(worker_id) WHERE (status = ''running''::text)'),
  ('idx_background_tasks_process', '(process_id, status)'), ('idx_task_dependencies_dependent', '(dependent_task_id)'),
  ('unique_process_sequence', '(process_id, event_sequence)'),
  ('unique_task_dependency', '(parent_task_id, dependent_task_id)')) as w (name, columns)
left join pg_indexes i on i.schemaname = 'public' and i.indexname = w.name
where i.indexdef is null or regexp_replace(i.indexdef, '^.* USING btree ', '') <> w.columns
  or (w.name like 'unique%') <> (i.indexdef like 'CREATE UNIQUE%');

-- check: RT-43 What is done for one process leaves every other as it was
-- remedy: look for a condition that is missing in the function that is named.
do $$
declare
  probe uuid;
  bystander uuid;
  task uuid;
  token uuid;
  dependent uuid;
  calls text[] := array[
    'select public.create_process_event($1, ''toolkit_verify'', ''{}'')',
    'select public.acknowledge_process_event($1, (select id from public.process_events where process_id = $1 limit 1), ''toolkit_verify'')',
    'select public.heartbeat_background_tasks(array[$3])',
    'select public.checkpoint_task_step($1, $2, $3, ''{"a": 1}'', 20, ''[]'', ''toolkit_verify'', true)',
    'select public.mark_process_waiting_for_input($1, ''select_theme'')',
    'select public.resolve_user_input($1, ''{}'')',
    'select public.finish_task_step($1, $2, $3, ''a'', ''{"b": 1}'', ''[]'', ''toolkit_verify'', ''b'', 30)',
    'update public.background_tasks set status = ''running'', claim_token = $3 where id = $2',
    'select public.release_background_task($2, $3)',
    'update public.background_tasks set status = ''running'', claim_token = $3 where id = $2',
    'select public.fail_background_task($2, $3, ''toolkit_verify'')',
    'update public.background_tasks set status = ''running'', claim_token = $3 where id = $2',
    'update public.background_tasks set heartbeat_at = now() - interval ''30 days'' where id = $2',
    'select public.rescue_background_tasks(interval ''29 days'')',
    'update public.background_tasks set status = ''running'', claim_token = $3 where id = $2',
    'update public.background_tasks set heartbeat_at = now() - interval ''30 days'', rescue_count = 5 where id = $2',
    'select public.rescue_background_tasks(interval ''29 days'')'];
  call text;
  before text;
  after text;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into bystander;
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  update public.generated_articles_state set status = 'in_progress' where id = probe;
  perform public.enqueue_background_task(bystander, 'toolkit_verify');
  update public.background_tasks set status = 'running', claim_token = gen_random_uuid(), worker_id = 'toolkit_verify'
  where process_id = bystander;
  update public.generated_articles_state set status = 'in_progress', executing_step = 'research' where id = bystander;
  task := public.enqueue_background_task(probe, 'toolkit_verify');
  dependent := public.enqueue_background_task(probe, 'toolkit_verify', p_depends_on => array[task]);
  token := gen_random_uuid();
  update public.background_tasks set status = 'running', claim_token = token where id = task;
  foreach call in array calls loop
    select md5(concat(s, (select string_agg(t::text, '' order by t.id) from public.background_tasks t where t.process_id = s.id),
                      (select string_agg(e::text, '' order by e.event_sequence) from public.process_events e where e.process_id = s.id)))
    into before from public.generated_articles_state s where s.id = bystander;
    execute call using probe, task, token;
    select md5(concat(s, (select string_agg(t::text, '' order by t.id) from public.background_tasks t where t.process_id = s.id),
                      (select string_agg(e::text, '' order by e.event_sequence) from public.process_events e where e.process_id = s.id)))
    into after from public.generated_articles_state s where s.id = bystander;
    if after is distinct from before then
      raise exception 'another process changed with: %', call;
    end if;
  end loop;
  if (select t.status from public.background_tasks t where t.id = task) <> 'failed'
     or (select t.status from public.background_tasks t where t.id = dependent) <> 'cancelled' then
    raise exception 'a task that killed five workers is %, and what depends on it %',
      (select t.status from public.background_tasks t where t.id = task),
      (select t.status from public.background_tasks t where t.id = dependent);
  end if;
end $$;

-- check: RT-44 Functions say by their SQLSTATE that there is no such process, and what they are given is refused at its limit
-- remedy: compare the guard at the beginning of the function that is named with the migration file.
do $$
declare
  nobody constant uuid := gen_random_uuid();
  one record;
begin
  perform from public.generated_articles_state limit 1;
  insert into public.generated_articles_state (user_id) values ('toolkit_verify');
  for one in
    select * from (values
      ('select public.create_process_event($1, ''toolkit_verify'', ''{}'')', '23503', 'process %does not exist'),
      ('select public.mark_process_waiting_for_input($1, ''select_theme'')', 'P0002', 'process %does not exist'),
      ('select public.resolve_user_input($1, ''{}'')', 'P0002', 'process %does not exist'),
      ('select public.cleanup_old_events(-1)', '22023', '%'), ('select public.cleanup_old_events(null)', '22023', '%'),
      ('select public.cleanup_old_events(0)', '', '%')) as v (call, state, said)
  loop
    begin
      execute one.call using nobody;
      if one.state <> '' then
        raise exception 'this was carried out: %', one.call using errcode = 'assert_failure';
      end if;
    exception
      when assert_failure then raise;
      when others then
        if sqlstate <> one.state or sqlerrm not like one.said then
          raise exception '% ended with % [%]', one.call, sqlerrm, sqlstate;
        end if;
    end;
  end loop;
  if public.refuse_task_write(nobody, nobody, nobody) is distinct from 'the process was deleted' then
    raise exception 'a process that was deleted may be written for: %', public.refuse_task_write(nobody, nobody, nobody);
  end if;
end $$;

-- check: RT-45 Nobody but the functions reads counters, whatever is granted
-- remedy: create policy process_event_counters_none … using (false);
do $$
declare
  told bigint;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify');
  grant select on public.process_event_counters to authenticated;
  set local role authenticated;
  select count(*) into told from public.process_event_counters;
  reset role;
  if told > 0 then
    raise exception 'with the privilege alone, authenticated reads % counters', told;
  end if;
end $$;

-- check: RT-46 Policies are for reading, and each role holds what the migration gives it, no less and no more
-- remedy: grant, revoke or create the policy again as the migration file has it.
select p.tablename || ' has a policy for ' || p.cmd || ': ' || p.policyname as problem
from pg_policies p
where p.schemaname = 'public' and p.policyname in ('process_events_read', 'background_tasks_read', 'task_dependencies_read',
    'process_event_counters_none') and (p.cmd <> 'SELECT' or p.permissive <> 'PERMISSIVE')
union all
select format('service_role %s %s on %s', case when v.may then 'lacks' else 'holds' end, v.verb, t.name)
from unnest(array['background_tasks', 'task_dependencies']) as t (name)
cross join (values ('select', true), ('insert', true), ('update', true), ('delete', true), ('truncate', false),
  ('trigger', false)) as v (verb, may)
where has_table_privilege('service_role', 'public.' || t.name, v.verb) <> v.may
union all
select format('%s may execute %s', r.name, p.oid::regprocedure)
from pg_proc p cross join unnest(array['anon', 'authenticated', 'service_role']) as r (name)
where p.pronamespace = 'public'::regnamespace
  and (p.proname in ('append_process_event', 'append_process_events')
    or r.name <> 'service_role' and p.proname in ('guard_process_event', 'publish_process_event', 'set_realtime_channel',
      'update_task_status', 'notify_background_task'))
  and has_function_privilege(r.name, p.oid, 'execute');
