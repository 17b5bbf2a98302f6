"""Statements of the rehearsal: what every row holds, and what the other application writes."""

from __future__ import annotations

from collections.abc import Sequence

# Ordinary tables of schema public (names ready for SQL) with their columns in order and those of their primary key.
TABLES = """
select format('%I.%I', 'public', c.relname) as name,
       array_agg(a.attname::text order by a.attnum) as columns,
       (select array_agg(k.attname::text order by array_position(i.indkey::int2[], k.attnum))
        from pg_index i join pg_attribute k on k.attrelid = i.indrelid and k.attnum = any (i.indkey)
        where i.indrelid = c.oid and i.indisprimary) as key
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
group by c.oid
order by 1
"""


def row_hashes(table: str, columns: Sequence[str], key: Sequence[str]) -> str:
    """Each row of `table` as (key text[], hashes text[]): one hash a column, null for null."""
    keys = ", ".join(f"{_quoted(name)}::text" for name in key)
    hashes = ", ".join(f"md5({_quoted(name)}::text)" for name in columns)
    return f"select array[{keys}] as key, array[{hashes}] as hashes from {table}"  # noqa: S608 - names are quoted


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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
