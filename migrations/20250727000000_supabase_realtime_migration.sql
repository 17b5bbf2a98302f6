-- From WebSockets and a cloud task queue to Supabase Realtime and database-driven background tasks.
--
-- The rules this file keeps:
--   * Sequences are per process, start at 1, have no gaps, are never reused, and their order is
--     commit order: one counter row per process, locked by the UPDATE that allocates until commit.
--   * Whoever needs several locks of a process takes them in this order: the state row (FOR NO KEY
--     UPDATE), then the process's counter, then task rows. Claim and rescue skip what is locked.
--   * Events are small: identifiers, the change, what a client renders; never the article context.
--   * Only the server's role writes events and tasks. Who may see a process may see its events.
--   * Existing rows are not touched, and the one lock that stops traffic (ADD COLUMN on the state
--     table) comes last, so that it is held for milliseconds.

-- 1. New tables --------------------------------------------------------------------------------

create table public.process_events (
  id uuid primary key default gen_random_uuid(),
  process_id uuid not null,
  event_type text not null check (event_type <> '' and length(event_type) <= 100),
  event_data jsonb not null default '{}'::jsonb,
  event_sequence integer not null check (event_sequence > 0),
  created_at timestamptz not null default clock_timestamp(),
  published_at timestamptz,  -- always created_at: a committed event is published, by the write-ahead log
  acknowledged_by text[] not null default '{}',
  event_category text not null default 'system',
  event_source text not null default 'backend',
  constraint unique_process_sequence unique (process_id, event_sequence),
  -- Realtime trims a change above 1 MiB; an event that large is a mistake found here, not there.
  constraint process_events_small check (octet_length(event_data::text) <= 262144)
);
comment on table public.process_events is
  'What happened to each process, in commit order. Appended by create_process_event() and the state trigger only.';

-- Narrow and updated in place (HOT): on the state table every event would rewrite a wide published row.
create table public.process_event_counters (
  process_id uuid primary key,
  last_sequence integer not null check (last_sequence > 0)
) with (fillfactor = 50);
comment on table public.process_event_counters is 'The last event sequence allocated for each process.';

-- Where this was applied before and rolled back, counting goes on from where it was: clients remember sequences.
do $$
begin
  if to_regclass('supabase_migrations.retained_event_counters') is not null then
    insert into public.process_event_counters (process_id, last_sequence)
    select r.process_id, r.last_sequence
    from supabase_migrations.retained_event_counters r
    join public.generated_articles_state s on s.id = r.process_id
    for key share of s;
    drop table supabase_migrations.retained_event_counters;
  end if;
end
$$;

create table public.background_tasks (
  id uuid primary key default gen_random_uuid(),
  process_id uuid not null,
  task_type text not null check (task_type <> ''),
  task_data jsonb not null default '{}'::jsonb,
  status text not null default 'pending'
    check (status in ('pending', 'running', 'completed', 'failed', 'cancelled', 'paused')),
  priority integer not null default 5 check (priority between 0 and 10),
  scheduled_for timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  error_message text,
  error_details jsonb,
  retry_count integer not null default 0 check (retry_count >= 0),
  max_retries integer not null default 3 check (max_retries >= 0),
  retry_delay_seconds integer not null default 60 check (retry_delay_seconds >= 0),
  rescue_count integer not null default 0 check (rescue_count >= 0),
  worker_id text,
  worker_hostname text,
  claim_token uuid,
  heartbeat_at timestamptz,
  pending_dependencies integer not null default 0 check (pending_dependencies >= 0),
  created_by text,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  execution_time interval,
  -- A claim and its token exist together: every write of a worker is guarded by the token.
  constraint background_tasks_claim check ((status = 'running') = (claim_token is not null)),
  constraint background_tasks_retries check (retry_count <= max_retries)
);
comment on table public.background_tasks is
  'The task queue. A running task belongs to the worker that holds its claim_token.';

create table public.task_dependencies (
  id uuid primary key default gen_random_uuid(),
  parent_task_id uuid not null references public.background_tasks (id) on delete cascade,
  dependent_task_id uuid not null references public.background_tasks (id) on delete cascade,
  -- sequential: the dependent runs after success and is cancelled otherwise;
  -- always: it runs once the parent has ended in any way.
  dependency_type text not null default 'sequential' check (dependency_type in ('sequential', 'always')),
  created_at timestamptz not null default now(),
  constraint unique_task_dependency unique (parent_task_id, dependent_task_id),
  constraint no_self_dependency check (parent_task_id <> dependent_task_id)
);

create index idx_process_events_created on public.process_events (created_at);
create index idx_process_events_type on public.process_events (event_type, created_at);
-- The claim reads this index in its own order and stops at the first row it can lock.
create index idx_background_tasks_queue on public.background_tasks (priority desc, scheduled_for, created_at)
  where status = 'pending' and pending_dependencies = 0;
