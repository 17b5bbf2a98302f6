-- check: IDX-1 The indexes on the state table exist and are valid
-- remedy: drop the invalid index concurrently, then toolkit migrate up resumes the file.
select w.name as index_name, i.indisvalid as valid
from unnest(array['idx_generated_articles_state_start_key', 'idx_generated_articles_state_input_timeout',
  'idx_active_processes', 'idx_generated_articles_state_background_task']) as w (name)
left join pg_index i on i.indexrelid = to_regclass('public.' || w.name)
where i.indexrelid is null or not i.indisvalid;

-- check: IDX-2 The index on start keys is unique for each user
-- remedy: create it again from the migration file; without it a repeated start makes two processes.
select 'not unique' as problem from pg_index
where indexrelid = 'public.idx_generated_articles_state_start_key'::regclass and not indisunique;

-- check: IDX-3 The constraints on the new columns of the state table hold for every row
-- remedy: alter table public.generated_articles_state validate constraint, for each that is named.
select w.name as constraint_name, c.convalidated as valid
from unnest(array['generated_articles_state_task_priority_check', 'generated_articles_state_background_task_id_fkey'])
  as w (name)
left join pg_constraint c on c.conname = w.name and c.conrelid = 'public.generated_articles_state'::regclass
where c.oid is null or not c.convalidated;

-- check: IDX-4 The indexes cover the columns and the rows that the queries ask for
-- remedy: create the index again from the migration file.
select w.name as index_name, w.columns as expected, i.indexdef as found
from (values
  ('idx_generated_articles_state_start_key', '(user_id, start_idempotency_key) WHERE (start_idempotency_key IS NOT NULL)'),
  ('idx_generated_articles_state_input_timeout', '(user_input_timeout) WHERE is_waiting_for_input'),
  ('idx_generated_articles_state_background_task', '(background_task_id) WHERE (background_task_id IS NOT NULL)'),
  ('idx_active_processes', '(last_activity_at) WHERE (status = ANY (ARRAY[in_progress, user_input_required, paused, resuming, auto_progressing]))')
  ) as w (name, columns)
left join pg_indexes i on i.schemaname = 'public' and i.indexname = w.name
where i.indexdef is null
  or regexp_replace(regexp_replace(i.indexdef, '''([a-z_]+)''::[a-z_.]*generation_status', '\1', 'g'), '^.* USING btree ', '')
    <> w.columns;
