"""What a dry run reads from inside its transaction: locks, files of tables, positions of sequences."""

from __future__ import annotations

from toolkit.sql.platform import spelt_out

# Of a table that the transaction dropped only the number is left; its name was read before.
HELD = spelt_out("""
    select distinct l.relation as id, l.mode, n.nspname::text || '.' || c.relname::text as name
    from pg_catalog.pg_locks l
    left join pg_catalog.pg_class c on c.oid = l.relation
    left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted
      and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
      and (c.oid is null or :user_schema(n.nspname))
""")
HELD_BY = HELD.replace("l.pid = pg_catalog.pg_backend_pid()", "l.pid = $1")
RELATIONS = spelt_out("""
    select c.oid as id, n.nspname::text || '.' || c.relname::text as name, c.relkind::text as kind,
           c.relfilenode as file
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where :user_schema(n.nspname)
""")
SEQUENCES = spelt_out("""
    select schemaname || '.' || sequencename as name, last_value from pg_catalog.pg_sequences
    where :user_schema(schemaname) order by 1
""")
# Whoever runs it may be cut off from the server: then the server itself ends the transaction and frees its locks.
BOUND_BY_SERVER = """
    select pg_catalog.set_config('idle_in_transaction_session_timeout', $1, true),
           pg_catalog.set_config('statement_timeout', $1, true)
"""
FIRE_DEFERRED = "set constraints all immediate"
DEFERRED_NAMES = """
    select pg_catalog.format('%I.%I', n.nspname, k.conname) as name
    from pg_catalog.pg_constraint k join pg_catalog.pg_namespace n on n.oid = k.connamespace
    group by 1 having bool_and(k.condeferred)
"""
DEFER_AGAIN = "set constraints {names} deferred"
OTHER_SESSIONS = """
    select count(*) from pg_catalog.pg_stat_activity
    where datname = pg_catalog.current_database() and pid <> pg_catalog.pg_backend_pid()
"""
DATABASE = "select pg_catalog.current_database()"