create index idx_background_tasks_running on public.background_tasks (worker_id) where status = 'running';
create index idx_background_tasks_process on public.background_tasks (process_id, status);
create index idx_task_dependencies_dependent on public.task_dependencies (dependent_task_id);

-- 2. The event log -----------------------------------------------------------------------------

-- This function and the next one are where events come into being. The counter's row lock is held until the
-- transaction ends, so the next number is given out only after this one's commit record is written:
-- sequence order is commit order.
create function public.append_process_event(
  p_process_id uuid, p_event_type text, p_event_data jsonb, p_event_category text, p_event_source text
) returns public.process_events
language plpgsql set search_path = '' as $$
declare
  allocated integer;
  appended public.process_events;
begin
  insert into public.process_event_counters as c (process_id, last_sequence)
  values (p_process_id, 1)
  on conflict (process_id) do update set last_sequence = c.last_sequence + 1
  returning last_sequence into allocated;

  insert into public.process_events (
    process_id, event_type, event_data, event_sequence, event_category, event_source, created_at, published_at)
  values (
    p_process_id, p_event_type, coalesce(p_event_data, '{}'::jsonb), allocated,
    coalesce(p_event_category, 'system'), coalesce(p_event_source, 'backend'), clock_timestamp(), clock_timestamp())
  returning * into appended;
  return appended;
end
$$;

-- Several events at once, [{"type", "data", "category"}, …] in this order: their numbers are taken in
-- one go, under the same row lock. The category is process_state when not given.
create function public.append_process_events(p_process_id uuid, p_events jsonb, p_event_source text) returns void
language plpgsql set search_path = '' as $$
declare
  number constant integer := jsonb_array_length(p_events);
  last_one integer;
begin
  if number = 0 then
    return;
  end if;
  insert into public.process_event_counters as c (process_id, last_sequence)
  values (p_process_id, number)
  on conflict (process_id) do update set last_sequence = c.last_sequence + number
  returning last_sequence into last_one;

  insert into public.process_events (
    process_id, event_type, event_data, event_sequence, event_category, event_source, created_at, published_at)
  select p_process_id, e.value ->> 'type', coalesce(e.value -> 'data', '{}'::jsonb), last_one - number + e.position::integer,
         coalesce(e.value ->> 'category', 'process_state'), p_event_source, clock_timestamp(), clock_timestamp()
  from jsonb_array_elements(p_events) with ordinality e (value, position)
  order by e.position;
end
$$;

create function public.create_process_event(
  p_process_id uuid,
  p_event_type text,
  p_event_data jsonb default '{}'::jsonb,
  p_event_category text default 'manual',
  p_event_source text default 'application'
) returns uuid
language plpgsql security definer set search_path = '' as $$
begin
  if not exists (select from public.generated_articles_state where id = p_process_id) then
    raise exception 'process % does not exist', p_process_id
      using errcode = 'foreign_key_violation', hint = 'Create the process first, or check the id.';
  end if;
  return (public.append_process_event(p_process_id, p_event_type, p_event_data, p_event_category, p_event_source)).id;
end
$$;

-- Events are facts: who acknowledged one may change, nothing else.
create function public.guard_process_event() returns trigger
language plpgsql set search_path = '' as $$
begin
  if (new.id, new.process_id, new.event_type, new.event_data, new.event_sequence, new.created_at,
      new.event_category, new.event_source)
     is distinct from
     (old.id, old.process_id, old.event_type, old.event_data, old.event_sequence, old.created_at,
      old.event_category, old.event_source) then
    raise exception 'event % of process % is written once and cannot be changed', old.event_sequence, old.process_id
      using errcode = 'restrict_violation', hint = 'Append another event instead.';
  end if;
  return new;
end
$$;
create trigger trigger_guard_process_event before update on public.process_events
  for each row execute function public.guard_process_event();

-- Marks an event as seen by a user; true when the event exists, also when it was marked before.
create function public.acknowledge_process_event(p_process_id uuid, p_event_id uuid, p_user_id text) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  if coalesce(p_user_id, '') = '' then
    raise exception 'an acknowledgement needs a user id' using errcode = 'null_value_not_allowed';
  end if;
  update public.process_events
  set acknowledged_by = array_append(acknowledged_by, p_user_id)
  where id = p_event_id and process_id = p_process_id and not (p_user_id = any (acknowledged_by));
  return exists (select from public.process_events where id = p_event_id and process_id = p_process_id);
end
$$;

-- Deletes the events of processes that ended at least p_days_old days ago, but for the first and the
-- final ones. Running processes keep all of theirs: a client that comes
-- back reads from where it was. Counters stay, so no sequence is ever given out twice.
create function public.cleanup_old_events(p_days_old integer default 7) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  limit_time timestamptz;
  removed integer;
