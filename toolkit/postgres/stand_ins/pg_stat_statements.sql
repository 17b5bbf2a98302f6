-- pg_stat_statements: the view, which is always empty.

create view @extschema@.pg_stat_statements as
  select null::oid as userid, null::oid as dbid, null::boolean as toplevel, null::bigint as queryid,
    null::text as query, null::bigint as plans, null::float8 as total_plan_time, null::bigint as calls,
    null::float8 as total_exec_time, null::float8 as min_exec_time, null::float8 as max_exec_time,
    null::float8 as mean_exec_time, null::float8 as stddev_exec_time, null::bigint as rows,
    null::bigint as shared_blks_hit, null::bigint as shared_blks_read
  where false;
create function @extschema@.pg_stat_statements_reset() returns void language sql as '';
