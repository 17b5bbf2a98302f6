"""What is published and how, and the replication slots a delivery proof reads changes from."""

from __future__ import annotations

from toolkit.sql.catalog_terms import IDENTIFIES, TRIGGER_SILENCE
from toolkit.sql.platform import spelt_out

WAL_LEVEL = "select current_setting('wal_level')"
PUBLICATIONS = """
    select oid::bigint as oid, pubname as name, puballtables as every_table, pubviaroot as via_root,
      array_remove(array[case when pubinsert then 'INSERT' end, case when pubupdate then 'UPDATE' end,
        case when pubdelete then 'DELETE' end, case when pubtruncate then 'TRUNCATE' end], null) as operations
    from pg_publication order by pubname
"""
# `columns` are those that are sent; `present` those that could be, generated ones left out. The identity is what an
# UPDATE or a DELETE tells of the old row.
MEMBERS = f"""
    select p.pubname as publication, n.nspname as schema, c.relname as name, c.oid::bigint as oid,
      c.relreplident::text as identity_kind, p.attnames::text[] as columns, p.rowfilter as row_filter,
      (select coalesce(array_agg(a.attname::text order by a.attnum), '{{}}') from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as present,
      (select coalesce(array_agg(a.attname::text order by a.attnum), '{{}}') from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and case c.relreplident
          when 'f' then true
          when 'n' then false
          else exists (select from pg_index i
            where i.indrelid = c.oid and a.attnum = any (i.indkey) and {IDENTIFIES}) end) as identity,
      (select coalesce(array_agg(a.attname::text order by a.attnum), '{{}}') from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attstorage in ('x', 'e')) as large
    from pg_publication_tables p
      join pg_namespace n on n.nspname = p.schemaname
      join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
    order by 1, 2, 3
"""  # noqa: S608 - a constant
TABLES = spelt_out("""
    select c.oid::bigint as oid, n.nspname as schema, c.relname as name,
      (case when c.relispartition then pg_partition_root(c.oid)::oid else c.oid end)::bigint as root
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and c.relpersistence <> 't' and :project_table(n.nspname, c.oid)
""")
SILENT_TRIGGERS = spelt_out(f"""
    select n.nspname as schema, c.relname as name, t.tgname as trigger, {TRIGGER_SILENCE} as silence
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
    where not t.tgisinternal and t.tgparentid = 0 and :project_table(n.nspname, c.oid)
""")  # noqa: S608 - a constant

# Nobody's view of the table is narrowed: the role reads it, writes it, and no policy comes between. The plainest
# application role first.
WRITERS = spelt_out("""
    select r.rolname as role
    from pg_roles r, (select c.oid, c.relrowsecurity as guarded from pg_class c where c.oid = $1::text::regclass) t
    where not r.rolsuper and :user_role(r.rolname) and r.rolname <> current_user
      and pg_has_role(current_user, r.oid,
        case when current_setting('server_version_num')::int < 160000 then 'member' else 'set' end)
      and (r.rolbypassrls or not t.guarded)
      and has_table_privilege(r.oid, t.oid, 'select') and has_table_privilege(r.oid, t.oid, $2)
      and has_schema_privilege(r.oid, (select relnamespace from pg_class where oid = t.oid), 'usage')
    order by r.rolname <> 'service_role', r.rolname <> 'authenticated', r.rolcanlogin desc, 1 limit 1
""")
BECOME = 'set local role "{role}"'
STAND_BACK = "reset role"
# The commit must be in the WAL when it is answered, or a reading right after it would miss it.
WRITE_DURABLY = "set synchronous_commit = on"
XID = "select pg_current_xact_id()::text::numeric % 4294967296"
IS_THERE = "select exists (select from {table} where {condition})"
DELETE = "delete from {table} where {condition}"

# pgoutput sends text as the session that reads it renders values: as the session that writes them reads them back.
READ_AS_TEXT = "set client_encoding = 'UTF8'"
CREATE_SLOT = "select pg_create_logical_replication_slot($1, $2, true)"
READ_CHANGES = """
    select data, extract(epoch from clock_timestamp())::float8 as at
    from pg_logical_slot_get_binary_changes($1, null, null, 'proto_version', '1', 'publication_names', $2)
"""

# A Realtime endpoint needs Supabase's helpers, by which policies know the user.
LIKE_SUPABASE = """
    select to_regprocedure('auth.jwt()') is not null and to_regprocedure('auth.uid()') is not null
      and exists (select from pg_roles where rolname = 'authenticated')
      and exists (select from pg_roles where rolname = 'service_role')
      and exists (select from pg_publication where pubname = $1)
"""
# Tables that a signed-in user may read under a policy, and the column that most likely names their owner.
OWNED_TABLES = spelt_out("""
    select n.nspname as schema, c.relname as name,
      (select a.attname from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and a.atttypid in ('text'::regtype, 'varchar'::regtype, 'uuid'::regtype)
        and a.attname ~* '^(user|owner|author|account|profile|created_?by|owner_?user)_?(id)?$'
        order by a.attname !~* '^user', a.attname !~* '^owner', a.attnum limit 1) as owner_column
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and c.relrowsecurity and :project_table(n.nspname, c.oid)
      and has_table_privilege('authenticated', c.oid, 'select')
""")
OWNED_ROW = """
    select {columns} from {table} where {column} = (
      select {column} from {table} where {column} is not null group by 1 order by count(*) desc, 1 limit 1) limit 1
"""