begin
  if p_days_old is null or p_days_old < 0 then
    raise exception 'p_days_old must be 0 or more, not %', p_days_old using errcode = 'invalid_parameter_value';
  end if;
  limit_time := now() - make_interval(days => p_days_old);
  delete from public.process_events e
  using public.generated_articles_state s
  where s.id = e.process_id
    and s.status in ('completed', 'cancelled', 'error') and s.updated_at <= limit_time
    and e.created_at <= limit_time
    and e.event_type not in ('process_created', 'generation_completed', 'generation_cancelled', 'generation_error');
  get diagnostics removed = row_count;
  return removed;
end
$$;

-- Records what changed in a state row, one event for each kind of change, whichever program made
-- it. With the owner's rights, since the writer of a row need not be able to read events.
create function public.publish_process_event() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  data jsonb;
  happened jsonb := '[]';
begin
  data := jsonb_build_object(
    'process_id', new.id,
    'status', new.status,
    'current_step', new.current_step_name,
    'executing_step', new.executing_step,
    'progress_percentage', new.progress_percentage,
    'is_waiting_for_input', new.is_waiting_for_input,
    'input_type', new.input_type,
    'updated_at', new.updated_at);

  if tg_op = 'INSERT' then
    perform public.append_process_event(new.id, 'process_created', data || jsonb_build_object(
      'user_id', new.user_id, 'organization_id', new.organization_id, 'image_mode', new.image_mode,
      'realtime_channel', new.realtime_channel,
      'changes', jsonb_build_object('status', jsonb_build_array(null, new.status))), 'process_state', 'database_trigger');
    return null;
  end if;

  if new.status is distinct from old.status then
    happened := happened || jsonb_build_object('type', 'status_changed', 'data', data || jsonb_build_object(
      'error_message', left(new.error_message, 1000),
      'changes', jsonb_build_object('status', jsonb_build_array(old.status, new.status))));
  end if;
  if new.current_step_name is distinct from old.current_step_name then
    happened := happened || jsonb_build_object('type', 'step_changed', 'data', data || jsonb_build_object(
      'changes', jsonb_build_object('current_step', jsonb_build_array(old.current_step_name, new.current_step_name))));
  end if;
  if new.progress_percentage is distinct from old.progress_percentage then
    happened := happened || jsonb_build_object('type', 'progress_updated', 'data', data || jsonb_build_object(
      'changes', jsonb_build_object('progress', jsonb_build_array(old.progress_percentage, new.progress_percentage))));
  end if;
  if new.is_waiting_for_input is distinct from old.is_waiting_for_input then
    happened := happened || jsonb_build_object(
      'type', case when new.is_waiting_for_input then 'input_required' else 'input_resolved' end,
      'data', data || jsonb_build_object('changes', jsonb_build_object(
        'is_waiting_for_input', jsonb_build_array(old.is_waiting_for_input, new.is_waiting_for_input))));
  end if;
  if (new.article_id, new.image_mode, new.input_type) is distinct from (old.article_id, old.image_mode, old.input_type)
     and new.is_waiting_for_input is not distinct from old.is_waiting_for_input then
    happened := happened || jsonb_build_object('type', 'process_updated', 'data', data || jsonb_build_object(
      'article_id', new.article_id, 'image_mode', new.image_mode,
      'changes', jsonb_build_object('article_id', jsonb_build_array(old.article_id, new.article_id))));
  end if;
  perform public.append_process_events(new.id, happened, 'database_trigger');
  return null;
end
$$;

create function public.set_realtime_channel() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.realtime_channel := coalesce(new.realtime_channel, 'process_' || new.id);
  return new;
end
$$;

-- 3. The task queue ----------------------------------------------------------------------------

create function public.update_task_status() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := clock_timestamp();
  if new.status = 'running' and (tg_op = 'INSERT' or old.status is distinct from 'running') then
    new.started_at := coalesce(case when tg_op = 'INSERT' then new.started_at end, clock_timestamp());
    new.heartbeat_at := clock_timestamp();
    new.completed_at := null;
  end if;
  if new.status in ('completed', 'failed', 'cancelled') then
    if tg_op = 'INSERT' or old.status not in ('completed', 'failed', 'cancelled') then
      new.completed_at := coalesce(new.completed_at, clock_timestamp());
    end if;
    new.execution_time := new.completed_at - new.started_at;
  end if;
  if new.status <> 'running' then
    new.claim_token := null;
  end if;
  return new;
end
$$;

-- Wakes idle workers. Several in one transaction are folded into one notification by Postgres.
create function public.notify_background_task() returns trigger
language plpgsql set search_path = '' as $$
begin
  if new.status = 'pending' and new.pending_dependencies = 0 then
    perform pg_notify('background_tasks', '');
  end if;
  return null;
end
$$;

create trigger trigger_update_task_status before insert or update on public.background_tasks
  for each row execute function public.update_task_status();
