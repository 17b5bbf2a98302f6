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
