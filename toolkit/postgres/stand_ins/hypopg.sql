-- hypopg: the functions. No plan ever sees an index that is not there.

create function @extschema@.hypopg_create_index(sql_order text, out indexrelid oid, out indexname text)
returns setof record language sql as $$ select null::oid, null::text where false $$;
create function @extschema@.hypopg_drop_index(indexid oid) returns boolean language sql as $$ select false $$;
create function @extschema@.hypopg_reset() returns void language sql as '';
create view @extschema@.hypopg_list_indexes as
  select null::oid as indexrelid, null::text as index_name, null::name as schema_name, null::name as table_name,
    null::name as am_name
  where false;
