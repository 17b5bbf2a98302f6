-- The state table, one row a process. Whoever locks a row does so before the process's counter and tasks.

-- name: lock
-- Holds the process still until the transaction ends; referencing rows may still be inserted.
select s.id, s.user_id, s.status::text as status, s.current_step_name, s.progress_percentage,
       s.is_waiting_for_input, s.input_type, s.resume_from_step, s.article_context
from public.generated_articles_state s
where s.id = $1
for no key update;

-- name: lock_briefly
-- As `lock`, without the context: for a worker that brings its own.
select s.status::text as status, s.progress_percentage,
       case when jsonb_typeof(s.article_context -> 'revision') = 'number'
         then least(greatest((s.article_context ->> 'revision')::numeric, 0), 2147483647)::integer else 0 end as revision
from public.generated_articles_state s
where s.id = $1
for no key update;

-- name: view
select s.id, s.status::text as status, s.current_step_name, s.executing_step,
       s.progress_percentage, s.is_waiting_for_input, s.input_type, s.user_input_timeout, s.image_mode,
       s.image_settings, s.error_message, s.article_id, s.realtime_channel, s.created_at, s.updated_at,
       s.generated_content, s.article_context, s.resume_from_step,
       coalesce(s.process_metadata ->> 'transport', 'websocket') as transport,
       coalesce(c.last_sequence, 0) as last_sequence
from public.generated_articles_state s
left join public.process_event_counters c on c.process_id = s.id
where s.id = $1;

-- name: list
-- Newest first, from where the cursor ($3, $4) points; $2 narrows to one status.
select s.id, s.status::text as status, s.current_step_name, s.progress_percentage, s.is_waiting_for_input,
       s.input_type, s.error_message, s.article_id, s.organization_id, s.created_at, s.updated_at,
       s.generated_content ->> 'title' as title,
       coalesce(s.article_context -> 'request' -> 'initial_keywords', s.article_context -> 'initial_keywords') as keywords
from public.generated_articles_state s
where s.user_id = $1
  and ($2::text is null or s.status = $2::text::public.generation_status)
  and ($3::timestamptz is null or (s.created_at, s.id) < ($3::timestamptz, $4::uuid))
order by s.created_at desc, s.id desc
limit $5;

-- name: start_key_lock
-- One start at a time for each (user, key); the unique index is the second line of defence.
select pg_advisory_xact_lock(hashtextextended('start:' || $1::text || ':' || $2::text, 0));

-- name: started_with_key
select s.id, s.start_request_digest as digest
from public.generated_articles_state s
where s.user_id = $1 and s.start_idempotency_key = $2;

-- name: may_use_template
select exists (
  select from public.style_guide_templates t
  where t.id = $1 and (t.user_id = $2 or exists (
    select from public.organization_members m where m.organization_id = t.organization_id and m.user_id = $2)));

-- name: insert
insert into public.generated_articles_state (
  flow_id, user_id, organization_id, status, article_context, current_step_name, image_mode, image_settings,
  style_template_id, process_metadata, start_idempotency_key, start_request_digest)
select (select f.id from public.article_generation_flows f where f.is_template order by f.created_at, f.id limit 1),
       $1, $2, $3::text::public.generation_status, $4, 'start', $5, $6, $7,
       jsonb_build_object('transport', 'realtime'), $8, $9
returning id;

-- name: begin_step
-- A worker has taken the step. From now on the process belongs to the tasks, whichever transport began it; a
-- legacy generation that still runs loses its mark, and with it the right to write.
update public.generated_articles_state
set status = $2::text::public.generation_status, current_step_name = $3, executing_step = $3,
    step_execution_start = clock_timestamp(), progress_percentage = $4, background_task_id = $5,
    task_priority = (select t.priority from public.background_tasks t where t.id = $5),
    is_waiting_for_input = false, input_type = null, error_message = null, resume_from_step = null,
    process_metadata = case jsonb_typeof(process_metadata) when 'object' then process_metadata - 'runner' else '{}' end
      || '{"transport": "realtime"}'
where id = $1;

-- name: enter_step
update public.generated_articles_state
set current_step_name = $2, progress_percentage = $3, article_context = $4,
    background_task_id = coalesce($5, background_task_id)
where id = $1;

-- name: stop_executing
-- The attempt is over, the step is not.
update public.generated_articles_state set executing_step = null, step_execution_start = null where id = $1;

