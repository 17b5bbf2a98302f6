"""The catalog as somebody needs it who wants to insert rows, and the statements that do."""

from __future__ import annotations

from toolkit.sql.platform import spelt_out

# The project's tables and those it builds on: not an extension's, and partitions only as their root.
_SCOPE = """
    c.relkind in ('r', 'p') and not c.relispartition and :project_table(n.nspname, c.oid)
    and not :in_extension(pg_class, c.oid)
"""


def _scoped(query: str) -> str:
    return spelt_out(query.replace(":scope", _SCOPE))


TABLES = _scoped("""
    select c.oid, n.nspname::text || '.' || c.relname::text as name, format('%I.%I', n.nspname, c.relname) as quoted,
      c.relkind = 'p' as partitioned,
      case when c.relkind = 'p' then coalesce((
        select string_agg('(' || pg_get_partition_constraintdef(p.relid) || ')', ' or ')
        from pg_partition_tree(c.oid) p where p.isleaf and p.relid <> c.oid
          and pg_get_partition_constraintdef(p.relid) is not null), '') end as partitions
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where :scope order by 2
""")
COLUMNS = _scoped("""
    select a.attrelid as oid, a.attname::text as name, a.atttypid as type_oid, a.atttypmod as modifier,
      format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as not_null,
      pg_get_expr(d.adbin, d.adrelid) as default,
      a.attgenerated::text <> '' as generated, a.attidentity::text as identity
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_class c on c.oid = a.attrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where :scope and a.attnum > 0 and not a.attisdropped order by a.attrelid, a.attnum
""")
TYPES = """
    select t.oid, t.typname::text as name, t.typtype::text as type, t.typcategory::text as category,
      t.typbasetype as base, t.typtypmod as modifier, t.typnotnull as not_null,
      case when t.typcategory = 'A' and t.typtype = 'b' then t.typelem else 0 end as element,
      coalesce((select array_agg(e.enumlabel::text order by e.enumsortorder) from pg_catalog.pg_enum e
        where e.enumtypid = t.oid), '{}') as labels,
      coalesce((select r.rngsubtype from pg_catalog.pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)), 0)
        as subtype,
      coalesce((select array_agg(a.atttypid::text || ':' || a.atttypmod order by a.attnum)
        from pg_catalog.pg_attribute a where a.attrelid = t.typrelid and t.typtype = 'c' and a.attnum > 0
          and not a.attisdropped), '{}') as fields,
      coalesce((select array_agg(pg_get_expr(k.conbin, 0) order by k.conname) from pg_catalog.pg_constraint k
        where k.contypid = t.oid and k.contype = 'c'), '{}') as checks
    from pg_catalog.pg_type t
"""
CONSTRAINTS = _scoped("""
    select k.conrelid as oid, k.contype::text as type, k.condeferrable as deferrable, k.conname::text as name,
      coalesce((select array_agg(a.attname::text order by p.position)
        from unnest(k.conkey) with ordinality p (number, position)
        join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = p.number), '{}') as columns,
      k.confrelid as target,
      coalesce((select array_agg(a.attname::text order by p.position)
        from unnest(k.confkey) with ordinality p (number, position)
        join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = p.number), '{}') as references,
      case when k.contype = 'c' then pg_get_expr(k.conbin, k.conrelid) end as expression
    from pg_catalog.pg_constraint k
    join pg_catalog.pg_class c on c.oid = k.conrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where :scope and k.contype in ('p', 'u', 'f', 'c', 'x') order by k.conrelid, k.contype, k.conname
""")
UNIQUE_INDEXES = _scoped("""
    select i.indrelid as oid, array_agg(a.attname::text order by p.position) as columns
    from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    cross join unnest(i.indkey::int2[]) with ordinality p (number, position)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = p.number
    where :scope and i.indisunique and not i.indisprimary and p.position <= i.indnkeyatts
    group by i.indexrelid, i.indrelid order by i.indexrelid
""")

BOUND = "select set_config('statement_timeout', '20s', true), set_config('lock_timeout', '5s', true)"
DEFER = "set constraints all deferred"
CHECK_NOW = "set constraints all immediate"

INSERT = "insert into {table} ({columns}){overriding} values {rows} returning {returned}"
INSERT_DEFAULTS = "insert into {table} default values returning {returned}"
OVERRIDING = " overriding system value"
AS_TEXT = "{column}::text"
HAS_ROWS = "select exists (select from {table})"
COUNT = "select count(*) from {table}"
# Rows to refer to; a table may hold millions, and these are enough to be different from each other.
KEYS = "select {columns} from {table} where {present} limit {limit}"
UPDATE = "update {table} set {column} = {value} where {where}"
LINK = "update {table} set {assignments} where {where}"
ONE_ROW = "select {columns} from {table} limit 1"

# Which of many values satisfy the table's own conditions, asked of the database that will judge them.
FITTING = "select {texts} from {pools} where {conditions} order by md5({texts_joined}) limit {limit}"
POOL = "(select v as t{number}, v::{type} as {column} from unnest(array[{values}]::text[]) v) p{number}"
HOLDS = "(({condition}) is not false)"
