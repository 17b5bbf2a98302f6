-- Schema realtime: messages and subscriptions, and the functions that send from the database.
-- The partitions of messages are of a file of their own, for they are made anew each day.
-- Left out: apply_rls, list_changes and others that the service alone calls.

do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('action', 'enum (''INSERT'', ''UPDATE'', ''DELETE'', ''TRUNCATE'', ''ERROR'')'),
      ('equality_op', 'enum (''eq'', ''neq'', ''lt'', ''lte'', ''gt'', ''gte'', ''in'', ''like'', ''ilike'', ''is'', '
        '''match'', ''imatch'', ''isdistinct'')'),
      ('user_defined_filter', '(column_name text, op realtime.equality_op, value text, negate boolean)'),
      ('wal_column', '(name text, type_name text, type_oid oid, value jsonb, is_pkey boolean, is_selectable boolean)'),
      ('wal_rls', '(wal jsonb, is_rls_enabled boolean, subscription_ids uuid[], errors text[])')
    ) of (name, definition)
    where to_regtype('realtime.' || of.name) is null
  loop
    execute format('create type realtime.%I as %s', wanted.name, wanted.definition);
  end loop;
end
$$;

create table if not exists realtime.messages (
  topic text not null,
  extension text not null,
  payload jsonb,
  event text,
  private boolean default false,
  updated_at timestamp not null default now(),
  inserted_at timestamp not null default now(),
  id uuid not null default gen_random_uuid(),
  binary_payload bytea,
  primary key (id, inserted_at),
  constraint messages_payload_exclusive check (payload is null or binary_payload is null)
) partition by range (inserted_at);

do $$
begin
  -- A database that an older version of this toolkit prepared has a plain table, which serves as well.
  if (select relkind from pg_class where oid = 'realtime.messages'::regclass) = 'p' then
    create index if not exists messages_inserted_at_topic_index on realtime.messages (inserted_at desc, topic)
      where extension = 'broadcast' and private;
  end if;
end
$$;
alter table realtime.messages enable row level security;

create or replace function realtime.to_regrole(role_name text) returns regrole language sql immutable as $$
  select role_name::regrole
$$;

create table if not exists realtime.subscription (
  id bigint generated always as identity primary key,
  subscription_id uuid not null,
  entity regclass not null,
  filters realtime.user_defined_filter[] not null default '{}',
  claims jsonb not null,
  claims_role regrole not null generated always as (realtime.to_regrole(claims ->> 'role')) stored,
  created_at timestamp not null default timezone('utc', now()),
  action_filter text default '*' check (action_filter in ('*', 'INSERT', 'UPDATE', 'DELETE')),
  selected_columns text[]
);
create table if not exists realtime.schema_migrations (
  version bigint not null primary key,
  inserted_at timestamp(0)
);

create or replace function realtime.subscription_check_filters() returns trigger language plpgsql as $$
declare
  filter realtime.user_defined_filter;
begin
  foreach filter in array new.filters loop
    if not exists (
      select from pg_attribute where attrelid = new.entity and attname = filter.column_name and attnum > 0
    ) then
      raise 'invalid column for filter %', filter.column_name;
    end if;
  end loop;
  return new;
end
$$;
create or replace trigger tr_check_filters before insert or update on realtime.subscription
  for each row execute function realtime.subscription_check_filters();

create or replace function realtime.topic() returns text language sql stable as $$
  select nullif(current_setting('realtime.topic', true), '')
$$;

create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true)
returns void language plpgsql as $$
declare
  id constant uuid := gen_random_uuid();
begin
  perform set_config('realtime.topic', topic, true);
  insert into realtime.messages (id, payload, event, topic, private, extension)
  values (
    id, case when payload ? 'id' then payload else jsonb_set(payload, '{id}', to_jsonb(id)) end, event, topic, private,
    'broadcast'
  );
exception when others then
  raise warning 'ErrorSendingBroadcastMessage: %', sqlerrm;
end
$$;
create or replace function realtime.send_binary(payload bytea, event text, topic text, private boolean default true)
returns void language plpgsql as $$
begin
  perform set_config('realtime.topic', topic, true);
  insert into realtime.messages (binary_payload, event, topic, private, extension)
  values (payload, event, topic, private, 'broadcast');
exception when others then
  raise warning 'ErrorSendingBroadcastMessage: %', sqlerrm;
end
$$;
create or replace function realtime.broadcast_changes(
  topic_name text, event_name text, operation text, table_name text, table_schema text, new record, old record,
  level text default 'ROW'
) returns void language plpgsql as $$
begin
  if level = 'STATEMENT' then
    raise 'function can only be triggered for each row, not for each statement';
  end if;
  if operation not in ('INSERT', 'UPDATE', 'DELETE') then
    raise 'Unexpected operation type: %', operation;
  end if;
  perform realtime.send(
    jsonb_build_object(
      'old_record', case when operation <> 'INSERT' then to_jsonb(old) end,
      'record', case when operation <> 'DELETE' then to_jsonb(new) end,
      'operation', operation, 'table', table_name, 'schema', table_schema
    ),
    event_name, topic_name
  );
end
$$;

select pg_temp.give_objects('realtime', 'supabase_realtime_admin');

grant select, insert, update on realtime.messages to anon, authenticated, service_role;
grant select on realtime.subscription to anon, authenticated, service_role;
grant all on realtime.messages, realtime.subscription to :migrator, dashboard_user;
