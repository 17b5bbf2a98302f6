-- toolkit: transaction=false
-- What reads the whole live state table: indexes and checks of constraints, none of which stops its writers.

alter table public.generated_articles_state validate constraint generated_articles_state_task_priority_check;
alter table public.generated_articles_state validate constraint generated_articles_state_background_task_id_fkey;

create unique index concurrently idx_generated_articles_state_start_key
  on public.generated_articles_state (user_id, start_idempotency_key) where start_idempotency_key is not null;

create index concurrently idx_generated_articles_state_input_timeout
  on public.generated_articles_state (user_input_timeout) where is_waiting_for_input;

create index concurrently idx_active_processes
  on public.generated_articles_state (last_activity_at)
  where status in ('in_progress', 'user_input_required', 'paused', 'resuming', 'auto_progressing');

create index concurrently idx_generated_articles_state_background_task
  on public.generated_articles_state (background_task_id) where background_task_id is not null;