create trigger trigger_notify_background_task after insert or update of status, pending_dependencies
  on public.background_tasks for each row execute function public.notify_background_task();

-- Adds a task, or does nothing when its id exists: a caller that derives the id from what the task is
-- for can repeat the call. p_depends_on names tasks that must end first; an unknown one is an error.
-- p_dependency_type says what their end means: see task_dependencies.
create function public.enqueue_background_task(
  p_process_id uuid,
  p_task_type text,
  p_task_data jsonb default '{}'::jsonb,
  p_priority integer default 5,
  p_id uuid default gen_random_uuid(),
  p_scheduled_for timestamptz default now(),
  p_max_retries integer default 3,
  p_retry_delay_seconds integer default 60,
  p_created_by text default null,
  p_depends_on uuid[] default '{}',
  p_dependency_type text default 'sequential'
) returns uuid
language plpgsql set search_path = '' as $$
declare
  parent record;
  added uuid;
  missing uuid[];
begin
  select array_agg(d) into missing from unnest(p_depends_on) d
  where not exists (select from public.background_tasks t where t.id = d);
  if missing is not null then
    raise exception 'task depends on tasks that do not exist: %', missing
      using errcode = 'foreign_key_violation', hint = 'Enqueue the parents first.';
  end if;
  insert into public.background_tasks (
    id, process_id, task_type, task_data, priority, scheduled_for, max_retries, retry_delay_seconds, created_by)
  values (
    p_id, p_process_id, p_task_type, coalesce(p_task_data, '{}'::jsonb), p_priority, p_scheduled_for,
    p_max_retries, p_retry_delay_seconds, p_created_by)
  on conflict (id) do nothing
  returning id into added;
  if added is null then
    return p_id;
  end if;
  -- A share lock on each parent: one that is completing right now is waited for and read as it ends.
  for parent in
    select t.id, t.status from public.background_tasks t
    where t.id = any (p_depends_on) order by t.id for share
  loop
    insert into public.task_dependencies (parent_task_id, dependent_task_id, dependency_type)
    values (parent.id, added, p_dependency_type);
    if parent.status in ('failed', 'cancelled') and p_dependency_type <> 'always' then
      update public.background_tasks
      set status = 'cancelled', error_message = format('depends on task %s, which %s', parent.id, parent.status)
      where id = added;
    elsif parent.status not in ('completed', 'failed', 'cancelled') then
      update public.background_tasks set pending_dependencies = pending_dependencies + 1 where id = added;
    end if;
  end loop;
  return added;
end
$$;

-- Takes the next due task, or none: highest priority first, then the one that waits longest. Tasks of
-- paused or ended processes are passed over. Rows locked by others are skipped, never waited for,
-- so that a claim cannot be part of a deadlock.
create function public.claim_background_task(
  p_worker_id text, p_worker_hostname text default null, p_task_types text[] default null
) returns setof public.background_tasks
language plpgsql set search_path = '' as $$
declare
  chosen uuid;
begin
  select t.id into chosen
  from public.background_tasks t
  join public.generated_articles_state s on s.id = t.process_id
  where t.status = 'pending' and t.pending_dependencies = 0 and t.scheduled_for <= clock_timestamp()
    and (p_task_types is null or t.task_type = any (p_task_types))
    and s.status in ('in_progress', 'resuming', 'auto_progressing')
  order by t.priority desc, t.scheduled_for, t.created_at
  limit 1
  for no key update of t, s skip locked;
  if chosen is null then
    return;
  end if;
  return query
    update public.background_tasks
    set status = 'running', worker_id = p_worker_id, worker_hostname = p_worker_hostname,
        claim_token = gen_random_uuid(), error_message = null
    where id = chosen
    returning *;
end
$$;

-- Renews the leases of one worker; returns the tasks it still holds. A task that is locked at this
-- moment is being finished by its own holder and counts as held.
create function public.heartbeat_background_tasks(p_claim_tokens uuid[]) returns table (id uuid, claim_token uuid)
language plpgsql set search_path = '' as $$
begin
  update public.background_tasks t set heartbeat_at = clock_timestamp()
  where t.id in (
    select b.id from public.background_tasks b
    where b.status = 'running' and b.claim_token = any (p_claim_tokens)
    for no key update skip locked);
  return query
    select t.id, t.claim_token from public.background_tasks t
    where t.status = 'running' and t.claim_token = any (p_claim_tokens);
end
$$;

-- Lets what waited for an ended task go on, or cancels it; all the way down the graph.
create function public.settle_task_dependents(p_task_id uuid) returns void
language plpgsql set search_path = '' as $$
declare
  parent_status text;
  edge record;
