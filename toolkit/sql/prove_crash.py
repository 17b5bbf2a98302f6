"""What a crash may have left: rows, positions of sequences, history and ledger, read cheaply."""

from __future__ import annotations

from toolkit.sql.platform import spelt_out

TERMINATE = "select pg_catalog.pg_terminate_backend($1)"
# Polled by us: the server's own waiting looks every 100 ms. A session's work is undone before it leaves this list.
IS_THERE = "select exists (select from pg_catalog.pg_stat_activity where pid = $1)"
# A snapshot that an index build waits for: it cannot end while this transaction is open.
HOLD_A_SNAPSHOT = ("begin isolation level repeatable read", "select 1")
WAITS_FOR_SNAPSHOT = """
    select exists (
      select from pg_catalog.pg_stat_activity
      where pid = $1 and wait_event_type = 'Lock' and wait_event = 'virtualxid'
    )
"""

POSITION = "select {number} as number, last_value as last, is_called as called from {sequence}"
ALL_OF = " union all "
SEQUENCES = spelt_out("""
    select n.nspname::text || '.' || c.relname::text as name, format('%I.%I', n.nspname, c.relname) as quoted,
      s.seqincrement as increment
    from pg_catalog.pg_sequence s
    join pg_catalog.pg_class c on c.oid = s.seqrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where :project_schema(n.nspname)
    order by 1
""")
ADVANCE = "select nextval($1::regclass)"

HAS_LEDGER = "select to_regclass('supabase_migrations.toolkit_events') is not null"
HAS_HISTORY = "select to_regclass('supabase_migrations.schema_migrations') is not null"
HISTORY = """
    select 'history row ' || version as part, md5(h::text) as value from supabase_migrations.schema_migrations h
"""
LEDGER = """
    select 'journal entry ' || version || ' ' || direction || ' ' || statement_index as part, state as value
    from supabase_migrations.toolkit_journal
    union all
    select 'ledger event ' || event || ' of ' || version, count(*) || ' times'
    from supabase_migrations.toolkit_events where event <> 'failed' group by version, event
"""
LEDGER_LENGTH = "select count(*) from supabase_migrations.toolkit_events"
