"""Statements that make, copy and drop the databases of a proof."""

from __future__ import annotations

from toolkit.sql.platform import spelt_out

# Through the WAL, which is the default: a file copy forces two checkpoints and was 1.6 to 8 times slower here.
CREATE = 'create database "{name}" template "{template}" owner {owner} strategy {strategy}'
DROP = 'drop database if exists "{name}" with (force)'

# Which version of the platform a database was prepared with.
PLATFORM_MARK = "select obj_description(to_regnamespace('auth'), 'pg_namespace')"
MARK_PLATFORM = "comment on schema auth is {mark}"

# On servers of ours another role than the superuser runs migrations; elsewhere whoever prepares the database does.
MIGRATOR = """
    select case when current_setting('toolkit.own_server', true) = 'on'
      and current_user <> 'postgres' and exists (select from pg_roles where rolname = 'postgres')
      then 'postgres' else 'current_user' end
"""

# "old" where new tables of schema public are the API roles' to read, "new" where other default privileges hold.
PROJECT_MODE = """
    select case when exists (
        select from aclexplode(d.defaclacl) a join pg_roles r on r.oid = a.grantee
        where r.rolname in ('anon', 'authenticated') and a.privilege_type = 'SELECT'
      ) then 'old' else 'new' end
    from pg_default_acl d
    where d.defaclnamespace = to_regnamespace('public') and d.defaclobjtype = 'r'
      and d.defaclrole in (select oid from pg_roles where rolname in ('postgres', current_user))
    order by d.defaclrole::regrole::text = 'postgres' desc limit 1
"""

IS_SUPERUSER = "select rolsuper from pg_catalog.pg_roles where rolname = current_user"
MAKE_SUPERUSER = "alter role {role} superuser"

# Roles belong to the cluster: those that a dump grants to or names as owner must exist before it is restored.
ROLES = spelt_out("""
    select rolname as name, rolbypassrls as bypasses, rolinherit as inherits
    from pg_roles where :user_role(rolname) and rolname <> 'postgres' order by 1
""")
MEMBERSHIPS = spelt_out("""
    select g.rolname as role, m.rolname as member
    from pg_auth_members a join pg_roles g on g.oid = a.roleid join pg_roles m on m.oid = a.member
    where :user_role(g.rolname) and m.rolname <> 'postgres' and :user_role(m.rolname) order by 1, 2
""")
ROLES_OF_NO_PLATFORM = spelt_out("""
    select rolname as name from pg_roles
    where :user_role(rolname) and not rolsuper and rolname !~ '^(postgres|pgbouncer|dashboard_user|supabase_.*)$'
""")
ROLE_EXISTS = "select exists (select from pg_roles where rolname = $1)"
CREATE_ROLE = "create role {name} nologin {inherits} {bypasses}"
GRANT_ROLE = "grant {role} to {member}"
EXTENSIONS = "select extname as name from pg_extension where extname <> 'plpgsql' order by 1"
AVAILABLE_EXTENSIONS = "select name, default_version as version from pg_available_extensions"
SERVER_MAJOR = "select current_setting('server_version_num')::int / 10000"
COPY_HISTORY = "insert into supabase_migrations.schema_migrations (version, name, statements) values ($1, $2, $3)"
# A dump names the grants of each object and, at its end, the default privileges; restored where defaults hold
# already, every object would get them on top of its own.
CLEAR_DEFAULTS = tuple(
    f"alter default privileges in schema public revoke all on {kind}"
    " from {migrator}, anon, authenticated, service_role"
    for kind in ("tables", "functions", "sequences")
)
