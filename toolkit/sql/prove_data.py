"""What the data proof asks beside the rows themselves: counters, new defaults, partitions; and its writes."""

from __future__ import annotations

from toolkit.sql.platform import spelt_out

# Counters that columns take their values from: serial, identity, or named in a default.
COUNTERS = spelt_out("""
    select n.nspname::text || '.' || c.relname::text as table_name, a.attname::text as column_name,
      format('%I.%I', sn.nspname, s.relname) as sequence, q.seqincrement as step,
      exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisunique
        and i.indkey[0] = a.attnum and i.indnkeyatts = 1) as is_unique
    from pg_catalog.pg_depend d
    join pg_catalog.pg_class s on s.oid = d.objid and s.relkind = 'S'
    join pg_catalog.pg_sequence q on q.seqrelid = s.oid
    join pg_catalog.pg_namespace sn on sn.oid = s.relnamespace
    join pg_catalog.pg_class c on c.oid = d.refobjid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = d.refobjsubid
    where d.classid = 'pg_catalog.pg_class'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
      and d.deptype in ('a', 'i') and d.refobjsubid > 0
      and :project_table(n.nspname, c.oid)
      and not c.relispartition
    union
    select n.nspname::text || '.' || c.relname::text, a.attname::text, format('%I.%I', sn.nspname, s.relname),
      q.seqincrement, exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisunique
        and i.indkey[0] = a.attnum and i.indnkeyatts = 1)
    from pg_catalog.pg_depend d
    join pg_catalog.pg_attrdef f on f.oid = d.objid
    join pg_catalog.pg_class s on s.oid = d.refobjid and s.relkind = 'S'
    join pg_catalog.pg_sequence q on q.seqrelid = s.oid
    join pg_catalog.pg_namespace sn on sn.oid = s.relnamespace
    join pg_catalog.pg_class c on c.oid = f.adrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = f.adnum
    where d.classid = 'pg_catalog.pg_attrdef'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
      and :project_table(n.nspname, c.oid)
      and not c.relispartition
    order by 1, 2
""")
BEHIND = """
    select (select case when is_called then last_value + {step} else last_value end from {sequence}) as next,
      (select max({column}) from {table}) as highest
"""
# A column that is new: what rows that were there hold in it, and what a new row would get.
NEW_DEFAULTS = spelt_out("""
    select n.nspname::text || '.' || c.relname::text as table_name, a.attname::text as column_name,
      pg_get_expr(d.adbin, d.adrelid) as default
    from pg_catalog.pg_attrdef d
    join pg_catalog.pg_class c on c.oid = d.adrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
    where a.attgenerated = '' and c.relkind in ('r', 'p') and not c.relispartition
      and :project_table(n.nspname, c.oid)
      and pg_get_expr(d.adbin, d.adrelid) ~ '^(-?[0-9.]+|''([^'']|'''')*''|true|false)(::[a-z0-9_ ."\\[\\]()]+)?$'
    order by 1, 2
""")
WITHOUT = "select count(*) as rows, count(*) filter (where {column} is null) as without from {table}"
SOME_ROWS = "select {columns} from {table} limit {limit}"
DELETE = "delete from {table} where {where}"
PARTITIONS = """
    select n.nspname::text || '.' || c.relname::text as name, rn.nspname::text || '.' || r.relname::text as root
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_class r on r.oid = pg_partition_root(c.oid)
    join pg_catalog.pg_namespace rn on rn.oid = r.relnamespace
    where c.relispartition
"""
# Functions whose texts tell into which tables rows go: those of a name, of event triggers, and of triggers on INSERT.
FUNCTIONS_NAMED = spelt_out("""
    select pg_get_functiondef(p.oid) as definition
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where p.prokind in ('f', 'p') and p.proname = any ($1) and :user_schema(n.nspname)
""")
EVENT_TRIGGER_FUNCTIONS = """
    select pg_get_functiondef(evtfoid) as definition from pg_catalog.pg_event_trigger where evtenabled <> 'D'
"""
INSERT_TRIGGERS = spelt_out("""
    select n.nspname::text || '.' || c.relname::text as table, pg_get_functiondef(t.tgfoid) as definition
    from pg_catalog.pg_trigger t
    join pg_catalog.pg_class c on c.oid = t.tgrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_proc p on p.oid = t.tgfoid join pg_catalog.pg_language l on l.oid = p.prolang
    where not t.tgisinternal and t.tgenabled <> 'D' and t.tgtype & 4 > 0 and l.lanname = 'plpgsql'
      and :user_schema(n.nspname)
""")