begin
  select status into parent_status from public.background_tasks where id = p_task_id;
  for edge in
    select d.dependent_task_id as id, d.dependency_type from public.task_dependencies d
    join public.background_tasks t on t.id = d.dependent_task_id
    where d.parent_task_id = p_task_id and t.status in ('pending', 'paused')
    order by d.dependent_task_id
  loop
    if parent_status = 'completed' or edge.dependency_type = 'always' then
      update public.background_tasks
      set pending_dependencies = greatest(pending_dependencies - 1, 0) where id = edge.id;
    else
      update public.background_tasks
      set status = 'cancelled', error_message = format('depends on task %s, which %s', p_task_id, parent_status)
      where id = edge.id;
      perform public.settle_task_dependents(edge.id);
    end if;
  end loop;
end
$$;

-- Ends a task well. False when the caller no longer holds it: its work must then be thrown away.
create function public.complete_background_task(p_task_id uuid, p_claim_token uuid) returns boolean
language plpgsql set search_path = '' as $$
begin
  update public.background_tasks set status = 'completed'
  where id = p_task_id and status = 'running' and claim_token = p_claim_token;
  if not found then
    return false;
  end if;
  perform public.settle_task_dependents(p_task_id);
  return true;
end
$$;

-- Ends an attempt badly: 'pending' when it will be tried again (delay doubles with each try, with
-- 50-100 % jitter, at most an hour), 'failed' when not, null when the caller no longer holds it.
create function public.fail_background_task(
  p_task_id uuid, p_claim_token uuid, p_error_message text, p_error_details jsonb default null,
  p_retryable boolean default true
) returns text
language plpgsql set search_path = '' as $$
declare
  task public.background_tasks;
begin
  select * into task from public.background_tasks
  where id = p_task_id and status = 'running' and claim_token = p_claim_token
  for no key update;
  if not found then
    return null;
  end if;
  if p_retryable and task.retry_count < task.max_retries then
    update public.background_tasks
    set status = 'pending', retry_count = retry_count + 1, worker_id = null, worker_hostname = null,
        error_message = left(p_error_message, 4000), error_details = p_error_details,
        scheduled_for = clock_timestamp() + (0.5 + random() / 2) * make_interval(
          secs => least(3600, task.retry_delay_seconds * power(2, least(task.retry_count, 20))))
    where id = p_task_id;
    return 'pending';
  end if;
  update public.background_tasks
  set status = 'failed', error_message = left(p_error_message, 4000), error_details = p_error_details
  where id = p_task_id;
  perform public.settle_task_dependents(p_task_id);
  return 'failed';
end
$$;

-- Gives an unfinished task back (a worker that shuts down): no retry is used up.
create function public.release_background_task(p_task_id uuid, p_claim_token uuid) returns boolean
language plpgsql set search_path = '' as $$
begin
  update public.background_tasks
  set status = 'pending', worker_id = null, worker_hostname = null, scheduled_for = clock_timestamp()
  where id = p_task_id and status = 'running' and claim_token = p_claim_token;
  return found;
end
$$;

-- Takes tasks away from workers whose lease ran out. One that was rescued p_max_rescues times kills
-- its workers: it fails. Judged by the database's clock alone. Returns what became of each.
create function public.rescue_background_tasks(p_lease interval, p_max_rescues integer default 5)
returns table (id uuid, process_id uuid, status text, rescue_count integer, worker_id text)
language plpgsql set search_path = '' as $$
declare
  dead record;
begin
  for dead in
    select t.id, t.process_id, t.rescue_count, t.worker_id
    from public.background_tasks t
    join public.generated_articles_state s on s.id = t.process_id
    where t.status = 'running' and t.heartbeat_at < clock_timestamp() - p_lease
    order by t.process_id
    for no key update of t, s skip locked
  loop
    if dead.rescue_count < p_max_rescues then
      update public.background_tasks t
      set status = 'pending', rescue_count = t.rescue_count + 1, worker_id = null, worker_hostname = null,
          scheduled_for = clock_timestamp(),
          error_message = format('worker %s stopped sending heartbeats', dead.worker_id)
      where t.id = dead.id;
      return query select dead.id, dead.process_id, 'pending'::text, dead.rescue_count + 1, dead.worker_id;
    else
      update public.background_tasks t
      set status = 'failed',
          error_message = format('rescued %s times; its last worker %s died too', dead.rescue_count, dead.worker_id)
      where t.id = dead.id;
      perform public.settle_task_dependents(dead.id);
      return query select dead.id, dead.process_id, 'failed'::text, dead.rescue_count, dead.worker_id;
    end if;
  end loop;
end
$$;

-- 4. What a worker writes while it holds a task ------------------------------------------------

-- Each of the two below is a whole transaction in one round trip: everything in it happens, or nothing
-- and the answer says why. The claim token is looked at after the process is locked, in a statement of
-- its own: a snapshot taken before the lock would still show a claim that was taken away meanwhile.

-- Locks the process; null when the caller may write for it, otherwise why not.
create function public.refuse_task_write(p_process_id uuid, p_task_id uuid, p_claim_token uuid) returns text
language plpgsql set search_path = '' as $$
declare
  current_status public.generation_status;
