-- The schemas of a hosted project, their owners and who may use them.
-- Left out: what roles may do with the database itself, which no copy of a database keeps.

create schema if not exists auth;
create schema if not exists extensions;
create schema if not exists graphql;
create schema if not exists graphql_public;
create schema if not exists pgbouncer;
create schema if not exists realtime;
create schema if not exists storage;
create schema if not exists vault;

-- A role that is no superuser can give nothing away; then whoever prepares the database owns its objects.
create or replace function pg_temp.is_superuser() returns boolean language sql stable
  as $$ select rolsuper from pg_roles where rolname = current_user $$;

create or replace function pg_temp.give_schema(schema_name name, owner name) returns void language plpgsql as $$
begin
  if pg_temp.is_superuser() then
    execute format('alter schema %I owner to %I', schema_name, owner);
  end if;
end
$$;

-- Every table, view, function and type of the schema that no extension owns.
create or replace function pg_temp.give_objects(schema_name name, owner name) returns void language plpgsql as $$
declare
  statement text;
begin
  if not pg_temp.is_superuser() then
    return;
  end if;
  for statement in
    select format('alter table %s owner to %I', c.oid::regclass, owner)
      from pg_class c
      where c.relnamespace = schema_name::regnamespace and c.relkind in ('r', 'p', 'v')
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    union all
    select format('alter routine %s owner to %I', p.oid::regprocedure, owner)
      from pg_proc p
      where p.pronamespace = schema_name::regnamespace
        and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
    union all
    select format('alter type %s owner to %I', t.oid::regtype, owner)
      from pg_type t left join pg_class c on c.oid = t.typrelid
      where t.typnamespace = schema_name::regnamespace and (t.typtype in ('e', 'd') or c.relkind = 'c')
        and not exists (select from pg_depend d where d.objid = t.oid and d.deptype = 'e')
  loop
    execute statement;
  end loop;
end
$$;

select pg_temp.give_schema('auth', 'supabase_admin');
select pg_temp.give_schema('graphql', 'supabase_admin');
select pg_temp.give_schema('graphql_public', 'supabase_admin');
select pg_temp.give_schema('pgbouncer', 'pgbouncer');
select pg_temp.give_schema('realtime', 'supabase_admin');
select pg_temp.give_schema('storage', 'supabase_admin');
select pg_temp.give_schema('vault', 'supabase_admin');

grant usage on schema public to :migrator, anon, authenticated, service_role;

grant usage on schema auth to anon, authenticated, service_role, :migrator;
grant all on schema auth to supabase_auth_admin, dashboard_user;

grant usage on schema storage to anon, authenticated, service_role;
grant usage on schema storage to :migrator with grant option;
grant all on schema storage to supabase_storage_admin with grant option;
grant all on schema storage to dashboard_user;

grant usage on schema realtime to anon, authenticated, service_role;
grant usage on schema realtime to :migrator with grant option;
grant all on schema realtime to supabase_realtime_admin;

grant usage on schema extensions to anon, authenticated, service_role;
grant all on schema extensions to dashboard_user;

grant usage on schema vault to service_role;
grant usage on schema vault to :migrator with grant option;

grant usage on schema graphql, graphql_public to :migrator, anon, authenticated, service_role;
