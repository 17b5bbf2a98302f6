"""What tells two databases apart beside their catalogs, the rows of the project's own tables; and an example."""

from toolkit.sql.platform import spelt_out

TABLES = spelt_out("""
select format('%I.%I', n.nspname, c.relname) as name
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and :project_schema(n.nspname)
  and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
order by 1
""")

ROWS = "select md5(coalesce(string_agg(t::text, chr(10) order by t::text), '')) from {table} t"

# Its option is taken over by functions that should run with the rights of their caller.
SECURITY_DEFINER = "create function f() returns integer language sql security definer as ''"
