"""Statements on the migration history: the Supabase CLI's table, and the toolkit's own ledger beside it.

Both live in schema `supabase_migrations`: the CLI's `repair` leaves our tables alone, its `db reset` clears them
with the rest, and its diffs do not look there.
"""

from __future__ import annotations

from toolkit.sql.platform import spelt_out
from toolkit.sql.session import SET_UP

SCHEMA = "supabase_migrations"

# As the CLI creates it: a key first, the other columns added if missing.
CREATE_HISTORY = (
    "create schema if not exists supabase_migrations",
    "create table if not exists supabase_migrations.schema_migrations (version text not null primary key)",
    "alter table supabase_migrations.schema_migrations add column if not exists statements text[]",
    "alter table supabase_migrations.schema_migrations add column if not exists name text",
)

CREATE_LEDGER = (
    """
    create table if not exists supabase_migrations.toolkit_events (
      id bigint generated always as identity primary key,
      event text not null check (event in ('applied', 'rolled_back', 'failed')),
      version text not null,
      name text not null,
      sha256 text not null,
      statements integer not null,
      duration_ms integer not null,
      runner text not null,
      tool_version text not null,
      run_id uuid not null,
      detail text,
      at timestamptz not null default clock_timestamp()
    )
    """,
    "comment on table supabase_migrations.toolkit_events is 'What the migration runner did; rows are only added.'",
    """
    create table if not exists supabase_migrations.toolkit_journal (
      version text not null,
      direction text not null check (direction in ('up', 'down')),
      statement_index integer not null,
      sha256 text not null,
      state text not null check (state in ('started', 'done')),
      at timestamptz not null default clock_timestamp(),
      primary key (version, direction, statement_index)
    )
    """,
    "comment on table supabase_migrations.toolkit_journal is "
    "'Statements that already ran of a file that runs outside a transaction; emptied when the file is through.'",
)

COLUMNS = """
    select c.relname::text as relation, a.attname::text as name
    from pg_catalog.pg_class c
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = to_regnamespace('supabase_migrations')
      and c.relname in ('schema_migrations', 'toolkit_events', 'toolkit_journal')
"""

HISTORY_VERSION_ONLY = """
    select version, null::text[] as statements, null::text as name
    from supabase_migrations.schema_migrations order by version collate "C"
"""
HISTORY = """
    select version, statements, name from supabase_migrations.schema_migrations order by version collate "C"
"""
# The last thing that happened to each version, failures apart.
LAST_EVENTS = """
    select distinct on (version) version, event, name, sha256, duration_ms, runner, tool_version, run_id, at
    from supabase_migrations.toolkit_events where event <> 'failed' order by version, id desc
"""
JOURNAL = """
    select version, direction, statement_index, sha256, state
    from supabase_migrations.toolkit_journal order by version, direction, statement_index
"""

INSERT_HISTORY = """
    insert into supabase_migrations.schema_migrations (version, statements, name) values ($1, $2, $3)
"""
INSERT_HISTORY_WITH_ROLLBACK = """
    insert into supabase_migrations.schema_migrations (version, statements, name, rollback) values ($1, $2, $3, $4)
"""
DELETE_HISTORY = "delete from supabase_migrations.schema_migrations where version = $1 returning version"
IS_APPLIED = "select exists (select from supabase_migrations.schema_migrations where version = $1)"

INSERT_EVENT = """
    insert into supabase_migrations.toolkit_events
      (event, version, name, sha256, statements, duration_ms, runner, tool_version, run_id, detail)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
EVENT_OF_RUN = """
    select exists (
      select from supabase_migrations.toolkit_events where run_id = $1 and version = $2 and event = $3
    )
"""

JOURNAL_STATEMENT = """
    insert into supabase_migrations.toolkit_journal (version, direction, statement_index, sha256, state)
    values ($1, $2, $3, $4, $5)
    on conflict (version, direction, statement_index)
    do update set sha256 = excluded.sha256, state = excluded.state, at = clock_timestamp()
"""
CLEAR_JOURNAL = "delete from supabase_migrations.toolkit_journal where version = $1 and direction = $2"

# The process id of the session that has taken it, NULL when another one holds it.
TRY_LOCK = "select case when pg_catalog.pg_try_advisory_lock($1::bigint) then pg_catalog.pg_backend_pid() end"
UNLOCK = "select pg_catalog.pg_advisory_unlock($1::bigint)"
_IS_RUNNERS = """
    l.locktype = 'advisory' and l.granted and l.objsubid = 1
    and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
    and (l.classid::bigint << 32) | l.objid::bigint = $1::bigint
"""
HOLDS_LOCK = """
    select exists (select from pg_catalog.pg_locks l where l.pid = pg_catalog.pg_backend_pid() and :is_runners_lock)
