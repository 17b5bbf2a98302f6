-- The partitions of realtime.messages: one a day, from yesterday to three days ahead, with the names of a hosted project.
-- There the service makes them and drops those that are older than three days; here too where it runs. A message of a
-- day without a partition is lost, as there.

do $$
declare
  first_day constant date := (now() at time zone 'utc')::date - 1;
  last_day constant date := first_day + 4;
  day date;
  partition_name text;
  has_default boolean;
  is_superuser constant boolean := (select rolsuper from pg_roles where rolname = current_user);
  replication_role constant text := current_setting('session_replication_role');
begin
  if not exists (select from pg_class where oid = to_regclass('realtime.messages') and relkind = 'p') then
    return;
  end if;
  -- What older versions of this toolkit made holds every day, and would keep others from having their own.
  has_default := to_regclass('realtime.messages_default') is not null;
  if has_default then
    alter table realtime.messages detach partition realtime.messages_default;
  end if;
  for number in 0 .. last_day - first_day loop
    day := first_day + number;
    partition_name := to_char(day, '"messages_"YYYY_MM_DD');
    if to_regclass('realtime.' || partition_name) is null then
      execute format(
        'create table realtime.%I partition of realtime.messages for values from (%L) to (%L)',
        partition_name, day, day + 1
      );
      if is_superuser then
        execute format('alter table realtime.%I owner to supabase_realtime_admin', partition_name);
      end if;
    end if;
  end loop;
  if has_default then
    if is_superuser then  -- triggers have seen these rows
      perform set_config('session_replication_role', 'replica', true);
    end if;
    insert into realtime.messages
      (topic, extension, payload, event, private, updated_at, inserted_at, id, binary_payload)
      select topic, extension, payload, event, private, updated_at, inserted_at, id, binary_payload
        from realtime.messages_default where inserted_at >= first_day and inserted_at < last_day + 1;
    if is_superuser then
      perform set_config('session_replication_role', replication_role, true);
    end if;
    drop table realtime.messages_default;
  end if;
end
$$;
