"""Digests of rows: sums of hashes, so that neither the order of rows nor memory matters, or one for each value."""

from __future__ import annotations

from toolkit.sql.platform import spelt_out

TABLES = spelt_out("""
    select n.nspname::text || '.' || c.relname::text as name
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition and :project_table(n.nspname, c.oid)
    order by 1
""")
COLUMNS = """
    select a.attname::text as name from pg_catalog.pg_attribute a
    where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum
"""
# Rows of tables that inherit from this one are theirs; those of a partition are its root's.
ONLY = "select case relkind when 'p' then '' else 'only ' end from pg_catalog.pg_class where oid = $1::regclass"

# The parts of a key, kept apart by a character that no text of a key is likely to hold.
KEY = "concat_ws(chr(31), {parts})"
NO_KEY = "null::text"

# Many tables in one question. The alias is a name that no column has: a column would be read instead of the row.
WHOLE_TABLE = """
    select {number} as number, count(*) as rows,
      coalesce(sum(hashtextextended(toolkit_whole_row::text, 1)::numeric), 0)::text as digest
    from {table} as toolkit_whole_row
"""
ALL_OF = " union all "

# Each value is hashed together with its row's key, so that values swapped between rows are noticed; N and V tell
# NULL from every text. Two seeds: one 64-bit sum alone could be met by chance.
COLUMN_DIGEST = """
    coalesce(sum(hashtextextended({key} || chr(31) || coalesce('V' || {column}::text, 'N'), 1)::numeric), 0)::text
    || ':' ||
    coalesce(sum(hashtextextended({key} || chr(31) || coalesce('V' || {column}::text, 'N'), 2)::numeric), 0)::text
"""
TABLE_DIGEST = "select count(*) as rows{digests} from {table}{where}"

ROWS = "select {key} as key, array[{digests}]::text[] as digests from {table}{where}"
VALUE_DIGEST = "md5(coalesce('V' || {value}, 'N'))"
COUNT = "select count(*) from {table}"
# The same rows at every look, whatever happened to their order.
ONE_IN = " where abs(hashtextextended({key}, 7) % {parts}) = 0"

# A value, rendered so that it reads the same after its column's type changed.
TEXT = "{column}::text"
NUMBER = "trim_scale({column}::numeric)::text"
MOMENT = "({column} at time zone 'UTC')::text"
DOCUMENT = "{column}::jsonb::text"
CAST = "({column})::{type}"
CAST_BY_TEXT = "({column})::text::{type}"
TRY = "select count({value}) from {table}"
