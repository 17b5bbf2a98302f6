"""Digests of rows: sums of hashes, so that neither the order of rows nor memory matters."""

from __future__ import annotations

from toolkit.sql.platform import spelt_out

COLUMNS = """
    select a.attname::text as name from pg_catalog.pg_attribute a
    where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum
"""
# Each value is hashed together with its row's key, so that values swapped between rows are noticed; N and V tell
# NULL from every text. Two seeds: one 64-bit sum alone could be met by chance.
COLUMN_DIGEST = """
    coalesce(sum(hashtextextended({key} || chr(31) || coalesce('V' || {column}::text, 'N'), 1)::numeric), 0)::text
    || ':' ||
    coalesce(sum(hashtextextended({key} || chr(31) || coalesce('V' || {column}::text, 'N'), 2)::numeric), 0)::text
"""
TABLE_DIGEST = "select count(*) as rows{digests} from {table}{where}"
ROW_FINGERPRINTS = """
    select {key} as key, array[{digests}]::text[] as digests from {table}{where}
"""
VALUE_DIGEST = "md5(coalesce('V' || {column}::text, 'N'))"
TABLES = spelt_out("""
    select n.nspname::text || '.' || c.relname::text as name
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition and :user_schema(n.nspname)
    order by 1
""")
