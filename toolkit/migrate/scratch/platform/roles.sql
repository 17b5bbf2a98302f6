-- The roles of a hosted project. They belong to the server, so one that is there already stays as it is.
-- No role may sign in: nothing here does, and a login without a password would be an open door.
-- On servers of ours `supabase_admin` is there from the start, and may sign in: it is the superuser.

do $$
declare
  wanted record;
  member record;
begin
  -- Two databases may be prepared at the same moment.
  perform pg_advisory_xact_lock(hashtext('toolkit platform roles'));
  for wanted in
    select * from (values
      ('anon', 'inherit', array['statement_timeout = ''3s''']),
      ('authenticated', 'inherit', array['statement_timeout = ''8s''']),
      ('service_role', 'inherit bypassrls', array[]::text[]),
      ('authenticator', 'noinherit', array['statement_timeout = ''8s''', 'lock_timeout = ''8s''']),
      ('supabase_admin', 'superuser createdb createrole replication bypassrls',
        array['search_path = "$user", public, auth, extensions', 'log_statement = ''none''']),
      ('supabase_auth_admin', 'noinherit createrole',
        array['search_path = auth', 'idle_in_transaction_session_timeout = 60000', 'log_statement = ''none''']),
      ('supabase_storage_admin', 'noinherit createrole', array['search_path = storage', 'log_statement = ''none''']),
      ('supabase_realtime_admin', 'noinherit', array[]::text[]),
      ('dashboard_user', 'inherit createdb createrole replication', array[]::text[]),
      ('supabase_read_only_user', 'bypassrls', array['default_transaction_read_only = on']),
      ('supabase_replication_admin', 'replication', array[]::text[]),
      ('supabase_etl_admin', 'replication bypassrls', array[]::text[]),
      ('supabase_privileged_role', 'inherit', array[]::text[]),
      ('pgbouncer', 'inherit', array[]::text[])
    ) of (name, attributes, settings)
    where not exists (select from pg_roles where rolname = of.name)
  loop
    execute format('create role %I nologin %s', wanted.name, wanted.attributes);
    for i in 1 .. cardinality(wanted.settings) loop
      execute format('alter role %I set %s', wanted.name, wanted.settings[i]);
    end loop;
  end loop;

  for member in
    select * from (values
      ('anon', 'authenticator'), ('authenticated', 'authenticator'), ('service_role', 'authenticator'),
      ('authenticator', 'supabase_storage_admin'),
      ('pg_read_all_data', 'supabase_etl_admin'), ('pg_monitor', 'supabase_etl_admin'),
      ('supabase_privileged_role', 'supabase_etl_admin'),
      ('pg_read_all_data', 'supabase_read_only_user'), ('pg_monitor', 'supabase_read_only_user')
    ) of (role, member)
    where not exists (
      select from pg_auth_members a
      where a.roleid = of.role::regrole and a.member = of.member::regrole
    )
  loop
    execute format('grant %I to %I', member.role, member.member);
  end loop;
end
$$;