begin
  select status into current_status from public.generated_articles_state where id = p_process_id for no key update;
  if not found then
    return 'the process was deleted';
  end if;
  if current_status not in ('in_progress', 'resuming', 'auto_progressing') then
    return format('the process is %s', current_status);
  end if;
  if not exists (
    select from public.background_tasks
    where id = p_task_id and process_id = p_process_id and status = 'running' and claim_token = p_claim_token) then
    return 'the task has another holder';
  end if;
  return null;
end
$$;

-- Keeps a part of a step. Null when it is kept, otherwise why not. A part that is done (p_part_done)
-- ends a series of failures: retries are counted since the last progress, so that a long step made
-- of many parts is not given up for one failure here and there. It still ends: parts are finite.
create function public.checkpoint_task_step(
  p_process_id uuid, p_task_id uuid, p_claim_token uuid, p_context jsonb, p_progress integer,
  p_events jsonb, p_event_source text, p_part_done boolean default false
) returns text
language plpgsql security definer set search_path = '' as $$
declare
  refusal constant text := public.refuse_task_write(p_process_id, p_task_id, p_claim_token);
begin
  if refusal is null then
    update public.generated_articles_state
    set article_context = p_context, progress_percentage = greatest(progress_percentage, p_progress)
    where id = p_process_id;
    perform public.append_process_events(p_process_id, p_events, p_event_source);
    if p_part_done then
      update public.background_tasks set retry_count = 0 where id = p_task_id and retry_count > 0;
    end if;
  end if;
  return refusal;
end
$$;

-- Ends a step and its task, enters p_step and adds the task that follows. p_gate is a gate that was
-- answered without asking on the way there. With p_heir_token the caller offers to work on the next
-- task at once; it gets it (`inherited`) exactly when a claim would choose it too: nothing that is
-- due has as much priority, since all of that waits for longer.
create function public.finish_task_step(
  p_process_id uuid, p_task_id uuid, p_claim_token uuid,
  p_finished text, p_context jsonb, p_events jsonb, p_event_source text,
  p_step text, p_progress integer,
  p_gate text default null, p_gate_progress integer default null, p_gate_events jsonb default '[]'::jsonb,
  p_next jsonb default null, p_heir_token uuid default null, p_heir_events jsonb default '[]'::jsonb,
  out refusal text, out reached integer, out inherited boolean
)
language plpgsql security definer set search_path = '' as $$
declare
  next_id constant uuid := p_next ->> 'id';
  next_priority constant integer := p_next ->> 'priority';
begin
  refusal := public.refuse_task_write(p_process_id, p_task_id, p_claim_token);
  if refusal is not null then
    return;
  end if;
  inherited := p_heir_token is not null and p_next is not null
    and not exists (
      select from public.background_tasks t
      where t.status = 'pending' and t.pending_dependencies = 0 and t.scheduled_for <= clock_timestamp()
        and t.priority >= next_priority)
    and not exists (select from public.background_tasks t where t.id = next_id);
  perform public.append_process_events(p_process_id, p_events, p_event_source);
  if inherited then
    -- Never pending, so that nobody is woken for it.
    insert into public.background_tasks (
      id, process_id, task_type, task_data, priority, max_retries, retry_delay_seconds, created_by,
      status, claim_token, worker_id, worker_hostname)
    select next_id, t.process_id, p_next ->> 'type', p_next -> 'data', next_priority,
           (p_next ->> 'max_retries')::integer, (p_next ->> 'retry_delay_seconds')::integer, p_next ->> 'created_by',
           'running', p_heir_token, t.worker_id, t.worker_hostname
    from public.background_tasks t where t.id = p_task_id;
  elsif p_next is not null then
    perform public.enqueue_background_task(
      p_process_id, p_next ->> 'type', p_next -> 'data', next_priority, next_id,
      p_max_retries => (p_next ->> 'max_retries')::integer,
      p_retry_delay_seconds => (p_next ->> 'retry_delay_seconds')::integer, p_created_by => p_next ->> 'created_by');
  end if;
  if p_gate is not null then
    update public.generated_articles_state
    set current_step_name = p_gate, progress_percentage = greatest(progress_percentage, p_gate_progress),
        executing_step = null
    where id = p_process_id;
    perform public.append_process_events(p_process_id, p_gate_events, p_event_source);
  end if;
  -- The step's time is added to what it took before (a step can be done again) and its end noted.
  update public.generated_articles_state
  set article_context = p_context, current_step_name = p_step,
      progress_percentage = greatest(progress_percentage, p_progress),
      executing_step = case when inherited then p_step end,
      step_execution_start = case when inherited then clock_timestamp() end,
      background_task_id = next_id, task_priority = coalesce(next_priority, task_priority),
      step_durations = step_durations || jsonb_build_object(p_finished, round(
        coalesce((step_durations ->> p_finished)::numeric, 0)
        + coalesce(extract(epoch from clock_timestamp() - step_execution_start), 0), 3)),
      step_history = step_history || jsonb_build_array(jsonb_build_object(
        'step_name', p_finished, 'status', 'completed', 'timestamp', clock_timestamp(), 'data', '{}'::jsonb))
  where id = p_process_id
  returning progress_percentage into reached;
  if inherited then
    perform public.append_process_events(p_process_id, p_heir_events, p_event_source);
  end if;
  if not public.complete_background_task(p_task_id, p_claim_token) then
    raise exception 'task % was taken away while its process was locked', p_task_id;
  end if;
