-- pg_tle: the functions. What they install is noted and cannot be created. Schema pgtle.

create table @extschema@.toolkit_installed (name text primary key, version text, description text, script text);
create function @extschema@.install_extension(
  name text, version text, description text, ext text, requires text[] default null, schema text default null
) returns boolean language sql as $$
  insert into @extschema@.toolkit_installed values (name, version, description, ext)
  on conflict do nothing;
  select true
$$;
create function @extschema@.install_update_path(name text, fromvers text, tovers text, ext text) returns boolean
language sql as $$ select true $$;
create function @extschema@.set_default_version(name text, version text) returns boolean language sql
  as $$ select true $$;
create function @extschema@.uninstall_extension(extname text) returns boolean language sql as $$
  delete from @extschema@.toolkit_installed where name = extname;
  select true
$$;
create function @extschema@.uninstall_extension_if_exists(extname text) returns boolean language sql
  as $$ select @extschema@.uninstall_extension(extname) $$;
create function @extschema@.available_extensions(out name text, out default_version text, out comment text)
returns setof record language sql as $$ select name, version, description from @extschema@.toolkit_installed $$;
do $$
begin
  if exists (select from pg_roles where rolname = 'postgres') then
    grant usage on schema @extschema@ to postgres with grant option;
    grant all on all tables in schema @extschema@ to postgres with grant option;
  end if;
end
$$;
