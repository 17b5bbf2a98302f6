"""What tells two databases apart beside their catalogs: the rows of the user's own tables."""

TABLES = """
select format('%I.%I', n.nspname, c.relname) as name
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition
  and n.nspname not in ('pg_catalog', 'information_schema', 'supabase_migrations')
  and n.nspname not like 'pg\\_%'
  and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
order by 1
"""

ROWS = "select md5(coalesce(string_agg(t::text, chr(10) order by t::text), '')) from {table} t"
