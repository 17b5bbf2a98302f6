-- The publication from which changes are streamed: empty, of the role that runs migrations.

do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
end
$$;
