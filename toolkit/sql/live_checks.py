"""What `toolkit migrate verify` asks a live database: the catalog, and reads of two blocks of a table at most."""

from __future__ import annotations

from toolkit.sql.catalog_terms import IDENTITY_TROUBLE, TRIGGER_SILENCE
from toolkit.sql.platform import spelt_out

# Nothing is written, no lock is waited for, no statement runs long.
BOUND = "set local lock_timeout = '2s'; set local statement_timeout = '20s'"

# Each lists what is wrong, a `line` a row.
NOT_VALID = spelt_out("""
    select k.conrelid::regclass::text || ': ' || k.conname || ' ' || pg_get_constraintdef(k.oid) as line,
           k.conname::text as name
    from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
    where not k.convalidated and k.conparentid = 0 and :project_schema(n.nspname) order by 1
""")
DISABLED_TRIGGERS = spelt_out(f"""
    select t.tgrelid::regclass::text || ': ' || t.tgname || ' is ' || {TRIGGER_SILENCE} as line
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
    where {TRIGGER_SILENCE} <> '' and t.tgparentid = 0 and :project_schema(n.nspname) order by 1
""")  # noqa: S608
# A partitioned table's changes are its partitions', whose identity counts.
UNIDENTIFIED = f"""
    select distinct c.oid::regclass::text || ' (' || p.pubname || '): ' || {IDENTITY_TROUBLE} as line
    from pg_publication p join pg_publication_tables t on t.pubname = p.pubname
    join pg_namespace n on n.nspname = t.schemaname
    join pg_class r on r.relnamespace = n.oid and r.relname = t.tablename
    join lateral (select r.oid where r.relkind <> 'p'
                  union select x.relid from pg_partition_tree(r.oid) x where x.isleaf) leaf on true
    join pg_class c on c.oid = leaf.oid
    where (p.pubupdate or p.pubdelete) and {IDENTITY_TROUBLE} <> '' order by 1
"""  # noqa: S608
MEMBERS = "select pubname::text as publication, schemaname || '.' || tablename as table from pg_publication_tables"
# A sequence ends where it ends itself, or where the column that takes its values does.
SEQUENCES = spelt_out("""
    select s.seqrelid::regclass::text as name, q.last_value as last_value, s.seqincrement > 0 as grows,
           least(s.seqmax, case a.atttypid when 'int2'::regtype then 32767 when 'int4'::regtype then 2147483647
                           else 9223372036854775807 end) as ends,
           d.refobjid::regclass::text as table, quote_ident(a.attname) as column,
           coalesce((select true from pg_index i where i.indrelid = d.refobjid and i.indisvalid and i.indpred is null
                     and i.indkey[0] = a.attnum limit 1), false) as indexed,
           s.seqcycle as cycles
    from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
    join pg_sequences q on q.schemaname = n.nspname and q.sequencename = c.relname
    left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = s.seqrelid and d.deptype in ('a', 'i')
      and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
    left join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where :project_schema(n.nspname) order by 1
""")
# With an index on the column this reads one entry. Row level security that would hide rows makes it fail instead.
HIGHEST = "select max({column})::bigint from {table}"
ALL_ROWS = "set local row_security = off"
# Functions of the project that triggers of Supabase Auth's tables fire, without a search_path of their own.
AUTH_TRIGGERS = """
    select distinct p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as text
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
    join pg_proc p on p.oid = t.tgfoid join pg_language l on l.oid = p.prolang
    where n.nspname = 'auth' and not t.tgisinternal and t.tgenabled <> 'D' and l.lanname = 'plpgsql'
      and not exists (select from unnest(p.proconfig) s where s like 'search_path=%') order by 1
"""
DEFINITIONS = """
    select p.oid, pg_get_functiondef(p.oid) as text from pg_proc p join pg_language l on l.oid = p.prolang
    where p.oid = any ($1::oid[]) and p.prokind in ('f', 'p') and l.lanname in ('sql', 'plpgsql')
"""
# Two blocks: enough for a policy to be evaluated, whatever the size of the table.
FIRST_ROWS = "select array_agg('1'::text) from (select from {table} where ctid < '(2,0)'::tid limit 5) few"
CHECK_ROLES = """
    select rolname::text as name, pg_has_role(current_user, oid, 'MEMBER') as may from pg_roles where rolname = any ($1)
"""
