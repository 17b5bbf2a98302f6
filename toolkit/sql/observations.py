"""What a run reads of its processes: the event log, the state row, the article, the tasks."""

from __future__ import annotations

EVENTS = """
select id::text as id, event_sequence, event_type, event_data::text as event_data, event_category, created_at
from public.process_events
where process_id = $1::uuid and event_sequence > $2
order by event_sequence
"""

LAST_SEQUENCE = "select last_sequence from public.process_event_counters where process_id = $1::uuid"

STATE = "select to_jsonb(s) - 'article_context' from public.generated_articles_state s where id = $1::uuid"

ARTICLES = "select to_jsonb(a) from public.articles a where generation_process_id = $1::uuid"

TASKS = """
select jsonb_build_object('id', id, 'task_type', task_type, 'status', status, 'retry_count', retry_count,
                          'rescue_count', rescue_count)
from public.background_tasks where process_id = $1::uuid order by created_at
"""

PROCESSES_OF = "select id::text from public.generated_articles_state where user_id = $1"

# The old schema has neither events nor tasks.
HAS_EVENTS = "select to_regclass('public.process_events') is not null"
