-- toolkit: transaction=false

drop index concurrently if exists public.idx_generated_articles_state_background_task;
drop index concurrently if exists public.idx_active_processes;
drop index concurrently if exists public.idx_generated_articles_state_input_timeout;
drop index concurrently if exists public.idx_generated_articles_state_start_key;

-- A constraint cannot be made unvalidated; it is put back as the file before left it, in one statement each.
alter table public.generated_articles_state
  drop constraint generated_articles_state_background_task_id_fkey,
  add constraint generated_articles_state_background_task_id_fkey foreign key (background_task_id)
    references public.background_tasks (id) on delete set null not valid;
alter table public.generated_articles_state
  drop constraint generated_articles_state_task_priority_check,
  add constraint generated_articles_state_task_priority_check check (task_priority between 0 and 10) not valid;
