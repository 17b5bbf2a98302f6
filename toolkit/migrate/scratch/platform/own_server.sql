-- What belongs to the whole server and is therefore done on servers of our own only: the memberships of `postgres`
-- and the path on which its sessions look for names.

do $$
declare
  role_name name;
  newer constant boolean := current_setting('server_version_num')::int >= 160000;
begin
  if current_setting('toolkit.own_server', true) is distinct from 'on' then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtext('toolkit platform roles'));
  alter role postgres set search_path = "$user", public, extensions;
  foreach role_name in array
    array['anon', 'authenticated', 'service_role', 'pg_monitor', 'pg_read_all_data', 'pg_signal_backend']
      || case when newer then array['authenticator', 'pg_create_subscription', 'supabase_privileged_role'] end
  loop
    if not exists (
      select from pg_auth_members where roleid = role_name::regrole and member = 'postgres'::regrole
    ) then
      execute format('grant %I to postgres%s', role_name,
        case when newer and role_name <> 'supabase_privileged_role' then ' with admin option' end);
    end if;
  end loop;
end
$$;
