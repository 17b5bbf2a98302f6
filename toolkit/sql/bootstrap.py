"""What the generation system asks of a database that is no Supabase project: questions, and statements that answer
them."""

from __future__ import annotations

API_ROLES = ("anon", "authenticated", "service_role")

# By a role that only hosted projects and servers of ours let in, or by the owner that nobody else gives to this schema.
IS_SUPABASE = """
select current_setting('toolkit.own_server', true) is distinct from 'on'
  and exists (select from pg_roles where rolname = 'supabase_admin' and rolcanlogin)
  or exists (
    select from pg_namespace n join pg_roles r on r.oid = n.nspowner
    where n.nspname = 'auth' and r.rolname = 'supabase_admin'
  )
"""
# One runner at a time.
LOCK = "select pg_advisory_xact_lock(hashtext('toolkit bootstrap'))"

HAS_ROLE = "select exists (select from pg_roles where rolname = '{role}')"
MAKE_ROLE = "create role {role} nologin"
MAKE_BYPASSING_ROLE = "create role {role} nologin bypassrls"
# A role that is not there yet is made with it.
BYPASSES = "select coalesce((select rolbypassrls or rolsuper from pg_roles where rolname = '{role}'), true)"
MAKE_BYPASSING = "alter role {role} bypassrls"
MAY_BECOME = """
select rolsuper or exists (
  select from pg_roles other where other.rolname = '{role}' and pg_has_role(me.oid, other.oid, case
    when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)
) from pg_roles me where me.rolname = current_user
"""
MAKE_MEMBER = "grant {role} to current_user"

HAS_SCHEMA = "select to_regnamespace('{schema}') is not null"
MAKE_SCHEMA = "create schema {schema}"
ALL_MAY_USE = """
select count(*) = 3 from pg_roles r join pg_namespace n on n.nspname = '{schema}'
where r.rolname in ('anon', 'authenticated', 'service_role') and has_schema_privilege(r.oid, n.oid, 'usage')
"""
GRANT_USAGE = "grant usage on schema {schema} to anon, authenticated, service_role"
# By privileges of their own, as in a hosted project: what PUBLIC may do can be taken away.
ALL_ARE_GRANTED_PUBLIC = """
select count(distinct r.rolname) = 4
from pg_namespace n, aclexplode(n.nspacl) a join pg_roles r on r.oid = a.grantee
where n.nspname = 'public' and a.privilege_type = 'USAGE'
  and r.rolname in ('anon', 'authenticated', 'service_role', current_user)
"""
GRANT_PUBLIC = "grant usage on schema public to current_user, anon, authenticated, service_role"
HAS_FUNCTION = "select to_regprocedure('{function}()') is not null"
HAS_PUBLICATION = "select exists (select from pg_publication where pubname = '{publication}')"
MAKE_PUBLICATION = "create publication {publication}"
DEFAULTS_GRANT = """
select exists (
  select from pg_default_acl d
  where d.defaclrole = current_user::regrole and d.defaclnamespace = to_regnamespace('public')
    and d.defaclobjtype = '{kind}' and (
      select count(distinct r.rolname) from aclexplode(d.defaclacl) a join pg_roles r on r.oid = a.grantee
      where r.rolname in ('anon', 'authenticated', 'service_role')
    ) = 3
)
"""
GRANT_BY_DEFAULT = (
    "alter default privileges in schema public"
    " grant all on {objects} to current_user, anon, authenticated, service_role"
)

# Of a project made since 30 May 2026, as its own default privileges leave it.
DEFAULTS_ARE_SET = """
select exists (
  select from pg_default_acl d
  where d.defaclrole = current_user::regrole and d.defaclnamespace = to_regnamespace('public')
    and d.defaclobjtype = '{kind}'
)
"""
_TAKE_BACK = (
    "; alter default privileges in schema public revoke {verbs} on {objects} from anon, authenticated, service_role"
)
GRANT_LEFTOVERS = {
    objects: (GRANT_BY_DEFAULT + _TAKE_BACK).format(objects=objects, verbs=verbs)
    for objects, verbs in (("tables", "select, insert, update, delete"), ("sequences", "usage, select"))
} | {"functions": "alter default privileges in schema public grant all on functions to current_user"}

# Of the server, which no statement of a transaction changes.
SERVER = """
select current_setting('wal_level') as wal_level,
  (select rolreplication or rolsuper from pg_roles where rolname = current_user) as may_replicate,
  current_setting('max_replication_slots')::int - (select count(*) from pg_replication_slots) as free_slots
"""

# What a file names, and the database may lack.
HAS_RELATION = "select to_regclass($1) is not null"
HAS_NAMESPACE = "select to_regnamespace($1) is not null"
