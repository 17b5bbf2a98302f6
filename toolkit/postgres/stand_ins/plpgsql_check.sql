-- plpgsql_check: the functions, which find nothing.

create function @extschema@.plpgsql_check_function(funcoid regprocedure, relid regclass default 0, format text default 'text')
returns setof text language sql as $$ select null::text where false $$;
create function @extschema@.plpgsql_check_function(name text, relid regclass default 0, format text default 'text')
returns setof text language sql as $$ select null::text where false $$;
create function @extschema@.plpgsql_check_function_tb(funcoid regprocedure, relid regclass default 0)
returns table (
  functionid regproc, lineno integer, statement text, sqlstate text, message text, detail text, hint text, level text,
  "position" integer, query text, context text
) language sql as $$
  select null::regproc, null::integer, null::text, null::text, null::text, null::text, null::text, null::text,
    null::integer, null::text, null::text
  where false
$$;