end
$$;

-- 5. Waiting for the user ----------------------------------------------------------------------

-- Opens a prompt. Only a running process can ask, and a paused one that is resumed at its gate (p_reopen);
-- anything else is an error, never a silent change.
create function public.mark_process_waiting_for_input(
  p_process_id uuid, p_input_type text, p_timeout_minutes integer default 30, p_prompt_data jsonb default '{}'::jsonb,
  p_reopen boolean default false
) returns timestamptz
language plpgsql security definer set search_path = '' as $$
declare
  current_status public.generation_status;
  expires timestamptz;
begin
  if coalesce(p_input_type, '') = '' then
    raise exception 'a prompt needs an input type: nobody could answer it' using errcode = 'null_value_not_allowed';
  end if;
  if coalesce(p_timeout_minutes, 0) <= 0 then
    raise exception 'p_timeout_minutes must be more than 0, not %', p_timeout_minutes
      using errcode = 'invalid_parameter_value';
  end if;
  select status into current_status from public.generated_articles_state where id = p_process_id for no key update;
  if not found then
    raise exception 'process % does not exist', p_process_id using errcode = 'no_data_found';
  end if;
  if current_status not in ('in_progress', 'resuming', 'auto_progressing')
     and not (p_reopen and current_status = 'paused') then
    raise exception 'process % is %: it cannot wait for input', p_process_id, current_status
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  expires := clock_timestamp() + make_interval(mins => p_timeout_minutes);
  update public.generated_articles_state
  set status = 'user_input_required', is_waiting_for_input = true, input_type = p_input_type,
      user_input_timeout = expires, input_reminder_sent = false, executing_step = null
  where id = p_process_id;
  perform public.append_process_event(p_process_id, 'user_input_required', jsonb_build_object(
    'input_type', p_input_type, 'data', coalesce(p_prompt_data, '{}'::jsonb),
    'timeout_at', expires, 'timeout_minutes', p_timeout_minutes), 'user_interaction', 'database');
  return expires;
end
$$;

-- Closes the open prompt with the user's answer. A prompt that is not open (answered before, timed
-- out, paused, or the process is over) is an error: an answer never revives or repeats anything.
create function public.resolve_user_input(
  p_process_id uuid, p_user_response jsonb, p_next_status public.generation_status default 'in_progress'
) returns void
language plpgsql security definer set search_path = '' as $$
declare
  state record;
begin
  select status, is_waiting_for_input, input_type, user_input_timeout into state
  from public.generated_articles_state where id = p_process_id for no key update;
  if not found then
    raise exception 'process % does not exist', p_process_id using errcode = 'no_data_found';
  end if;
  if state.status <> 'user_input_required' or not state.is_waiting_for_input then
    raise exception 'process % is % and has no open prompt', p_process_id, state.status
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  -- Whether or not the worker that pauses such processes came by yet.
  if state.user_input_timeout <= clock_timestamp() then
    raise exception 'the prompt of process % was open until %', p_process_id, state.user_input_timeout
      using errcode = 'object_not_in_prerequisite_state', hint = 'Resume the process: it asks again.';
  end if;
  if p_next_status not in ('in_progress', 'auto_progressing') then
    raise exception 'an answered process goes on; it cannot become %', p_next_status
      using errcode = 'invalid_parameter_value';
  end if;
  update public.generated_articles_state
  set status = p_next_status, is_waiting_for_input = false, input_type = null, user_input_timeout = null,
      interaction_history = interaction_history || jsonb_build_array(jsonb_build_object(
        'input_type', state.input_type, 'user_response', p_user_response, 'resolved_at', clock_timestamp()))
  where id = p_process_id;
  perform public.append_process_event(p_process_id, 'user_input_resolved', jsonb_build_object(
    'input_type', state.input_type, 'user_response', p_user_response, 'resolved_at', clock_timestamp()),
    'user_interaction', 'database');
end
$$;

-- 6. Who may do what ---------------------------------------------------------------------------

alter table public.process_events enable row level security;
alter table public.process_event_counters enable row level security;
alter table public.background_tasks enable row level security;
alter table public.task_dependencies enable row level security;

-- A project's default privileges give these roles everything on a new table: take it back first.
revoke all on public.process_events, public.process_event_counters, public.background_tasks, public.task_dependencies
  from public, anon, authenticated, service_role;
