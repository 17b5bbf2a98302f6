-- name: begin
\set ON_ERROR_STOP on
\set QUIET on
\pset footer off
begin;
set local lock_timeout = '10s';
set local client_min_messages = warning;
-- Rows return as they were: a trigger would record them as if they had just happened. Foreign keys are
-- triggers too, so what refers to a row that is gone is sorted out below.
set local session_replication_role = replica;

create temp table toolkit_staged (
  position serial, target regclass, staged regclass, file text, columns text[], compared text[], key text[],
  rows bigint, put bigint default 0
) on commit drop;

-- The table without the rows of tables that inherit from it, whose files bring them; partitions have none.
create function pg_temp.toolkit_own(p_table regclass) returns text language sql as $$
  select case relkind when 'p' then '' else 'only ' end || oid::regclass from pg_catalog.pg_class where oid = p_table
$$;

-- Why a staged row `s` may go in: what it refers to is there, or on the stage itself.
create function pg_temp.toolkit_condition(p_target regclass, p_columns text[]) returns text language sql as $$
  select coalesce(string_agg(format('(%s or exists (select from %s p where %s)%s)', k.unset,
    pg_temp.toolkit_own(k.parent), k.same,
    (select format(' or exists (select from %s p where %s)', t.staged, k.same) from toolkit_staged t
     where t.target = k.parent and t.compared is null)), ' and '), 'true')
  from (
    select f.confrelid::regclass as parent,
      string_agg(format('s.%I is null', c.attname), ' or ') as unset,
      string_agg(format('p.%I = s.%I', p.attname, c.attname), ' and ') as same
    from pg_catalog.pg_constraint f
    cross join lateral unnest(f.conkey, f.confkey) as pair (child, parent)
    join pg_catalog.pg_attribute c on c.attrelid = f.conrelid and c.attnum = pair.child
    join pg_catalog.pg_attribute p on p.attrelid = f.confrelid and p.attnum = pair.parent
    where f.contype = 'f' and f.conrelid = p_target
    group by f.oid, f.confrelid
    having bool_and(c.attname = any (p_columns))) k
$$;

-- Another row that stands where a staged one should go: another life has begun there, and the two are not mixed.
create function pg_temp.toolkit_refuse_collisions(p_target regclass, p_staged regclass, p_key text[]) returns void
language plpgsql as $$
declare
  one record;
  taken bigint;
  example text;
begin
  if not exists (select from pg_catalog.pg_index where indrelid = p_target and indisunique) then
    execute format('select count(*) from %s', pg_temp.toolkit_own(p_target)) into taken;
    if taken > 0 then
      raise exception '% has % rows and no key to tell them from those of the export', p_target, taken
        using hint = 'Empty it first, or put its rows back by hand. Nothing was changed.';
    end if;
  end if;
  for one in
    select string_agg(quote_ident(a.attname), ', ') as names,
      string_agg(format('t.%I = s.%I', a.attname, a.attname), ' and ') as same,
      string_agg(format('s.%I::text', a.attname), ', ') as shown
    from pg_catalog.pg_index i cross join lateral unnest(i.indkey::int2[]) as c (attnum)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = c.attnum
    where i.indrelid = p_target and i.indisunique and not i.indisprimary and i.indpred is null and i.indexprs is null
    group by i.indexrelid
  loop
    execute format(
      'select count(*), min(concat_ws('', '', %s)) from %s s join %s t on %s where (%s) is distinct from (%s)',
      one.shown, p_staged, pg_temp.toolkit_own(p_target), one.same,
      (select 'row(' || string_agg(format('t.%I', k), ', ') || ')' from unnest(p_key) k),
      (select 'row(' || string_agg(format('s.%I', k), ', ') || ')' from unnest(p_key) k)) into taken, example;
    if taken > 0 then
      raise exception '%: % rows stand where exported ones should go (same %; the first: %)',
          p_target, taken, one.names, example
        using hint = 'They were written after the rollback. Delete them, or take the rows they belong to out of the '
          || 'file and out of toolkit_staged.rows; nothing was changed.';
    end if;
  end loop;
end
$$;

-- Takes rows off the stage that refer to nothing; how many.
create function pg_temp.toolkit_sort_out(p_position integer) returns bigint language plpgsql as $$
declare
  one toolkit_staged;
  removed bigint;
