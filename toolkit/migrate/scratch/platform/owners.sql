-- On servers of ours: that `postgres` may do to the platform's tables what it may on a hosted project, policies, and
-- nothing else that asks for the owner.
-- Not as on a hosted project: there an extension of the server lets single statements through. Here `postgres` is a
-- member of the owners, and whatever it does with that but for the same statements is refused when it ends. Postgres 15
-- cannot keep it from SET ROLE to them.

do $$
declare
  parameter text;
begin
  if ':migrator' <> 'postgres' then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtext('toolkit platform roles'));
  if not pg_has_role('postgres', 'supabase_storage_admin', 'usage') then
    if current_setting('server_version_num')::int >= 160000 then
      execute 'grant supabase_auth_admin, supabase_storage_admin, supabase_realtime_admin to postgres'
        ' with inherit true, set false';
    else
      grant supabase_auth_admin, supabase_storage_admin, supabase_realtime_admin to postgres;
    end if;
    foreach parameter in array array[
      'session_replication_role', 'log_min_duration_statement', 'log_min_messages', 'log_statement', 'log_duration',
      'log_lock_waits', 'log_temp_files', 'track_io_timing', 'wal_compression', 'deadlock_timeout',
      'track_functions', 'lc_messages',
      'auto_explain.log_min_duration', 'auto_explain.log_analyze', 'auto_explain.log_nested_statements',
      'pgaudit.log', 'pgaudit.role', 'pg_stat_statements.track', 'safeupdate.enabled', 'plan_filter.statement_cost_limit',
      'pgrst.db_schemas', 'pgrst.db_extra_search_path', 'pgrst.db_max_rows', 'pgrst.db_pre_request',
      'pgrst.db_aggregates_enabled', 'pgrst.db_plan_enabled', 'pgrst.db_tx_end', 'pgrst.db_timezone_enabled',
      'pgrst.jwt_secret', 'pgrst.jwt_aud', 'pgrst.openapi_mode', 'pgrst.server_cors_allowed_origins'
    ] loop
      execute format('grant set on parameter %s to postgres', parameter);
    end loop;
  end if;
  if to_regnamespace('extensions') is not null then
    alter schema extensions owner to postgres;
  end if;
  if exists (select from pg_publication where pubname = 'supabase_realtime') then
    alter publication supabase_realtime owner to postgres;
  end if;
end
$$;

create or replace function pg_temp.create_guards() returns void language plpgsql as $create$
begin
  if ':migrator' <> 'postgres' then
    return;
  end if;
  create schema if not exists pgbouncer;
  create or replace function pgbouncer.toolkit_owner_guard() returns event_trigger
    language plpgsql set search_path = 'pg_catalog' as $guard$
  declare
    platform constant name[] := array['auth', 'storage', 'realtime', 'vault', 'pgbouncer', 'graphql_public'];
    open_to_policies constant text := '^(auth\.(?!schema_migrations|webauthn_|custom_oauth_providers|oauth_(?!clients))'
      '|storage\.(buckets|buckets_analytics|objects|s3_multipart_\w+)$|realtime\.(messages|subscription)$)';
    o record;
    t record;
  begin
    if session_user <> 'postgres' or (select rolsuper from pg_roles where rolname = session_user) then
      return;
    end if;
    if tg_event = 'sql_drop' then
      for o in
        select *, coalesce(schema_name, address_names[1]) as home, address_names[1] || '.' || address_names[2] as of_table
        from pg_event_trigger_dropped_objects() where original
      loop
        if o.home = any (platform)
          and not (o.object_type in ('policy', 'trigger') and o.of_table ~ open_to_policies) then
          raise exception 'must be owner of % %', o.object_type, coalesce(o.object_name, o.object_identity)
            using errcode = '42501';
        end if;
      end loop;
      return;
    end if;
    for o in select * from pg_event_trigger_ddl_commands() where not in_extension and objid is not null loop
      if o.classid in ('pg_policy'::regclass, 'pg_trigger'::regclass) then
        select n.nspname, c.relname into t
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where c.oid = coalesce(
            (select polrelid from pg_policy where o.classid = 'pg_policy'::regclass and oid = o.objid),
            (select tgrelid from pg_trigger where o.classid = 'pg_trigger'::regclass and oid = o.objid)
          );
        if t.nspname = any (platform) and not (
          (o.classid = 'pg_policy'::regclass and t.nspname || '.' || t.relname ~ open_to_policies)
          or o.command_tag = 'CREATE TRIGGER'
        ) then
          raise exception 'must be owner of table %', t.relname using errcode = '42501';
        end if;
      elsif o.schema_name = any (platform) and o.command_tag not in ('GRANT', 'REVOKE', 'ALTER DEFAULT PRIVILEGES') then
        if o.command_tag ~ '^CREATE' and o.command_tag <> 'CREATE INDEX' then
          raise exception 'permission denied for schema %', o.schema_name using errcode = '42501';
        elsif o.command_tag = 'CREATE INDEX' then
          select c.relname into t from pg_index i join pg_class c on c.oid = i.indrelid where i.indexrelid = o.objid;
          raise exception 'must be owner of table %', t.relname using errcode = '42501';
        end if;
        raise exception 'must be owner of % %', o.object_type, split_part(o.object_identity, '.', 2)
          using errcode = '42501';
      end if;
    end loop;
    if tg_tag in ('CREATE PUBLICATION', 'ALTER PUBLICATION') then
      for t in
        select distinct c.relname from pg_publication_rel r join pg_class c on c.oid = r.prrelid
          where c.relnamespace::regnamespace::text = any (platform)
            and exists (select from pg_publication p where p.oid = r.prpubid and p.pubowner = 'postgres'::regrole)
      loop
        raise exception 'must be owner of table %', t.relname using errcode = '42501';
      end loop;
    end if;
  end
  $guard$;
  if not exists (select from pg_event_trigger where evtname = 'toolkit_owner_guard') then
    create event trigger toolkit_owner_guard on ddl_command_end execute function pgbouncer.toolkit_owner_guard();
    create event trigger toolkit_owner_guard_drop on sql_drop execute function pgbouncer.toolkit_owner_guard();
  end if;

  -- What a hosted project lets postgres do that Postgres keeps for superusers. The runner hands it over; within DO
  -- blocks and functions it is refused here.
  create or replace function pgbouncer.toolkit_as_superuser(statement text) returns void
    language plpgsql security definer set search_path = 'pg_catalog' as $as$
  begin
    if statement ~ ';'
      or statement !~* '^\s*(create|alter|drop)\s+(event\s+trigger|publication|foreign\s+data\s+wrapper)\M'
      or statement ~* 'toolkit_owner_guard' then
      raise exception 'permission denied' using errcode = '42501';
    end if;
    perform set_config('search_path', 'public, extensions', true);
    execute statement;
    perform set_config('search_path', 'pg_catalog', true);
  end
  $as$;
  revoke all on function pgbouncer.toolkit_as_superuser(text) from public;
  grant usage on schema pgbouncer to postgres;
  grant execute on function pgbouncer.toolkit_as_superuser(text) to postgres;
end
$create$;
select pg_temp.create_guards();
