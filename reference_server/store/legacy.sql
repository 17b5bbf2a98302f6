-- What the legacy transport reads and writes: legacy columns only, so that every statement works before
-- the migration, while it runs, and after it. A run marks its row with `process_metadata.runner`, and
-- each of its writes is guarded by that mark: who takes a row over fences the run before it.

-- name: insert
insert into public.generated_articles_state (
  flow_id, user_id, organization_id, status, article_context, current_step_name, image_mode, image_settings,
  style_template_id, process_metadata)
select (select f.id from public.article_generation_flows f where f.is_template order by f.created_at, f.id limit 1),
       $1, $2, $3::text::public.generation_status, $4, 'start', $5, $6, $7,
       jsonb_build_object('transport', 'websocket',
                          'runner', jsonb_build_object('id', $8::text, 'seen_at', clock_timestamp()))
returning id;

-- name: take_over
-- A newer socket: from here on the writes of an older run find nothing.
update public.generated_articles_state
set process_metadata = case jsonb_typeof(process_metadata) when 'object' then process_metadata else '{}' end
      || jsonb_build_object('transport', 'websocket',
      'runner', jsonb_build_object('id', $2::text, 'seen_at', clock_timestamp()))
where id = $1 and coalesce(process_metadata ->> 'transport', 'websocket') = 'websocket'
  and status not in ('completed', 'cancelled')
returning status::text as status, current_step_name, resume_from_step, progress_percentage, article_context;

-- name: alive
update public.generated_articles_state
set process_metadata = jsonb_set(process_metadata, '{runner,seen_at}', to_jsonb(clock_timestamp()))
where id = $1 and process_metadata -> 'runner' ->> 'id' = $2
returning id;

-- name: save
-- $10: the step that this write finishes, null when it finishes none. $11: the run ends with this write.
update public.generated_articles_state
set status = $3::text::public.generation_status, current_step_name = $4, progress_percentage = $5,
    is_waiting_for_input = ($6::text is not null), input_type = $6, article_context = coalesce($7, article_context),
    error_message = left($8, 4000), resume_from_step = $9, auto_resume_eligible = ($3::text = 'error'),
    step_history = case when $10::text is null then step_history else step_history || jsonb_build_array(
      jsonb_build_object('step_name', $10::text, 'status', 'completed', 'timestamp', clock_timestamp(),
                         'data', '{}'::jsonb)) end,
    process_metadata = case when $11 then process_metadata - 'runner'
      else jsonb_set(process_metadata, '{runner,seen_at}', to_jsonb(clock_timestamp())) end
where id = $1 and process_metadata -> 'runner' ->> 'id' = $2
returning id;

-- name: complete
update public.generated_articles_state
set status = 'completed', current_step_name = 'completed', progress_percentage = 100, article_context = $3,
    article_id = $4, generated_content = $5, is_waiting_for_input = false, input_type = null, error_message = null,
    resume_from_step = null, process_metadata = process_metadata - 'runner'
where id = $1 and process_metadata -> 'runner' ->> 'id' = $2
returning id;

-- name: held
-- Holds the row for the transaction that saves the article, if it is still the run's.
select id from public.generated_articles_state
where id = $1 and process_metadata -> 'runner' ->> 'id' = $2
for no key update;

-- name: article_of
select article_id from public.generated_articles_state where id = $1 and status = 'completed';

-- name: adopt
-- Gives a process whose socket is gone to the workers: paused where it stood, ready to be resumed.
update public.generated_articles_state
set process_metadata = case jsonb_typeof(process_metadata) when 'object' then process_metadata - 'runner' else '{}' end
      || '{"transport": "realtime"}',
    resume_from_step = case when status in ('paused', 'error') then resume_from_step else current_step_name end,
    status = case when status = 'error' then status else 'paused' end
where id = $1 and status not in ('completed', 'cancelled')
  and coalesce(process_metadata ->> 'transport', 'websocket') = 'websocket'
  and (not process_metadata ? 'runner'
       or (process_metadata -> 'runner' ->> 'seen_at')::timestamptz < clock_timestamp() - $2::interval)
returning id;