""".replace(":is_runners_lock", _IS_RUNNERS)
# A session that a pooler keeps, idle: nobody would ever free the lock there.
END_IDLE_HOLDER = """
    select a.pid, pg_catalog.pg_terminate_backend(a.pid, 5000)
    from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a on a.pid = l.pid
    where a.pid = $2 and a.state = 'idle' and :is_runners_lock
""".replace(":is_runners_lock", _IS_RUNNERS)
LOCK_HOLDER = """
    select a.pid, a.usename::text as usename, a.application_name, a.client_addr::text as client_addr, a.backend_start
    from pg_catalog.pg_locks l
    left join pg_catalog.pg_stat_activity a on a.pid = l.pid
    where :is_runners_lock
    limit 1
""".replace(":is_runners_lock", _IS_RUNNERS)
BLOCKERS = """
    select a.pid, a.usename::text as usename, a.application_name, a.state, left(a.query, 120) as query,
           extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds
    from pg_catalog.pg_locks l
    join pg_catalog.pg_stat_activity a on a.pid = l.pid
    where l.relation is not null and l.granted and a.pid <> pg_backend_pid()
      and a.datname = current_database() and a.backend_type = 'client backend' and a.xact_start is not null
    group by a.pid, a.usename, a.application_name, a.state, a.query, a.xact_start
    order by a.xact_start limit 3
"""

INVALID_INDEXES = spelt_out("""
    select n.nspname::text as schema, c.relname::text as name, i.indrelid::regclass::text as on_table
    from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indexrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where not i.indisvalid and c.relkind = 'i' and :user_schema(n.nspname)
      -- A running CREATE INDEX CONCURRENTLY is invalid until it ends: it is no wreck.
      and not exists (select from pg_catalog.pg_stat_progress_create_index p where p.index_relid = i.indexrelid)
    order by 1, 2
""")

# Tables and their columns, to see what a rollback takes away.
USER_COLUMNS = spelt_out("""
    select n.nspname::text || '.' || c.relname::text as table_name, c.oid,
           coalesce(array_agg(a.attname::text order by a.attnum) filter (where a.attname is not null), '{}') as columns,
           coalesce(array_agg(format_type(a.atttypid, a.atttypmod) order by a.attnum)
             filter (where a.attname is not null), '{}') as types,
           case when c.relispartition then (
             select rn.nspname::text || '.' || r.relname::text from pg_catalog.pg_class r
             join pg_catalog.pg_namespace rn on rn.oid = r.relnamespace
             where r.oid = pg_catalog.pg_partition_root(c.oid)) end as root
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relkind in ('r', 'p') and :user_schema(n.nspname)
    group by 1, 2 order by 1
""")
# What the session did to the rows of each table, by triggers and cascades too: updates and deletes are counted,
# TRUNCATE and a change of type that rewrites the rows give the table another file. A partition's rows are its root's.
ROW_WRITES = spelt_out("""
    select c.oid, coalesce(r.nspname::text || '.' || r.relname::text, n.nspname::text || '.' || c.relname::text)
             as table_name,
           c.relfilenode as file,
           coalesce(pg_catalog.pg_stat_get_xact_tuples_updated(c.oid), 0)
             + coalesce(pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid), 0) as writes
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join lateral (
      select root.relname, rn.nspname from pg_catalog.pg_class root
      join pg_catalog.pg_namespace rn on rn.oid = root.relnamespace
      where c.relispartition and root.oid = pg_catalog.pg_partition_root(c.oid)
    ) r on true
    where c.relkind = 'r' and :user_schema(n.nspname)
""")
COUNTS_WRITES = "select current_setting('track_counts')::boolean"
PRIMARY_KEY = """
    select a.attname::text as name
    from pg_catalog.pg_index i
    cross join lateral unnest(i.indkey::int2[]) with ordinality k(attnum, position)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indisprimary and i.indrelid = $1::regclass
    order by k.position
"""
ROW_COUNT = "select count(*) from {table}"
LOCK_TABLE = "lock table {table} in access exclusive mode"
SELECT_COLUMNS = "select {columns} from {table}"

# An index by its table and bare name: the name in CREATE INDEX has no schema, it lives in the table's.
INDEX_STATE = """
    select i.indexrelid::regclass::text as name, i.indisvalid and i.indisready as valid,
           (select p.pid from pg_catalog.pg_stat_progress_create_index p where p.index_relid = i.indexrelid limit 1)
             as builder
    from pg_catalog.pg_class t
    join pg_catalog.pg_index i on i.indrelid = t.oid
    join pg_catalog.pg_class c on c.oid = i.indexrelid
    where t.oid = to_regclass($1) and c.relname = $2
