-- Schema graphql_public: what answers while the extension pg_graphql is off, as in a new project.

do $$
begin
  if to_regprocedure('graphql_public.graphql(text, text, jsonb, jsonb)') is null then
    create function graphql_public.graphql(
      "operationName" text default null, query text default null, variables jsonb default null,
      extensions jsonb default null
    ) returns jsonb language sql stable as $body$
      select jsonb_build_object('errors', jsonb_build_array(
        jsonb_build_object('message', 'pg_graphql extension is not enabled.')))
    $body$;
    perform pg_temp.give_objects('graphql_public', 'supabase_admin');
  end if;
end
$$;
