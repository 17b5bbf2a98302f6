"""Statements of the rehearsal: what the other application writes, and what became of processes, events and tasks."""

from __future__ import annotations

# The other application's write: a row it owns, a value nobody else writes, and now and then a status.
OTHER_WRITE = """
update public.generated_articles_state
set process_metadata = jsonb_set(process_metadata, '{ticket}', to_jsonb($2::integer)),
    status = case when $2::integer % 5 = 0 then 'auto_progressing'::public.generation_status
                  else 'in_progress'::public.generation_status end
where id = $1
"""
OTHER_READ = """
select id, (process_metadata ->> 'ticket')::integer as ticket
from public.generated_articles_state where id = any ($1::uuid[])
"""

# What the rehearsal asks about processes that the traffic started.
PROCESSES = """
select s.id::text as id, s.status::text as status, s.error_message, a.id::text as article,
       coalesce(length(a.content), 0) as content
from public.generated_articles_state s
left join public.articles a on a.generation_process_id = s.id
where s.id = any ($1::uuid[])
"""
# Events of rows: how many, and whether their sequences are 1..n.
EVENTS_OF = """
select count(*) as events,
       count(distinct process_id) as processes,
       coalesce(bool_and(gapless), true) as gapless
from (
  select process_id, (max(event_sequence) = count(*) and min(event_sequence) = 1) as gapless
  from public.process_events where process_id = any ($1::uuid[]) group by process_id
) p join public.process_events using (process_id)
"""
EVENT_COUNTS = """
select process_id::text as process_id, count(*) as events
from public.process_events where process_id = any ($1::uuid[]) group by 1
"""
# Tasks by how they and their processes stand, but for those of some processes.
TASKS = """
select t.status, s.status::text as process_status, count(*) as tasks,
       sum(t.retry_count)::integer as retries, sum(t.rescue_count)::integer as rescues,
       max(t.error_message) as error
from public.background_tasks t join public.generated_articles_state s on s.id = t.process_id
where not (t.process_id = any ($1::uuid[]))
group by 1, 2 order by 1, 2
"""
# Who else is connected, by program.
OTHER_SESSIONS = """
select application_name, count(*) as sessions from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type in ('client backend', 'walsender')
group by 1 order by 1
"""

# What the legacy verify file's check LEG-6 gives as its remedy.
PROGRESS_IN_RANGE = """
update public.generated_articles_state set progress_percentage = greatest(0, least(100, progress_percentage))
where progress_percentage not between 0 and 100
"""
TASKS_OF = "select count(*) from public.background_tasks where process_id = any ($1::uuid[])"
