"""A schema that has at least one object of every kind a catalog can hold, and changes that leave it what it was."""

from __future__ import annotations

SUBJECT = """
create schema app;
create type app.mood as enum ('sad', 'happy');
create domain app.small as integer check (value < 10);
create type app.pair as (a integer, b text);
create type app.span as range (subtype = integer);
create type app.shell;
create sequence app.counter;
create table app.parent (id bigint generated always as identity primary key, name text unique);
create table app.child (
  id bigint primary key, parent_id bigint references app.parent on delete cascade, note text default 'none',
  amount integer check (amount > 0),
  at timestamptz default now(), doubled integer generated always as (amount * 2) stored
);
create index child_note on app.child (note);
create index child_lower on app.child (lower(note));
create table app.mv_free (a integer, b integer);
create table app.tree (id integer primary key, up integer references app.tree);
create table app.heir (a integer, b integer);
alter table app.child enable row level security;
create policy own on app.child for select to authenticated using (note = auth.uid()::text);
create function app.f(x integer) returns integer language sql stable set search_path = '' as $$ select x $$;
create function app.t() returns trigger language plpgsql as $$ begin return new; end $$;
create function app.e() returns event_trigger language plpgsql as $$ begin end $$;
create procedure app.p() language plpgsql as $$ begin null; end $$;
create aggregate app.total(integer) (sfunc = int4pl, stype = integer, initcond = '0');
create trigger trg before insert on app.child for each row execute function app.t();
create event trigger watch on ddl_command_end when tag in ('CREATE SERVER') execute function app.e();
create view app.v with (security_invoker = true) as select id, note from app.child;
create materialized view app.mv as select 1 as one;
create rule quiet as on delete to app.parent do instead nothing;
create statistics app.st (dependencies) on note, amount from app.child;
create table app.part (k integer) partition by range (k);
create table app.part_1 partition of app.part for values from (0) to (10);
create table app.keyed (k integer, code text, parent_id bigint references app.parent, primary key (k), unique (code, k),
  check (k > 0) ) partition by range (k);
create index on app.keyed (code) with (deduplicate_items = off);
create table app.keyed_1 partition of app.keyed for values from (0) to (10)
  with (autovacuum_enabled = no, fillfactor = 90);
create table app.tuned (id integer, note text) with (fillfactor = 70, toast.autovacuum_enabled = off);
alter table app.tuned alter note set (n_distinct = 5);
create index tuned_note on app.tuned (note) with (fillfactor = 50, deduplicate_items = off) where note <> ' WITH (';
alter publication supabase_realtime add table app.child;
create publication wide for tables in schema public;
grant select (note) on app.child to anon;
comment on table app.child is 'children';

create function app.eq(integer, integer) returns boolean language sql immutable as $$ select $1 = $2 $$;
create operator app.=== (function = app.eq, leftarg = integer, rightarg = integer);
create operator family app.fam using btree;
create operator class app.ops for type integer using btree family app.fam as
  operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 btint4cmp(integer, integer);
create function app.to_mood(integer) returns app.mood language sql immutable
  as $$ select case when $1 > 0 then 'happy' else 'sad' end::app.mood $$;
create cast (integer as app.mood) with function app.to_mood(integer);
create collation app.plain (provider = libc, locale = 'C');
create conversion app.conv for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;
create text search dictionary app.dict (template = simple, accept = false);
create text search configuration app.conf (copy = simple);
create text search parser app.words (start = prsd_start, gettoken = prsd_nexttoken,
  end = prsd_end, lextypes = prsd_lextype);
create text search template app.tmpl (init = dsimple_init, lexize = dsimple_lexize);
create language plspare handler plpgsql_call_handler inline plpgsql_inline_handler validator plpgsql_validator;
create function app.from_mood(internal) returns internal language internal immutable as 'textin';
create transform for app.mood language plpgsql (from sql with function app.from_mood(internal));
create access method spare type index handler bthandler;
create foreign data wrapper far options (mode 'a');
create server elsewhere version '1' foreign data wrapper far options (host 'h', password 'hunter2-server');
create user mapping for postgres server elsewhere options (user 'u', password 'hunter2-mapping');
create foreign table app.remote (id integer options (n 'a')) server elsewhere options (tab 'x');
create subscription sub connection 'host=h password=hunter2-sub' publication p1, p2
  with (connect = false, enabled = false, create_slot = false, slot_name = none);
"""