-- name: complete
update public.generated_articles_state
set status = $2::text::public.generation_status, article_id = $3, generated_content = $4,
    executing_step = null, background_task_id = null,
    total_processing_time = make_interval(secs => (
      select coalesce(sum(case when jsonb_typeof(value) = 'number' then least(value::numeric, 1e9) end), 0)
      from jsonb_each(case jsonb_typeof(step_durations) when 'object' then step_durations else '{}' end)))
where id = $1;

-- name: fail
update public.generated_articles_state
set status = $2::text::public.generation_status, current_step_name = 'error', error_message = left($3, 4000),
    resume_from_step = $4, auto_resume_eligible = true, executing_step = null, step_execution_start = null,
    is_waiting_for_input = false, input_type = null, user_input_timeout = null, background_task_id = null
where id = $1;

-- name: pause
-- At a gate the prompt stays noted: resuming puts it again.
update public.generated_articles_state
set status = $2::text::public.generation_status, resume_from_step = current_step_name, executing_step = null,
    step_execution_start = null, user_input_timeout = null
where id = $1;

-- name: resume
update public.generated_articles_state
set status = $2::text::public.generation_status, current_step_name = $3, article_context = $4,
    progress_percentage = $5, error_message = null, resume_from_step = null, auto_resume_eligible = false,
    is_waiting_for_input = false, input_type = null, user_input_timeout = null,
    background_task_id = coalesce($6, background_task_id),
    process_metadata = case jsonb_typeof(process_metadata) when 'object' then process_metadata - 'runner' else '{}' end
      || '{"transport": "realtime"}'
where id = $1;

-- name: reopen
-- A paused gate on its way to being asked again; opening the prompt sets the rest.
update public.generated_articles_state
set current_step_name = $2, article_context = $3, error_message = null, resume_from_step = null,
    process_metadata = case jsonb_typeof(process_metadata) when 'object' then process_metadata - 'runner' else '{}' end
      || '{"transport": "realtime"}'
where id = $1;

-- name: cancel
update public.generated_articles_state
set status = $2::text::public.generation_status, is_waiting_for_input = false, input_type = null,
    user_input_timeout = null, executing_step = null, step_execution_start = null, background_task_id = null
where id = $1;

-- name: wait_for_input
select public.mark_process_waiting_for_input($1, $2, $3, $4, $5);

-- name: resolve_input
select public.resolve_user_input($1, $2, $3::text::public.generation_status);

-- name: note_answer_key
-- Beside the answer just stored, so that a repeated request can be recognised.
update public.generated_articles_state
set interaction_history = jsonb_set(interaction_history, '{-1}', interaction_history -> -1 || jsonb_build_object(
      'idempotency_key', $2::text, 'request_digest', $3::text, 'next_step', $4::text, 'regenerates', $5::boolean))
where id = $1;

-- name: answered_with_key
select entry ->> 'input_type' as input_type, entry ->> 'request_digest' as digest,
       entry ->> 'next_step' as next_step, (entry ->> 'regenerates')::boolean as regenerates
from public.generated_articles_state s,
     jsonb_array_elements(
       case jsonb_typeof(s.interaction_history) when 'array' then s.interaction_history else '[]' end) entry
where s.id = $1 and entry ->> 'idempotency_key' = $2
limit 1;

-- name: due_prompts
-- Open prompts whose time is over, and those past half of it that nobody was reminded of.
select s.id
from public.generated_articles_state s
where s.is_waiting_for_input and s.status = 'user_input_required'
  and (s.user_input_timeout <= clock_timestamp()
       or not s.input_reminder_sent and clock_timestamp() >= s.user_input_timeout - (
         select (s.user_input_timeout - e.created_at) / 2 from public.process_events e
         where e.process_id = s.id and e.event_type = 'user_input_required'
         order by e.event_sequence desc limit 1))
order by s.user_input_timeout
limit $1;

-- name: lock_prompt
select s.input_type, s.user_input_timeout, s.current_step_name, s.input_reminder_sent,
       s.user_input_timeout <= clock_timestamp() as expired
from public.generated_articles_state s
where s.id = $1 and s.status = 'user_input_required' and s.is_waiting_for_input
for no key update skip locked;

-- name: note_reminder
update public.generated_articles_state set input_reminder_sent = true where id = $1;
