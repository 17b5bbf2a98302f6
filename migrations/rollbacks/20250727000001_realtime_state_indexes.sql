-- toolkit: transaction=false

drop index concurrently if exists public.idx_generated_articles_state_background_task;
drop index concurrently if exists public.idx_active_processes;
drop index concurrently if exists public.idx_generated_articles_state_input_timeout;
drop index concurrently if exists public.idx_generated_articles_state_start_key;
