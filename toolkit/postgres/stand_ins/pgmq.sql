-- pgmq: queues that are tables, with send, read, pop, archive and delete; none is partitioned. Schema pgmq.

create table @extschema@.meta (
  queue_name varchar not null unique,
  is_partitioned boolean not null default false,
  is_unlogged boolean not null default false,
  created_at timestamptz not null default now()
);
create type @extschema@.message_record as (
  msg_id bigint, read_ct integer, enqueued_at timestamptz, vt timestamptz, message jsonb
);
create type @extschema@.queue_record as (
  queue_name varchar, is_partitioned boolean, is_unlogged boolean, created_at timestamptz
);
create type @extschema@.metrics_result as (
  queue_name text, queue_length bigint, newest_msg_age_sec integer, oldest_msg_age_sec integer, total_messages bigint,
  scrape_time timestamptz
);
create function @extschema@.create_non_partitioned(queue_name text) returns void language plpgsql as $$
declare
  queue text := 'q_' || lower(queue_name);
  archive text := 'a_' || lower(queue_name);
begin
  execute format('create table if not exists @extschema@.%I (msg_id bigint primary key generated always as identity,
    read_ct integer not null default 0, enqueued_at timestamptz not null default now(), vt timestamptz not null,
    message jsonb)', queue);
  execute format('create table if not exists @extschema@.%I (msg_id bigint primary key,
    read_ct integer not null default 0, enqueued_at timestamptz not null default now(),
    archived_at timestamptz not null default now(), vt timestamptz not null, message jsonb)', archive);
  execute format('create index if not exists %I on @extschema@.%I (vt asc)', queue || '_vt_idx', queue);
  execute format('create index if not exists %I on @extschema@.%I (archived_at)', 'archived_at_idx_' || lower(queue_name),
    archive);
  insert into @extschema@.meta (queue_name) values (create_non_partitioned.queue_name) on conflict do nothing;
end
$$;
create function @extschema@.create(queue_name text) returns void language sql
  as $$ select @extschema@.create_non_partitioned(queue_name) $$;
create function @extschema@.create_unlogged(queue_name text) returns void language sql
  as $$ select @extschema@.create_non_partitioned(queue_name) $$;
create function @extschema@.create_partitioned(
  queue_name text, partition_interval text default '10000', retention_interval text default '100000'
) returns void language sql as $$ select @extschema@.create_non_partitioned(queue_name) $$;
create function @extschema@.drop_queue(queue_name text) returns boolean language plpgsql as $$
begin
  execute format('drop table if exists @extschema@.%I, @extschema@.%I', 'q_' || lower(queue_name),
    'a_' || lower(queue_name));
  delete from @extschema@.meta m where m.queue_name = drop_queue.queue_name;
  return found;
end
$$;
create function @extschema@.list_queues() returns setof @extschema@.queue_record language sql
  as $$ select queue_name, is_partitioned, is_unlogged, created_at from @extschema@.meta $$;
create function @extschema@.send_batch(queue_name text, msgs jsonb[], delay integer default 0) returns setof bigint
language plpgsql as $$
begin
  return query execute format('insert into @extschema@.%I (vt, message)
    select clock_timestamp() + make_interval(secs => $2), unnest($1) returning msg_id', 'q_' || lower(queue_name))
    using msgs, delay;
end
$$;
create function @extschema@.send(queue_name text, msg jsonb, delay integer default 0) returns setof bigint language sql
  as $$ select * from @extschema@.send_batch(queue_name, array[msg], delay) $$;
create function @extschema@.read(queue_name text, vt integer, qty integer) returns setof @extschema@.message_record
language plpgsql as $$
begin
  return query execute format('update @extschema@.%1$I q
    set vt = clock_timestamp() + make_interval(secs => $1), read_ct = read_ct + 1
    where q.msg_id in (select msg_id from @extschema@.%1$I where vt <= clock_timestamp() order by msg_id limit $2
      for update skip locked)
    returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message', 'q_' || lower(queue_name)) using vt, qty;
end
$$;
create function @extschema@.read_with_poll(
  queue_name text, vt integer, qty integer, max_poll_seconds integer default 5, poll_interval_ms integer default 100
) returns setof @extschema@.message_record language sql as $$ select * from @extschema@.read(queue_name, vt, qty) $$;
create function @extschema@.pop(queue_name text) returns setof @extschema@.message_record language plpgsql as $$
begin
  return query execute format('delete from @extschema@.%1$I q
    where q.msg_id = (select msg_id from @extschema@.%1$I where vt <= clock_timestamp() order by msg_id limit 1
      for update skip locked)
    returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message', 'q_' || lower(queue_name));
end
$$;
create function @extschema@.delete(queue_name text, msg_ids bigint[]) returns setof bigint language plpgsql as $$
begin
  return query execute format('delete from @extschema@.%I where msg_id = any ($1) returning msg_id',
    'q_' || lower(queue_name)) using msg_ids;
end
$$;
create function @extschema@.delete(queue_name text, msg_id bigint) returns boolean language sql
  as $$ select exists (select from @extschema@.delete(queue_name, array[msg_id])) $$;
create function @extschema@.archive(queue_name text, msg_ids bigint[]) returns setof bigint language plpgsql as $$
begin
  return query execute format('with gone as (delete from @extschema@.%I where msg_id = any ($1) returning *)
    insert into @extschema@.%I (msg_id, vt, read_ct, enqueued_at, message)
    select msg_id, vt, read_ct, enqueued_at, message from gone returning msg_id',
    'q_' || lower(queue_name), 'a_' || lower(queue_name)) using msg_ids;
end
$$;
create function @extschema@.archive(queue_name text, msg_id bigint) returns boolean language sql
  as $$ select exists (select from @extschema@.archive(queue_name, array[msg_id])) $$;
create function @extschema@.set_vt(queue_name text, msg_id bigint, vt integer) returns setof @extschema@.message_record
language plpgsql as $$
begin
  return query execute format('update @extschema@.%I q set vt = clock_timestamp() + make_interval(secs => $2)
    where q.msg_id = $1 returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message', 'q_' || lower(queue_name))
    using msg_id, vt;
end
$$;
create function @extschema@.purge_queue(queue_name text) returns bigint language plpgsql as $$
declare
  gone bigint;
begin
  execute format('with gone as (delete from @extschema@.%I returning 1) select count(*) from gone',
    'q_' || lower(queue_name)) into gone;
  return gone;
end
$$;
create function @extschema@.metrics(queue_name text) returns @extschema@.metrics_result language plpgsql as $$
declare
  result @extschema@.metrics_result;
begin
  execute format('select $1, count(*), extract(epoch from now() - max(enqueued_at))::integer,
    extract(epoch from now() - min(enqueued_at))::integer, coalesce(max(msg_id), 0), now() from @extschema@.%I',
    'q_' || lower(queue_name)) into result using queue_name;
  return result;
end
$$;
create function @extschema@.metrics_all() returns setof @extschema@.metrics_result language sql
  as $$ select (@extschema@.metrics(m.queue_name)).* from @extschema@.meta m $$;
do $$
begin
  if exists (select from pg_roles where rolname = 'postgres') then
    grant all on schema @extschema@ to postgres with grant option;
    grant all on all tables in schema @extschema@ to postgres with grant option;
    grant execute on all functions in schema @extschema@ to postgres with grant option;
  end if;
end
$$;