# Debian's Postgres 15.20 stores such entries itself, and other servers keep what is planted.
SERVERS_OWN: dict[str, str] = {
    "columns": "update pg_attribute set attoptions = array['pg_attver=7'] || attoptions"
    " where attnum > 0 and not attisdropped and attrelid = any (array['app.tuned', 'app.v', 'app.mv', 'app.keyed',"
    " 'app.keyed_1']::regclass[])",
    "a table, its TOAST table and a partition": "update pg_class set reloptions = reloptions || array['pg_relver=7']"
    " where oid in (select unnest(array[c.oid, c.reltoastrelid]) from pg_class c"
    " where c.oid in ('app.tuned'::regclass, 'app.keyed_1'::regclass))",
    "views": "update pg_class set reloptions = array['pg_relver=a b'] || reloptions"
    " where oid in ('app.v'::regclass, 'app.mv'::regclass)",
    "an index": "update pg_class set reloptions = array['pg_relver=7'] || reloptions"
    " where oid = 'app.tuned_note'::regclass",
    "an index without options": "update pg_class set reloptions = '{pg_relver=7}'"
    " where oid = 'app.child_note'::regclass",
}

HEALTHY: dict[str, str] = {
    "table grant and revoke": "grant select on app.parent to anon; revoke select on app.parent from anon",
    "column grant and revoke": "grant select (id) on app.child to anon; revoke select (id) on app.child from anon",
    "function grant and revoke": "grant execute on function app.f to anon; revoke execute on function app.f from anon",
    "schema grant and revoke": "grant usage on schema app to anon; revoke usage on schema app from anon",
    "sequence grant and revoke": "grant all on sequence app.counter to anon;"
    "revoke all on sequence app.counter from anon",
    "type grant and revoke": "grant usage on type app.mood to anon; revoke usage on type app.mood from anon",
    "row type revoke and grant": "revoke usage on type app.mv_free from public;"
    "grant usage on type app.mv_free to public",
    "language grant and revoke": "grant usage on language plpgsql to anon; revoke usage on language plpgsql from anon",
    "system function grant and revoke": "grant execute on function pg_catalog.pg_ls_dir(text) to anon;"
    "revoke execute on function pg_catalog.pg_ls_dir(text) from anon",
    "system view revoke and grant": "revoke select on pg_catalog.pg_stats from public;"
    "grant select on pg_catalog.pg_stats to public",
    "server grant and revoke": "grant usage on foreign server elsewhere to anon;"
    "revoke usage on foreign server elsewhere from anon",
    "grants in another order": "revoke all on app.parent from anon, service_role;"
    "grant select on app.parent to service_role;"
    "grant select on app.parent to anon; revoke select on app.parent from service_role, anon",
    "default privileges there and back": "alter default privileges in schema app grant select on tables to anon;"
    "alter default privileges in schema app revoke select on tables from anon",
    "column added and dropped": "alter table app.child add extra text; alter table app.child drop extra",
    "attribute added and dropped": "alter type app.pair add attribute c text; alter type app.pair drop attribute c",
    "renamed there and back": "alter table app.child rename to kid; alter table app.kid rename to child;"
    "alter table app.child rename note to x; alter table app.child rename x to note",
    "moved there and back": "alter table app.mv_free set schema public; alter table public.mv_free set schema app",
    "owner there and back": "alter table app.mv_free owner to service_role;"
    "alter table app.mv_free owner to supabase_admin",
    "rows": "insert into app.parent (name) values ('a'), ('b'); update app.parent set name = name || '!';"
    "delete from app.parent; truncate app.child",
    "sequence moved": "select nextval('app.counter'); select setval('app.counter', 100)",
    "statistics of the planner": "insert into app.child (id, note) select n, n::text from generate_series(1, 100) n;"
    "analyze app.child",
    "index rebuilt": "reindex index app.child_note; reindex table app.child",
    "index dropped and made": "drop index app.child_note; create index child_note on app.child (note)",
    "policy dropped and made": "drop policy own on app.child;"
    "create policy own on app.child for select to authenticated using (note = auth.uid()::text)",
    "function replaced by itself": "create or replace function app.f(x integer) returns integer language sql stable"
    " set search_path = '' as $$ select x $$",
    "trigger off and on": "alter table app.child disable trigger trg; alter table app.child enable trigger trg;"
    "alter table app.child disable trigger all; alter table app.child enable trigger all",
    "row security off and on": "alter table app.child disable row level security;"
    "alter table app.child enable row level security",
    "replica identity there and back": "alter table app.child replica identity full;"
    "alter table app.child replica identity default",
    "options set and reset": "alter table app.child set (fillfactor = 70); alter table app.child reset (fillfactor)",
    "options in another order": "alter table app.tuned reset (fillfactor); alter table app.tuned set (fillfactor = 70);"
    "alter index app.tuned_note reset (fillfactor); alter index app.tuned_note set (fillfactor = 50)",
    "booleans spelt otherwise": "alter view app.v set (security_invoker = on);"
    "alter table app.tuned set (toast.autovacuum_enabled = 'F');"
    "alter index app.tuned_note set (deduplicate_items = 0)",
    **{f"the server's own option on {what}": statement for what, statement in SERVERS_OWN.items()},
    "column settings there and back": "alter table app.child alter note set statistics 10;"
    "alter table app.child alter note set statistics -1;"
    "alter table app.child alter note set (n_distinct = 2); alter table app.child alter note reset (n_distinct)",
    "default dropped and set": "alter table app.child alter note drop default;"
    "alter table app.child alter note set default 'none'",
    "not null there and back": "alter table app.child alter note set not null;"
    "alter table app.child alter note drop not null",
    "published no more, and again": "alter publication supabase_realtime drop table app.child;"
    "alter publication supabase_realtime add table app.child",
    "comment given and taken": "comment on column app.child.note is 'x'; comment on column app.child.note is null",
    "settings set and reset": "do $$ begin execute format('alter role anon in database %I set work_mem = 8192',"
    " current_database()); execute format('alter role anon in database %I reset work_mem', current_database()); end $$",
    "temporary objects": "create temporary table app_temp (id serial); create temporary view seen as select 1 as one;"
    "comment on table app_temp is 'x'; comment on column app_temp.id is 'x'",
    "view replaced by itself": "create or replace view app.v with (security_invoker = true) as"
    " select child.id, app.child.note from app.child",
    "table made and dropped": "create table app.brief (id serial primary key, mood app.mood); drop table app.brief",
    "materialized view filled": "refresh materialized view app.mv",
    "partition's own detour": "alter table app.part detach partition app.part_1;"
    "alter table app.part attach partition app.part_1 for values from (0) to (10)",
    "large object": "select lo_create(0)",
    "the history": "create schema supabase_migrations; create table supabase_migrations.x (id serial primary key);"
    "comment on table supabase_migrations.x is 'history';"
    "create policy p on supabase_migrations.x to anon using (true);"
    "comment on policy p on supabase_migrations.x is 'p';"
    "alter publication supabase_realtime add table supabase_migrations.x",
}

# What refuses a transaction.
HEALTHY_OUTSIDE = (
    "vacuum app.child",
    "vacuum full analyze app.parent",
    "reindex index concurrently app.child_note",
    "checkpoint",
)

# Servers differ in which of a new project's extensions are real and which have a stand-in.
WITHOUT_EXTENSIONS = 'drop extension if exists supabase_vault, pgcrypto, pg_stat_statements, "uuid-ossp" cascade;'
