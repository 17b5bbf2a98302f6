-- What new objects grant by themselves, the same in projects of every age.

do $$
begin
  if not pg_temp.is_superuser() then
    return;
  end if;
  alter default privileges for role supabase_admin in schema public
    grant all on tables to current_user, anon, authenticated, service_role;
  alter default privileges for role supabase_admin in schema public
    grant all on sequences to current_user, anon, authenticated, service_role;
  alter default privileges for role supabase_admin in schema public
    grant all on functions to current_user, anon, authenticated, service_role;

  alter default privileges for role supabase_auth_admin in schema auth
    grant all on tables to current_user, dashboard_user;
  alter default privileges for role supabase_auth_admin in schema auth
    grant all on sequences to current_user, dashboard_user;
  alter default privileges for role supabase_auth_admin in schema auth
    grant all on functions to current_user, dashboard_user;

  alter default privileges for role supabase_admin in schema realtime
    grant all on tables to current_user, dashboard_user;
  alter default privileges for role supabase_admin in schema realtime
    grant all on sequences to current_user, dashboard_user;
  alter default privileges for role supabase_admin in schema realtime
    grant all on functions to current_user, dashboard_user;

  alter default privileges for role supabase_admin in schema extensions
    grant all on tables to current_user with grant option;
  alter default privileges for role supabase_admin in schema extensions
    grant all on sequences to current_user with grant option;
  alter default privileges for role supabase_admin in schema extensions
    grant all on functions to current_user with grant option;

  alter default privileges for role supabase_admin in schema graphql, graphql_public
    grant all on tables to current_user, anon, authenticated, service_role;
  alter default privileges for role supabase_admin in schema graphql, graphql_public
    grant all on sequences to current_user, anon, authenticated, service_role;
  alter default privileges for role supabase_admin in schema graphql, graphql_public
    grant all on functions to current_user, anon, authenticated, service_role;
end
$$;

alter default privileges in schema storage
  grant all on tables to current_user, anon, authenticated, service_role;
alter default privileges in schema storage
  grant all on sequences to current_user, anon, authenticated, service_role;
alter default privileges in schema storage
  grant all on functions to current_user, anon, authenticated, service_role;
