"""What the locks proof asks: locks from inside and from outside, work on tables, who waits for whom; its traffic."""

from __future__ import annotations

from toolkit.sql.platform import spelt_out

# Relation locks that a backend holds or waits for. An index counts for its table. From another session the name of
# what is not committed yet cannot be seen, and nobody can wait for it either.
LOCKS_OF = spelt_out("""
    select distinct l.mode, l.granted, c.oid::bigint as oid, n.nspname || '.' || c.relname as relation,
           coalesce(i.indrelid, c.oid)::bigint as table_oid,
           tn.nspname || '.' || t.relname as on_table
    from pg_catalog.pg_locks l
    join pg_catalog.pg_class c on c.oid = l.relation
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_index i on i.indexrelid = c.oid
    join pg_catalog.pg_class t on t.oid = coalesce(i.indrelid, c.oid)
    join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
    where l.pid = $1 and l.locktype = 'relation' and :user_schema(n.nspname)
      and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
""")
WAITS_FOR_LOCK = "select wait_event_type is not distinct from 'Lock' from pg_catalog.pg_stat_activity where pid = $1"
# What tells work on a table: its file (rewritten, truncated, rebuilt), and how often this transaction began to read it.
RELATIONS = spelt_out("""
    select c.oid::bigint as oid, n.nspname || '.' || c.relname as relation, c.relkind::text as kind,
           coalesce(i.indrelid, c.oid)::bigint as table_oid,
           coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::bigint as file,
           coalesce(pg_catalog.pg_stat_get_xact_numscans(c.oid), 0)::bigint as scans
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_index i on i.indexrelid = c.oid
    where c.relkind in ('r', 'p', 'm', 'i', 'I') and :user_schema(n.nspname)
""")
VALID_FOREIGN_KEYS = """
    select oid::bigint as oid, conname as name, conrelid::bigint as table_oid
    from pg_catalog.pg_constraint where contype = 'f' and convalidated and conparentid = 0
"""
# Small tables are read in whole where large ones would be looked up: only what cannot be looked up is to be counted.
LOOK_UP = 'alter database "{name}" set enable_seqscan = off'
CURRENT_DATABASE = "select current_database()"
USER_TABLES = spelt_out("""
    select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as quoted
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and :project_table(n.nspname, c.oid) order by c.oid
""")
HOLD = "lock table {tables} in {mode} mode"

# Who waits for a lock, for which, since when, and for whom. `waitstart` is empty for the first moment of a wait.
WAITS = """
    select l.pid, l.locktype, l.mode, extract(epoch from coalesce(l.waitstart, clock_timestamp()))::float8 as since,
           extract(epoch from clock_timestamp())::float8 as seen,
           case when c.oid is null then '' else n.nspname || '.' || c.relname end as relation,
           pg_catalog.pg_blocking_pids(l.pid) as blockers
    from pg_catalog.pg_locks l
    join pg_catalog.pg_stat_activity a on a.pid = l.pid and a.datname = current_database()
    left join pg_catalog.pg_class c on c.oid = l.relation
    left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where not l.granted
"""
# The runner's own session; those of the proofs have longer names.
RUNNER = """
    select pid from pg_catalog.pg_stat_activity
    where datname = current_database() and application_name = 'toolkit migrate'
"""
CLOCK = "select extract(epoch from clock_timestamp())::float8"

# One old client's statements on one table; {values} are literals cast to the columns' types.
INSERT = "insert into {table} ({columns}){overriding} values ({values})"
OVERRIDING = " overriding system value"
SELECT = "select {columns} from {table} where {key}"
SELECT_SOME = "select {columns} from {table} limit 1"
UPDATE = "update {table} set {column} = {value} where {key}"
TOUCH = "update {table} set {column} = {column} where {key}"
ANY_ROW = "select {columns} from {table} limit 1"
AS_TEXT = "{column}::text"
DELETE = "delete from {table} where {key}"
CHECK_DEFERRED = "set constraints all immediate"
END = "rollback"