begin
  select * into one from toolkit_staged where position = p_position;
  execute format('delete from %s s where not (%s)', one.staged, pg_temp.toolkit_condition(one.target, one.columns));
  get diagnostics removed = row_count;
  return removed;
end
$$;

-- A row that is there already stays as it is.
create function pg_temp.toolkit_put_rows(p_position integer) returns void language plpgsql as $$
declare
  one toolkit_staged;
  names text;
  added bigint;
begin
  select * into one from toolkit_staged where position = p_position;
  select string_agg(quote_ident(c), ', ') into names
  from unnest(one.columns) c
  join pg_catalog.pg_attribute a on a.attrelid = one.target and a.attname = c and a.attgenerated = '';
  execute format('insert into %s (%s) overriding system value select %s from %s on conflict do nothing',
    one.target, names, names, one.staged);
  get diagnostics added = row_count;
  update toolkit_staged set put = added where position = p_position;
end
$$;

-- Sets columns of rows whose other columns are as they were at the rollback; one that went on keeps what it has.
create function pg_temp.toolkit_put_columns(p_position integer) returns void language plpgsql as $$
declare
  one toolkit_staged;
  done bigint;
begin
  select * into one from toolkit_staged where position = p_position;
  execute format(
    'update %s t set %s from %s s where %s and md5(row(%s)::text) = s.row_before and %s',
    pg_temp.toolkit_own(one.target),
    (select string_agg(format('%I = s.%I', c, c), ', ') from unnest(one.columns) c where c <> all (one.key)), one.staged,
    (select string_agg(format('t.%I = s.%I', k, k), ' and ') from unnest(one.key) k),
    (select string_agg(format('t.%I', c), ', ') from unnest(one.compared) c),
    pg_temp.toolkit_condition(one.target, one.columns));
  get diagnostics done = row_count;
  update toolkit_staged set put = done where position = p_position;
end
$$;

-- name: stage
create temp table {stage} on commit drop as select {columns} from {table} with no data;
\copy {stage} from {file} with (format csv, header)
insert into toolkit_staged (target, staged, file, columns, compared, key, rows)
values ({target}, '{stage}', {file}, {names}, {compared}, {key}, {rows});

-- name: end
do $$
declare
  one record;
  present bigint;
  removed bigint;
  counter text;
begin
  -- Nobody writes in between: with foreign keys silent, a row could be left without what it refers to.
  for one in
    select distinct r.name from (
      select target as name from toolkit_staged
      union all
      select f.confrelid from toolkit_staged s join pg_catalog.pg_constraint f on f.conrelid = s.target and f.contype = 'f'
    ) r order by 1
  loop
    execute format('lock table %s in share row exclusive mode', one.name);
  end loop;
  for one in select * from toolkit_staged order by position loop
    execute format('select count(*) from %s', one.staged) into present;
    if present <> one.rows then
      raise exception '% has % rows, but % were exported', one.file, present, one.rows
        using hint = 'Compare it with its sha256 in manifest.json. Nothing was changed.';
    end if;
    if one.compared is null then
      perform pg_temp.toolkit_refuse_collisions(one.target, one.staged, one.key);
    end if;
  end loop;
  -- Until all that is left refers to something: what goes takes along what refers to it.
  loop
    removed := 0;
    for one in select * from toolkit_staged where compared is null order by position loop
      removed := removed + pg_temp.toolkit_sort_out(one.position);
    end loop;
    exit when removed = 0;
  end loop;
  for one in select * from toolkit_staged where compared is null order by position loop
    perform pg_temp.toolkit_put_rows(one.position);
  end loop;
  for one in select * from toolkit_staged where compared is not null order by position loop
    perform pg_temp.toolkit_put_columns(one.position);
  end loop;
  for one in select s.target, c.name from toolkit_staged s, unnest(s.columns) as c (name) loop
    counter := pg_get_serial_sequence(one.target::text, one.name);
    if counter is not null then
      execute format('select setval(%L, greatest(max(%I), (select last_value from %s))) from %s',
        counter, one.name, counter, one.target);
    end if;
  end loop;
end
$$;

select target::text as "table", rows as "rows in the file", put as "put back", rows - put as "left as they are now"
from toolkit_staged order by position;
commit;
