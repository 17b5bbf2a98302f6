-- What new objects grant by themselves, the same in projects of every age.

do $$
begin
  if not pg_temp.is_superuser() then
    return;
  end if;
  alter default privileges for role supabase_admin in schema public
    grant all on tables to :migrator, anon, authenticated, service_role;
  alter default privileges for role supabase_admin in schema public
    grant all on sequences to :migrator, anon, authenticated, service_role;
  alter default privileges for role supabase_admin in schema public
    grant all on functions to :migrator, anon, authenticated, service_role;

  alter default privileges for role supabase_auth_admin in schema auth
    grant all on tables to :migrator, dashboard_user;
  alter default privileges for role supabase_auth_admin in schema auth
    grant all on sequences to :migrator, dashboard_user;
  alter default privileges for role supabase_auth_admin in schema auth
    grant all on functions to :migrator, dashboard_user;

  alter default privileges for role supabase_admin in schema realtime
    grant all on tables to :migrator, dashboard_user;
  alter default privileges for role supabase_admin in schema realtime
    grant all on sequences to :migrator, dashboard_user;
  alter default privileges for role supabase_admin in schema realtime
    grant all on functions to :migrator, dashboard_user;

  alter default privileges for role supabase_admin in schema extensions
    grant all on tables to :migrator with grant option;
  alter default privileges for role supabase_admin in schema extensions
    grant all on sequences to :migrator with grant option;
  alter default privileges for role supabase_admin in schema extensions
    grant all on functions to :migrator with grant option;

  alter default privileges for role supabase_admin in schema graphql, graphql_public
    grant all on tables to :migrator, anon, authenticated, service_role;
  alter default privileges for role supabase_admin in schema graphql, graphql_public
    grant all on sequences to :migrator, anon, authenticated, service_role;
  alter default privileges for role supabase_admin in schema graphql, graphql_public
    grant all on functions to :migrator, anon, authenticated, service_role;
end
$$;

alter default privileges for role :migrator in schema storage
  grant all on tables to :migrator, anon, authenticated, service_role;
alter default privileges for role :migrator in schema storage
  grant all on sequences to :migrator, anon, authenticated, service_role;
alter default privileges for role :migrator in schema storage
  grant all on functions to :migrator, anon, authenticated, service_role;