grant select on public.process_events, public.background_tasks, public.task_dependencies to authenticated;
-- Events are appended and marked by functions only, also by the server's role.
grant select on public.process_events, public.process_event_counters to service_role;
grant select, insert, update, delete on public.background_tasks, public.task_dependencies to service_role;

-- The state table's own policies decide; events can never be visible to more or fewer people.
create policy process_events_read on public.process_events for select to authenticated
  using (exists (select from public.generated_articles_state s where s.id = process_id));
create policy background_tasks_read on public.background_tasks for select to authenticated
  using (exists (select from public.generated_articles_state s where s.id = process_id));
create policy task_dependencies_read on public.task_dependencies for select to authenticated
  using (exists (select from public.background_tasks t where t.id = dependent_task_id));
-- Says in words what no policy at all would also do: nobody but the functions reads counters.
create policy process_event_counters_none on public.process_event_counters for select to authenticated using (false);

do $$
declare
  signature regprocedure;
begin
  foreach signature in array array[
    'public.append_process_event(uuid, text, jsonb, text, text)',
    'public.append_process_events(uuid, jsonb, text)',
    'public.create_process_event(uuid, text, jsonb, text, text)',
    'public.guard_process_event()',
    'public.acknowledge_process_event(uuid, uuid, text)',
    'public.cleanup_old_events(integer)',
    'public.publish_process_event()',
    'public.set_realtime_channel()',
    'public.update_task_status()',
    'public.notify_background_task()',
    'public.enqueue_background_task(uuid, text, jsonb, integer, uuid, timestamptz, integer, integer, text, uuid[], text)',
    'public.claim_background_task(text, text, text[])',
    'public.heartbeat_background_tasks(uuid[])',
    'public.settle_task_dependents(uuid)',
    'public.complete_background_task(uuid, uuid)',
    'public.fail_background_task(uuid, uuid, text, jsonb, boolean)',
    'public.release_background_task(uuid, uuid)',
    'public.rescue_background_tasks(interval, integer)',
    'public.refuse_task_write(uuid, uuid, uuid)',
    'public.checkpoint_task_step(uuid, uuid, uuid, jsonb, integer, jsonb, text, boolean)',
    'public.finish_task_step(uuid, uuid, uuid, text, jsonb, jsonb, text, text, integer, text, integer, jsonb, jsonb, uuid, jsonb)',
    'public.mark_process_waiting_for_input(uuid, text, integer, jsonb, boolean)',
    'public.resolve_user_input(uuid, jsonb, public.generation_status)'
  ]::regprocedure[] loop
    execute format('revoke execute on function %s from public, anon, authenticated', signature);
    execute format('grant execute on function %s to service_role', signature);
  end loop;
end
$$;
-- Appending without the existence check, and with any source name, is for the functions above.
revoke execute on function public.append_process_event(uuid, text, jsonb, text, text),
  public.append_process_events(uuid, jsonb, text) from service_role;

-- 7. The state table, last and quickly ---------------------------------------------------------

-- A foreign key stops writers of the state table until the end of the file.
alter table public.process_events
  add foreign key (process_id) references public.generated_articles_state (id) on delete cascade;
alter table public.process_event_counters
  add foreign key (process_id) references public.generated_articles_state (id) on delete cascade;
alter table public.background_tasks
  add foreign key (process_id) references public.generated_articles_state (id) on delete cascade;

alter table public.generated_articles_state
  add column realtime_channel text,
  add column executing_step text,
  add column step_execution_start timestamptz,
  add column background_task_id uuid,
  add column task_priority integer not null default 5,
  add column user_input_timeout timestamptz,
  add column input_reminder_sent boolean not null default false,
  add column interaction_history jsonb not null default '[]'::jsonb,
  add column step_durations jsonb not null default '{}'::jsonb,
  add column total_processing_time interval,
  add column start_idempotency_key text,
  add column start_request_digest text,
  -- Not valid, so that no row is read while everybody waits. The next file validates these two without a stop.
  add constraint generated_articles_state_background_task_id_fkey foreign key (background_task_id)
    references public.background_tasks (id) on delete set null not valid,
  add constraint generated_articles_state_task_priority_check check (task_priority between 0 and 10) not valid,
  -- Checked for new writes only: what an old row holds is not this migration's business.
  add constraint generated_articles_state_progress check (progress_percentage between 0 and 100) not valid;

create trigger trigger_set_realtime_channel before insert on public.generated_articles_state
  for each row execute function public.set_realtime_channel();
create trigger trigger_publish_process_event after insert or update on public.generated_articles_state
  for each row execute function public.publish_process_event();

-- Added, never recreated: recreating the publication would interrupt every subscriber.
alter publication supabase_realtime add table
  public.generated_articles_state, public.process_events, public.background_tasks;