"""

DROP_INDEX_CONCURRENTLY = "drop index concurrently if exists {name}"

# What the transaction at hand wrote into the catalog, so that it can be looked for after the commit. Rows written in
# a subtransaction carry another number and are not among them; temporary objects may go with the commit.
MADE = spelt_out("""
    with mine as (select pg_current_xact_id()::xid as id),
    room as (
      select oid from pg_catalog.pg_namespace
      where :user_schema(nspname)
    )
    select 'pg_class' as catalog, c.oid as id, 0 as sub,
           case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
             when 'i' then 'index' when 'I' then 'index' when 'c' then 'type' else 'table' end
             || ' ' || c.oid::regclass::text as name
    from pg_catalog.pg_class c where c.xmin = (select id from mine) and c.relnamespace in (select oid from room)
    union all
    select 'pg_attribute', a.attrelid, a.attnum, 'column ' || a.attrelid::regclass::text || '.' || a.attname
    from pg_catalog.pg_class c
    -- Adding a column counts the table's columns anew: its row is ours too, and not all of pg_attribute is read while
    -- the file's locks are held.
    cross join lateral (
      select attrelid, attnum, attname from pg_catalog.pg_attribute
      where attrelid = c.oid and xmin = (select id from mine) and attnum > 0 and not attisdropped
    ) a
    where c.xmin = (select id from mine) and c.relkind in ('r', 'p', 'f') and c.relnamespace in (select oid from room)
    union all
    select 'pg_proc', p.oid, 0, 'function ' || p.oid::regprocedure::text
    from pg_catalog.pg_proc p where p.xmin = (select id from mine) and p.pronamespace in (select oid from room)
    union all
    select 'pg_type', t.oid, 0, 'type ' || t.oid::regtype::text
    from pg_catalog.pg_type t
    where t.xmin = (select id from mine) and t.typtype in ('e', 'd') and t.typnamespace in (select oid from room)
    union all
    select 'pg_policy', y.oid, 0, 'policy ' || y.polname || ' on ' || y.polrelid::regclass::text
    from pg_catalog.pg_policy y where y.xmin = (select id from mine)
    union all
    select 'pg_trigger', g.oid, 0, 'trigger ' || g.tgname || ' on ' || g.tgrelid::regclass::text
    from pg_catalog.pg_trigger g join pg_catalog.pg_class c on c.oid = g.tgrelid
    where g.xmin = (select id from mine) and not g.tgisinternal and c.relnamespace in (select oid from room)
    union all
    select 'pg_constraint', k.oid, 0, 'constraint ' || k.conname || ' on ' || k.conrelid::regclass::text
    from pg_catalog.pg_constraint k
    where k.xmin = (select id from mine) and k.conrelid <> 0 and k.connamespace in (select oid from room)
""")
GONE = """
    select m.name
    from unnest($1::text[], $2::oid[], $3::int[], $4::text[]) with ordinality as m (catalog, id, sub, name, position)
    where not case m.catalog
      when 'pg_class' then exists (select from pg_catalog.pg_class where oid = m.id)
      when 'pg_attribute' then exists (
        select from pg_catalog.pg_attribute where attrelid = m.id and attnum = m.sub and not attisdropped)
      when 'pg_proc' then exists (select from pg_catalog.pg_proc where oid = m.id)
      when 'pg_type' then exists (select from pg_catalog.pg_type where oid = m.id)
      when 'pg_policy' then exists (select from pg_catalog.pg_policy where oid = m.id)
      when 'pg_trigger' then exists (select from pg_catalog.pg_trigger where oid = m.id)
      when 'pg_constraint' then exists (select from pg_catalog.pg_constraint where oid = m.id)
    end
    order by m.position
"""

# The session a file runs in.
# The role's own statement_timeout (two minutes on Supabase) is meant for requests; the runner has its own deadline.
BOUND_WAITING = "select set_config('lock_timeout', $1, true), set_config('statement_timeout', '0', true)"
UNBOUNDED = "set lock_timeout = 0; set statement_timeout = 0"
TRANSACTION_ID = "select pg_current_xact_id()::text"
RESET_ROLE = "reset role"
RESET_AUTHORIZATION = "reset session authorization"
RESET_SETTINGS = f"reset all; {SET_UP}"
NO_PARTIAL_ROWS = "set local row_security = off"
PREPARE_QUIETLY = "set local lock_timeout = '4s'; set local client_min_messages = warning"
BOUND_A_CHECK = "set local lock_timeout = '2s'; set local statement_timeout = '30s'"
IS_ABSENT = "select to_regclass($1) is null"
# Waits (ms) until it is gone, so that whoever looks next finds its locks free.
END_BACKEND = "select pg_catalog.pg_terminate_backend($1, 5000)"

# On servers of ours migrations run as no superuser, who may do this all the same, as on a hosted project.
LETS_THROUGH = """
    select coalesce(has_function_privilege(to_regprocedure('pgbouncer.toolkit_as_superuser(text)'), 'execute'), false)
      and not (select rolsuper from pg_catalog.pg_roles where rolname = current_user)
"""
LET_THROUGH = "select pgbouncer.toolkit_as_superuser($1)"
