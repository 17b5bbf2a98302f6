"""Each rule has a defect planted that it must find at its line, and a healthy neighbour in which nothing is found."""

# ruff: noqa: E501 - a defect and its healthy neighbour are compared line by line

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.unit.migrate.lint.conftest import BASE, Files, Look, told


@dataclass(frozen=True)
class Case:
    """`planted` holds the defect at `at` (`file:line`), `healthy` is the same without it."""

    rule: str
    at: str
    planted: Files
    healthy: Files

    @property
    def id(self) -> str:
        return f"{self.rule} at {self.at}"


def then(*lines: str) -> dict[str, str]:
    """A folder whose first file is the healthy table and whose second holds these lines."""
    return {"1_base.sql": BASE, "2_x.sql": "\n".join(lines)}


def pair(up: str, down: str) -> dict[str, str]:
    """A folder of one migration and its rollback."""
    return {"2_x.sql": up, "rollbacks/2_x.sql": down}


def definer(tail: str, name: str = "public.peek()", returns: str = "int") -> str:
    return f"create function {name} returns {returns} language sql {tail} as $$ select 1 $$;"


LOCK = "revoke execute on function public.peek() from public, anon, authenticated;"
SAFE = "security definer set search_path = ''"
EVENTS = """create table public.events (id bigint generated always as identity primary key, note_id uuid not null
  references public.notes (id) on delete cascade, payload jsonb, seq int, unique (note_id, seq));
alter table public.events enable row level security;
create policy events_read on public.events for select to authenticated using (exists (
  select from public.notes n where n.id = note_id));
"""


def trigger(body: str, when: str = "after insert", options: str = SAFE) -> str:
    return (
        f"create function public.log() returns trigger language plpgsql {options} as $$ begin\n{body}\nreturn new;\n"
        f"end $$;\ncreate trigger log {when} on public.notes for each row execute function public.log();"
    )


BUILT = [
    ("'select from ' || what", "'select from ' || quote_ident(what)"),
    ("format('select from %I where %s', 'notes', what)", "format('select from %s where %I', 'notes', what)"),
    ("format('select %1$s from notes', lower(what))", "format('select %1$L from notes', lower(what))"),
    ("'select ' || what::text using 1", "'select $1' using what"),
]


MOODS = """create type mood as enum ('a');
create table x.moods (id int primary key, now mood);
create table x.words (id int primary key, word text);
"""
EVENT_FILE = EVENTS.count("\n") + 1  # the line behind EVENTS
INSERT = "insert into public.events (note_id, payload) values (new.id, jsonb_build_object('id', new.id));"
CHANGES = """revoke update on public.notes from authenticated; create policy w on public.notes for insert to authenticated
  with check (user_id = (select auth.jwt() ->> 'sub'));"""

# What the platform owns, and beside it what postgres may do all the same.
BARRED = [
    ("alter table storage.objects enable row level security;", "alter table notes enable row level security;"),
    ("alter table auth.users add column nick text;", "alter table notes add column nick text;"),
    ("create index i on auth.users (email);", "create index i on notes (title);"),
    ("create trigger t after insert on cron.job for each row execute function f();",
     "create trigger t after insert on auth.users for each row execute function f();"),
    ("drop table storage.migrations;", "drop trigger t on auth.users;"),
    ("create policy p on auth.oauth_consents for select to authenticated using (false);",
     "create policy p on storage.buckets for select to authenticated using (false);"),
    ("comment on trigger t on auth.users is 'x';", "comment on policy t on storage.objects is 'x';"),
    ("alter function auth.uid() owner to postgres;", "alter function public.uid() owner to postgres;"),
    ("alter publication supabase_realtime add table auth.users;", "alter publication supabase_realtime add table notes;"),
    ("create type auth.mood as enum ('a');", "create type mood as enum ('a');"),
    ("create view storage.mine as select 1;", "create view extensions.mine with (security_invoker) as select 1;"),
    ("do $$ begin alter table storage.objects enable row level security; end $$;",
     "do $$ begin alter table storage.objects enable row level security; exception when others then null; end $$;"),
]  # fmt: skip

CASES = [
    # Tables -----------------------------------------------------------------------------------
    Case("table-without-rls", "2_x.sql:1", "create table notes (id int primary key);", BASE),
    Case("table-without-rls", "2_x.sql:1", 'CREATE TABLE "public"."My Notes" (id int primary key);',
         'CREATE TABLE "public"."My Notes" (id int primary key); ALTER TABLE ONLY "My Notes" ENABLE ROW LEVEL SECURITY;'
         'CREATE POLICY "Mine" ON "My Notes" FOR SELECT TO authenticated USING (false);'),
    Case("table-without-rls", "2_x.sql:1", "create table notes (id int primary key);",
         "create schema private; create table private.notes (id int primary key); create temp table t (id int);"),
    Case("rls-disabled", "2_x.sql:2", then("", "alter table notes disable row level security;"),
         then("alter table notes disable row level security;", "alter table notes enable row level security;")),
    Case("rls-without-policy", "2_x.sql:1",
         "create table t (id int primary key); alter table t enable row level security;",
         "create table t (id int primary key); alter table t enable row level security;"
         "create policy none on t for select to authenticated using (false);"),
    Case("policies-lost", "2_x.sql:1", then("drop policy notes_read on public.notes;"),
         then("drop policy notes_read on public.notes;",
              "create policy mine on notes for select to authenticated using (user_id = (select auth.jwt()->>'sub'));")),
    Case("policies-lost", "2_x.sql:1",
         {"1_a.sql": "create table t (id int primary key); alter table t enable row level security;",
          "2_x.sql": "do $$ declare p record; begin for p in select * from pg_policies loop\n"
                     "execute format('drop policy %I on %I', p.policyname, p.tablename); end loop; end $$;"},
         then("do $$ declare p record; begin for p in select * from pg_policies loop\n"
              "raise notice '%', format('drop policy %I', p.policyname); end loop; end $$;")),
    Case("redundant-index", "2_x.sql:1", then("create index i on notes (id);"), then("create index i on notes (title);")),
    Case("redundant-index", "2_x.sql:1",
         then("create index i on notes (user_id);", "create index j on notes (user_id, title);"),
         then("create index i on notes (user_id) where title is null;", "create index j on notes (user_id, title);")),
    Case("create-table-if-not-exists", "2_x.sql:1", BASE.replace("create table", "create table if not exists").lstrip(), BASE),
    # What cannot be read ----------------------------------------------------------------------
    Case("statement-not-read", "2_x.sql:2", then("select 1;", "create tabel t (id int); create table \"é\" ();"),
         then("select 1;", "create temp table t (id int);")),
    Case("body-syntax-error", "2_x.sql:3", then(
        f"create function public.f() returns int language plpgsql {SAFE} as $$ begin", "", "  retur 1; end $$;", LOCK.replace("peek", "f")),
         then(f"create function public.f() returns int language plpgsql {SAFE} as $$ begin return 1; end $$;", LOCK.replace("peek", "f"))),
    Case("body-syntax-error", "2_x.sql:2", then(f"create function public.f() returns int language sql {SAFE} as $$", " selec 1 $$;", LOCK.replace("peek", "f")),
         then(f"create function public.f() returns int language sql {SAFE} as $$ select 1 $$;", LOCK.replace("peek", "f"))),
    Case("body-not-read", "2_x.sql:1", then("do $$ begin for x in select 1 loop null; end loop; end $$;"),
         then("do $$ declare x app.y%rowtype; z app.mood[]; begin x.a := 1; for x in select 1 loop null; end loop; end $$;")),
    # Policies ---------------------------------------------------------------------------------
    Case("policy-without-role", "2_x.sql:1", then("create policy p on notes for select using (title = 'a');"),
         then("create policy p on notes for select to authenticated using (title = 'a');")),
    Case("policy-without-role", "2_x.sql:1", then('create policy "to authenticated" on notes for select using (false);'),
         then("create policy p on notes for select using (false);", "alter policy p on notes to authenticated;")),
    Case("policy-true-for-anon", "2_x.sql:1", then("create policy p on notes for select to anon using (true);"),
         then("create policy p on notes for select to authenticated using (true);")),
    Case("policy-true-for-anon", "2_x.sql:1", then("create policy p on notes for select to public using ((1 = 1));"),
         then("create policy p on notes as restrictive for select to anon using (true);")),
    Case("policy-open-write", "2_x.sql:1",
         then("create policy p on notes for insert to authenticated with check (true);"),
         then("create policy p on notes for insert to service_role with check (true);")),
    Case("policy-open-write", "2_x.sql:1", then('create policy "System can manage" on notes for all with check (true);'),
         then("create policy p on notes for delete to authenticated using (user_id = (select auth.jwt() ->> 'sub'));")),
    Case("policy-open-insert", "2_x.sql:1", then("create policy p on notes for insert to anon with check (true);"),
         then("create policy p on notes for insert to anon with check (title = '');")),
    Case("policy-open-insert", "2_x.sql:2",
         then("create table teams (id int primary key, name text); alter table teams enable row level security;",
              "create policy p on teams for insert to authenticated with check (true);"),
         then("create table teams (id int primary key, created_by uuid); alter table teams enable row level security;",
              "create policy p on teams for insert to service_role with check (true);")),
    Case("policy-write-without-check", "2_x.sql:2",
         then("revoke update on notes from authenticated;",
              "create policy p on notes for update to authenticated using (title = 'a');"),
         then("revoke update on notes from authenticated;",
              "create policy p on notes for update to authenticated using (title = 'a') with check (title = 'a');")),
    Case("policy-recursion", "2_x.sql:1",
         then("create policy p on notes for select to authenticated using (exists (select from notes n where n.title = 'a'));"),
         then("create policy p on notes for insert to authenticated with check (exists (select from tags n));")),
    Case("policy-recursion", "2_x.sql:1",
         then("create policy p on notes for insert to authenticated with check (exists (select from notes n));"),
         {"1_base.sql": BASE.replace("(user_id = (select auth.jwt() ->> 'sub'))", "(title <> '')"),
          "2_x.sql": "create policy p on notes for insert to authenticated with check (exists (select from notes n));"}),
    Case("policy-recursion", "2_x.sql:2",
         {"1_base.sql": BASE, "2_x.sql": "create policy p on notes for select to authenticated using (exists (select from tags));\n"
          "create policy q on tags for select to authenticated using (exists (select from public.notes));"},
         {"1_base.sql": BASE, "2_x.sql": "create policy p on notes for select to authenticated using (exists (select from tags));\n"
          "create policy q on tags for select to service_role using (exists (select from public.notes));"}),
    Case("policy-recursion", "2_x.sql:3",
         then("create function public.mine(n uuid) returns boolean language sql set search_path = ''",
              "  begin atomic select exists (select from public.notes where id = n); end;",
              "create policy p on notes for select to authenticated using (mine(id));"),
         then("create function public.mine(n uuid) returns boolean language sql security definer set search_path = ''",
              "  begin atomic select exists (select from public.notes where id = n); end;",
              "create policy p on notes for select to authenticated using (mine(id));",
              "revoke execute on function mine(uuid) from public, anon;")),
    Case("policy-recursion", "2_x.sql:3",
         then("create function public.mine(n uuid) returns boolean language sql set search_path = ''",
              "  begin atomic select exists (select from public.notes where id = n); end;",
              "create policy p on notes for delete to authenticated using (exists (select from notes n where n.id = id));"),
         then("create function public.mine(n uuid) returns boolean language sql set search_path = ''",
              "  begin atomic select exists (select from public.notes where id = n); end;",
              "create policy p on notes for delete to authenticated using (mine(id));")),
    Case("policy-update-all-columns", "2_x.sql:1",
         then("create policy p on notes for update to authenticated using (title = 'a') with check (title = 'a');"),
         then("create policy p on notes for update to authenticated using (title = 'a') with check (title = 'a');",
              "revoke update on notes from authenticated; grant update (title) on notes to authenticated;")),
    Case("policy-user-metadata", "2_x.sql:1",
         then("create policy p on notes for select to authenticated using ((select auth.jwt() -> 'user_metadata' ->> 'role') = 'x');"),
         then("create policy p on notes for select to authenticated using ((select auth.jwt() -> 'app_metadata' ->> 'role') = 'x');")),
    Case("policy-role-in-expression", "2_x.sql:1",
         then("create policy p on notes for select to authenticated using ((select auth.role()) = 'authenticated');"),
         then("create policy p on notes for select to authenticated using (title = 'auth.role()');")),
    Case("policy-nested-on-published", f"2_x.sql:{EVENT_FILE + 1}",
         then(EVENTS, "create policy p on replies for select to authenticated using (exists (select from events));",
              "alter publication supabase_realtime add table replies;"),
         then(EVENTS, "alter publication supabase_realtime add table events;")),
    # Identities -------------------------------------------------------------------------------
    Case("auth-uid-text-column", "2_x.sql:2",
         "create table t (id int primary key, user_id text); alter table t enable row level security;\n"
         "create policy p on t for select to authenticated using ((select auth.uid()) = user_id);",
         "create table t (id int primary key, user_id uuid); alter table t enable row level security;\n"
         "create policy p on t for select to authenticated using ((select auth.uid()) = user_id);"),
    Case("auth-uid-text-column", "2_x.sql:1",
         "create policy p on t for select to authenticated using ((select auth.uid()) = 'user_2abc');",
         "create policy p on t for select to authenticated\n"
         "  using ((select auth.uid()) = '00000000-0000-0000-0000-000000000001');"),
    Case("auth-uid-as-text", "2_x.sql:2",
         "create policy p on t for select to authenticated\n  using (user_id = (select auth.uid())::text);",
         "create policy p on t for select to authenticated\n  using (user_id = (select auth.uid()));"),
    Case("auth-uid-as-text", "2_x.sql:1",
         "create policy p on t for select to authenticated using (user_id = (select cast(auth.uid() as text)));",
         "create policy p on t for select to authenticated using (user_id = (select auth.jwt() ->> 'sub'));"),
    Case("auth-uid-among-text-ids", "2_x.sql:1",
         then("create policy p on other for select to authenticated using (owner = (select auth.uid()));"),
         "create policy p on other for select to authenticated using (owner = (select auth.uid()));"),
    Case("sub-cast-to-uuid", "2_x.sql:1",
         "create policy p on t for select to authenticated using (owner = (select (auth.jwt() ->> 'sub')::uuid));",
         "create policy p on t for select to authenticated using (org = (select (auth.jwt() ->> 'org')::uuid));"),
    Case("claims-cast-unguarded", "2_x.sql:1",
         "create policy p on t for select to authenticated\n"
         " using (owner = (select current_setting('request.jwt.claims', true)::jsonb ->> 'sub'));".replace("\n", ""),
         "create policy p on t for select to authenticated\n"
         " using (owner = (select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'));"),
    Case("policy-uncached-call", "2_x.sql:1",
         "create policy p on t for select to authenticated using (owner = auth.uid());",
         "create policy p on t for select to authenticated using (owner = (select auth.uid()));"),
    Case("policy-uncached-call", "2_x.sql:1",
         "create policy p on t for select to authenticated using (exists (select from u where u.o = auth.uid()));",
         "create policy p on t for select to authenticated using (exists (select from u where u.o = (select auth.uid())));"),
    # Functions --------------------------------------------------------------------------------
    Case("definer-without-search-path", "2_x.sql:1", definer("security definer") + LOCK, definer(SAFE) + LOCK),
    Case("definer-without-search-path", "2_x.sql:1", definer("security definer", "x.peek()"),
         definer("security definer", "x.peek()") + "alter function x.peek() set search_path = '';"),
    Case("function-without-search-path", "2_x.sql:1", definer(""), definer("set search_path to ''")),
    Case("definer-executable-by-public", "2_x.sql:1", definer(SAFE), {"2_x.sql": definer(SAFE), "3_y.sql": LOCK}),
    Case("definer-executable-by-public", "2_x.sql:1",
         definer(SAFE) + "revoke execute on function public.other() from public, anon;",
         "alter default privileges in schema public revoke execute on functions from public, anon;\n" + definer(SAFE)),
    Case("definer-executable-by-public", "2_x.sql:1", definer(SAFE) + "revoke usage on schema public from public;",
         definer(SAFE) + "do $$ declare f regprocedure; begin foreach f in array array['public.peek()'] loop\n"
         "execute format('revoke execute on function %s from public, anon', f); end loop; end $$;"),
    Case("definer-executable-limited", "2_x.sql:1", then(definer(SAFE).replace("1", "current_setting('request.jwt.claims')")),
         then(definer(SAFE) + LOCK)),
    *(Case("dynamic-sql-injection", "2_x.sql:2", then(
         f"create function look(what text) returns void language plpgsql {SAFE} as $$ begin",
         f"execute {planted}; end $$;"), then(
         f"create function look(what text) returns void language plpgsql {SAFE} as $$ begin",
         f"execute {healthy}; end $$; revoke execute on function look(text) from public, anon;"))
      for planted, healthy in BUILT),
    Case("dynamic-sql-concatenated", "2_x.sql:2",
         then("create function look(what text) returns void language plpgsql set search_path = '' as $$ begin",
              "execute 'select ' || coalesce(what, ''); end $$;"),
         then("create function look(what int) returns void language plpgsql set search_path = '' as $$ begin",
              "execute 'select ' || coalesce(what, 1); end $$;")),
    Case("auth-trigger-without-search-path", "2_x.sql:1",
         then("create function joined() returns trigger language plpgsql as $$ begin insert into notes (title)",
              " values (new.email); return new; end $$;",
              "create trigger j after insert on auth.users for each row execute function public.joined();"),
         then("create function joined() returns trigger language plpgsql set search_path = '' as $$ begin",
              " return new; end $$;",
              "create trigger j after insert on auth.users for each row execute function public.joined();")),
    Case("definer-executable-by-anon", "2_x.sql:1",
         definer(SAFE) + "revoke all on function public.peek() from public;", definer(SAFE) + LOCK),
    Case("overload-ambiguous", "2_x.sql:2",
         definer("set search_path = ''", "public.f(a int, b text)") + "\n"
         + definer("set search_path = ''", "public.f(a integer, b text, c int default 1)"),
         definer("set search_path = ''", "public.f(a int, b text)") + "\n"
         + definer("set search_path = ''", "public.f(a uuid, b text, c int default 1)")),
    Case("overload-left-behind", "2_x.sql:1",
         {"1_a.sql": definer("set search_path = ''", "public.f(a int)"),
          "2_x.sql": definer("set search_path = ''", "public.f(a int, b int)").replace("create", "create or replace", 1)},
         {"1_a.sql": definer("set search_path = ''", "public.f(a int)"),
          "2_x.sql": "drop function public.f(int);\n"
          + definer("set search_path = ''", "public.f(a int, b int)").replace("create", "create or replace", 1)}),
    Case("overload-left-behind", "2_x.sql:1",
         {"1_a.sql": definer("set search_path = ''", "public.f(a int)"),
          "2_x.sql": definer("set search_path = ''", "public.f(a int, b int)").replace("create", "create or replace", 1)},
         definer("set search_path = ''", "public.f(a int)")
         + definer("set search_path = ''", "public.f(a int, b int)").replace("create", "create or replace", 1)),
    Case("replace-loses-settings", "2_x.sql:1",
         {"1_a.sql": definer(SAFE) + LOCK, "2_x.sql": definer("set search_path = ''").replace("create", "create or replace", 1)},
         {"1_a.sql": definer(SAFE) + LOCK, "2_x.sql": definer(SAFE).replace("create", "create or replace", 1)}),
    Case("calls-unknown-function", "2_x.sql:2",
         definer("set search_path = ''") + "create function public.g() returns int language plpgsql set search_path = '' as\n"
         "  $$ begin return public.peak(); end $$;",
         definer("set search_path = ''") + "create function public.g() returns int language plpgsql set search_path = '' as\n"
         "  $$ begin insert into public.elsewhere (a) values (1); return public.peek(); end $$;"),
    Case("calls-unknown-function", "2_x.sql:1",
         then(definer("set search_path = ''") + "create trigger t after insert on notes for each row execute function peak();"),
         {"1_base.sql": BASE, "2_x.sql": "create trigger t after insert on notes for each row execute function peak();"}),
    # Views ------------------------------------------------------------------------------------
    Case("view-without-security-invoker", "2_x.sql:1", then("create view v as select title from notes;"),
         then("create view v with (security_invoker = true) as select title from notes;")),
    Case("view-without-security-invoker", "2_x.sql:1",
         then('create or replace view "V" as with n as (select * from public.notes) select * from n;'),
         then('create or replace view "V" as select * from public.notes;', 'alter view "V" set (security_invoker = on);')),
    Case("view-granted-past-row-security", "2_x.sql:1",
         then("create view v as select title from notes;", "grant select on v to authenticated;"),
         then("create view v with (security_invoker = true) as select title from notes;", "grant select on v to authenticated;")),
    Case("materialized-view-exposed", "2_x.sql:1", then("create materialized view v as select title from notes;"),
         then("create materialized view v as select title from notes;", "revoke all on v from anon, authenticated;")),
    Case("view-exposes-auth-users", "2_x.sql:1", "create view v as select u.email from auth.users u;",
         "create view v as select 'auth.users'::text as source;"),
    # Grants -----------------------------------------------------------------------------------
    Case("grant-write-to-anon", "2_x.sql:2",
         then("create policy p on notes for update to anon using (true);", "GRANT ALL ON TABLE public.notes TO anon;"),
         then("GRANT ALL ON TABLE public.notes TO service_role, authenticated;")),
    Case("grant-write-to-anon", "2_x.sql:2",
         then("alter table notes disable row level security;", "grant insert, select on all tables in schema public to anon;"),
         then("revoke insert, select on all tables in schema public from anon;")),
    Case("grant-write-to-anon", "2_x.sql:2",
         then("create view v as select * from notes;", "grant update on v to anon;"),
         then("create view v with (security_invoker = true) as select * from notes;", "grant update on v to service_role;")),
    Case("grant-write-to-anon-unjudged", "2_x.sql:1", then("grant all on elsewhere to anon;"),
         then("grant all on elsewhere to service_role;")),
    Case("grant-to-anon-behind-policies", "2_x.sql:1", then("GRANT ALL ON TABLE public.notes TO anon, authenticated;"),
         then("GRANT ALL ON TABLE public.notes TO service_role, authenticated;")),
    Case("grant-to-anon-behind-policies", "2_x.sql:1", then("grant select on all tables in schema public to anon;"),
         then("grant select on all tables in schema public to authenticated;")),
    Case("grant-select-to-anon", "2_x.sql:2",
         then("create policy p on notes for select to anon using (title = '');", "grant select (id) on notes to anon;"),
         then("grant usage on schema public to anon;")),
    Case("grant-definer-to-anon", "2_x.sql:2",
         then(definer(SAFE) + LOCK, "grant execute on function public.peek() to anon;"),
         then(definer("set search_path = ''") + LOCK, "grant execute on function public.peek() to anon;")),
    Case("grant-to-public", "2_x.sql:1", then("grant select on notes to public;"),
         then("grant select on notes to service_role;")),
    Case("default-privileges-to-anon", "2_x.sql:1",
         "alter default privileges for role postgres in schema public grant all on tables to postgres, anon;",
         "alter default privileges for role postgres in schema public revoke all on tables from anon;"),
    # The platform's, and the server's ---------------------------------------------------------
    *(Case("platform-object", "2_x.sql:2", then("", planted), then("", healthy)) for planted, healthy in BARRED),
    Case("platform-object", "2_x.sql:1", "create schema if not exists auth; create table auth.t (id int primary key);",
         "create schema auth; create table auth.t (id int primary key);"),
    Case("platform-object", "rollbacks/2_x.sql:1", pair("create policy p on storage.objects for select to authenticated using (false);",
                                                        "alter table storage.objects disable row level security;"),
         pair("create policy p on storage.objects for select to authenticated using (false);", "drop policy p on storage.objects;")),
    Case("server-files", "2_x.sql:2", then("", "copy (select 1) to program 'env > f';"), then("", "copy notes from stdin;\n\\.")),
    Case("server-files", "2_x.sql:2", then("", "copy public.notes from '/etc/passwd';"), then("", "copy notes to stdout;")),
    Case("server-files", "2_x.sql:2", then("do $$ begin", "perform pg_read_file('x'); end $$;"),
         then("do $$ begin", "perform my.pg_read_file('x'); end $$;")),
    Case("server-files", "2_x.sql:1", then("create extension file_fdw;"), then("create extension postgres_fdw;")),
    Case("untrusted-language", "2_x.sql:1", then(definer(SAFE).replace("language sql", "language plpython3u"), LOCK),
         then(definer(SAFE), LOCK)),
    Case("untrusted-language", "2_x.sql:1", then("create extension plperlu;"), then("create extension plperl;")),
    Case("alter-system", "2_x.sql:2", "-- toolkit: transaction=false\nalter system set work_mem = '1GB';",
         "alter database postgres set work_mem = '1GB';"),
    # Publications -----------------------------------------------------------------------------
    Case("publication-recreated", "2_x.sql:1",
         then("drop publication if exists supabase_realtime;", "create publication supabase_realtime for table notes;"),
         then("alter publication supabase_realtime add table notes;")),
    Case("publication-recreated", "2_x.sql:2", "do $$ begin\ndrop publication supabase_realtime;\nend $$;",
         "comment on publication supabase_realtime is 'drop publication supabase_realtime;';"),
    Case("publication-dropped", "2_x.sql:1", "drop publication warehouse;",
         pair("create publication warehouse for table x.t;", "drop publication warehouse;")),
    Case("publication-all-tables", "2_x.sql:1", "create publication p for all tables;", "create publication p for table x.t;"),
    Case("publication-set-table", "2_x.sql:1", then("alter publication supabase_realtime set table only notes;"),
         then("alter publication supabase_realtime add table only notes;")),
    Case("publication-without-operations", "2_x.sql:1", "create publication p for table x.t with (publish = 'insert');",
         "create publication p for table x.t with (publish = 'insert, update, delete');"),
    Case("publication-without-operations", "2_x.sql:1", "alter publication supabase_realtime set (publish = 'insert, update');",
         "alter publication supabase_realtime set (publish = 'insert,update,delete,truncate');"),
    Case("publication-member-dropped", "2_x.sql:1", "alter publication supabase_realtime drop table x.t;",
         pair("alter publication supabase_realtime add table x.t;", "alter publication supabase_realtime drop table x.t;")),
    Case("published-table-replaced", "2_x.sql:3",
         then("alter publication supabase_realtime add table notes;", "drop table notes;", BASE.strip()),
         then("alter publication supabase_realtime add table notes;", "drop table notes;", BASE.strip(),
              "alter publication supabase_realtime add table notes;")),
    Case("published-table-replaced", "2_x.sql:3",
         {"1_base.sql": BASE + "alter publication supabase_realtime add table notes;",
          "2_x.sql": "alter table notes rename to notes_old;\n\n" + BASE.strip()},
         {"1_base.sql": BASE + "alter publication supabase_realtime add table notes;",
          "2_x.sql": "alter table notes rename to notes_old;\n" + BASE + "alter publication supabase_realtime add table notes;"}),
    Case("replica-identity-full", "2_x.sql:1", then("alter table notes replica identity full;"),
         then("alter table notes replica identity default;")),
    Case("replica-identity-nothing", "2_x.sql:1", then("alter table only notes replica identity nothing;"),
         then("alter table only notes replica identity using index notes_pkey;")),
    Case("published-without-key", "2_x.sql:1",
         {"1_a.sql": BASE.replace(" primary key", ""), "2_x.sql": "alter publication supabase_realtime add table notes;"},
         then("alter publication supabase_realtime add table notes;")),
    Case("published-without-key", "2_x.sql:1",
         then("alter publication supabase_realtime add table notes;", "alter table notes drop constraint notes_pkey;"),
         then("alter publication supabase_realtime add table notes;", "alter table notes drop constraint notes_pkey;",
              "alter table notes add primary key (id);")),
    # Events and triggers ----------------------------------------------------------------------
    Case("max-plus-one-numbering", "2_x.sql:2",
         "create function public.next() returns int language sql set search_path = '' as $$\n"
         "  select coalesce(max(n), 0) + 1 from public.t $$;",
         "create function public.next() returns int language sql set search_path = '' as $$\n"
         "  select max(n) from public.t /* max(n) + 1 */ where 'max(n) + 1' <> '' $$;"),
    Case("before-insert-writes-child", f"2_x.sql:{EVENT_FILE + 5}", then(EVENTS, trigger(INSERT, "before insert")),
         then(EVENTS, trigger(INSERT))),
    Case("before-insert-writes-child", f"2_x.sql:{EVENT_FILE + 5}",
         then(EVENTS, trigger(f"if tg_op = 'UPDATE' then new.title := ''; end if; {INSERT}", "before insert or update")),
         then(EVENTS, trigger(f"if tg_op = 'UPDATE' then {INSERT} end if;", "before insert or update"))),
    Case("before-insert-writes-child", f"2_x.sql:{EVENT_FILE + 5}",
         then(EVENTS, trigger(f"case tg_op when 'DELETE' then null; else {INSERT} end case;", "before insert or update")),
         then(EVENTS, trigger(f"if tg_op <> 'UPDATE' then return new; end if; {INSERT}", "before insert or update"))),
    Case("trigger-writes-as-caller", f"2_x.sql:{EVENT_FILE + 8}",
         then(EVENTS, CHANGES, "create policy i on events for insert to service_role with check (payload is not null);",
              trigger(INSERT, options="set search_path = ''")),
         then(EVENTS, CHANGES, "create policy i on events for insert to authenticated with check (payload is not null);",
              trigger(INSERT, options="set search_path = ''"))),
    Case("trigger-writes-as-caller", f"2_x.sql:{EVENT_FILE + 5}",
         then(EVENTS, trigger(INSERT, options="set search_path = ''")), then(EVENTS, trigger(INSERT))),
    Case("whole-row-in-event", f"2_x.sql:{EVENT_FILE + 2}",
         then(EVENTS, trigger("insert into public.events (note_id, payload) values (new.id, to_jsonb(new));")),
         then(EVENTS, trigger(INSERT))),
    Case("whole-row-in-event", f"2_x.sql:{EVENT_FILE + 2}",
         then(EVENTS, trigger("perform pg_notify('x', jsonb_build_object('d', new.data)::text);")),
         then(EVENTS, trigger("perform pg_notify('x', jsonb_build_object('d', new.id)::text); new.data := '{}';"))),
    Case("backfill-fires-trigger", f"2_x.sql:{EVENT_FILE + 6}",
         then(EVENTS, trigger(INSERT, "after insert or update"), "update public.notes set title = '';"),
         then("update public.notes set title = '';", EVENTS, trigger(INSERT, "after insert or update"))),
    Case("backfill-fires-trigger", f"2_x.sql:{EVENT_FILE + 6}",
         then(EVENTS, trigger(f"if tg_op = 'UPDATE' then {INSERT} end if;", "before insert or update"),
              "update public.notes set title = '';"),
         then(EVENTS, trigger(f"if tg_op = 'DELETE' then {INSERT} end if;", "before update or delete"),
              "update public.notes set title = '';")),
    Case("backfill-fires-trigger", f"2_x.sql:{EVENT_FILE + 6}",
         then(EVENTS, trigger("new.changed := now();", "before update"), "update public.notes set title = '';"),
         then(EVENTS, trigger("new.title := lower(new.title);", "before update"), "update public.notes set title = '';")),
    Case("delete-blocked-by-foreign-key", f"2_x.sql:{EVENT_FILE + 2}",
         then(EVENTS.replace(" on delete cascade", ""),
              "create function public.tidy() returns void language sql set search_path = '' as $$\n"
              "  delete from public.notes where title = '' $$;"),
         then(EVENTS, "create function public.tidy() returns void language sql set search_path = '' as $$\n"
              "  delete from public.notes where title = '' $$;")),
    Case("on-conflict-without-key", f"2_x.sql:{EVENT_FILE + 2}",
         then(EVENTS, "create function public.put(n uuid) returns void language sql set search_path = '' as $$\n"
              "  insert into public.events (note_id, seq) values (n, 1) on conflict (seq) do nothing $$;"),
         then(EVENTS, "create function public.put(n uuid) returns void language sql set search_path = '' as $$\n"
              "  insert into public.events (note_id, seq) values (n, 1) on conflict (seq, note_id) do nothing $$;")),
    # Order ------------------------------------------------------------------------------------
    Case("used-before-created", "0_clerk.sql:1",
         {"1_base.sql": BASE, "0_clerk.sql": "alter table notes alter column user_id type text;"},
         {"1_base.sql": BASE, "2_clerk.sql": "alter table notes alter column user_id type text;"}),
    Case("used-before-created", "2_x.sql:1",
         "create table x.child (id int references notes (id));\n" + BASE,
         BASE + "create table x.child (id int references notes (id), up int references x.child (id));"),
    Case("created-twice", "2_x.sql:1", then(BASE.strip()), then("drop table public.notes;", BASE)),
    # Enums ------------------------------------------------------------------------------------
    Case("enum-value-used-at-once", "2_x.sql:2",
         {"1_m.sql": MOODS, "2_x.sql": "alter type mood add value 'calm';\nupdate x.moods set now = 'calm' where id = 1;"},
         {"1_m.sql": MOODS, "2_x.sql": "alter type mood add value 'calm';", "3_y.sql": "update x.moods set now = 'calm' where id = 1;"}),
    Case("enum-value-used-at-once", "2_x.sql:3",
         {"1_m.sql": MOODS, "2_x.sql": "alter type public.mood add value if not exists 'calm' before 'a';\n"
                                       "comment on type mood is 'calm';\nselect 'calm'::mood;"},
         {"1_m.sql": MOODS, "2_x.sql": "alter type public.mood add value if not exists 'calm' before 'a';\n"
                                       "comment on type mood is 'calm';\ninsert into x.words (word) values ('calm');"}),
    Case("enum-value-used-at-once", "2_x.sql:2",
         {"1_m.sql": MOODS, "2_x.sql": "alter type mood add value 'calm';\n"
                                       "alter table x.moods alter column now set default 'calm';"},
         {"1_m.sql": MOODS, "2_x.sql": "create type mode as enum ('a'); alter type mode add value 'calm';\n"
                                       "create table x.modes (id int primary key, now mode default 'calm');"}),
    Case("enum-value-used-at-once", "2_x.sql:3",
         {"1_m.sql": MOODS, "2_x.sql": "begin;\nalter type mood add value 'calm';\n"
                                       "do $$ begin insert into x.moods values ('calm'); end $$;\ncommit;"},
         {"1_m.sql": MOODS, "2_x.sql": "-- toolkit: transaction=false\nalter type mood add value 'calm';\n"
                                       "insert into x.moods values ('calm');"}),
    # Rollbacks --------------------------------------------------------------------------------
    Case("rollback-incomplete", "rollbacks/2_x.sql:1",
         pair(BASE + "create type mood as enum ('a');", "-- destroys: table notes\ndrop table notes;"),
         pair(BASE + "create type mood as enum ('a');", "-- destroys: table notes\ndrop table notes;drop type public.mood;")),
    Case("rollback-incomplete", "rollbacks/2_x.sql:1",
         {"1_base.sql": BASE, **pair(EVENTS + trigger(INSERT), "-- destroys: table events\ndrop table events;")},
         {"1_base.sql": BASE, "rollbacks/1_base.sql": "-- destroys: table notes\ndrop table notes;",
          **pair(EVENTS + trigger(INSERT), "-- destroys: table events\ndrop trigger log on notes;\n"
                 "drop function log();\ndrop table events;")}),
    Case("rollback-incomplete", "rollbacks/2_x.sql:1",
         pair("alter table x.t add column a int, add column b int;\ncreate index i on x.t (b);",
              "-- destroys: column x.t.a\nalter table x.t drop column a;"),
         pair("alter table x.t add column a int, add constraint a_small check (a < 9);\ncreate index i on x.t (a);",
              "-- destroys: column x.t.a\nalter table x.t drop column a;")),
    Case("rollback-incomplete", "rollbacks/2_x.sql:1",
         pair("create table x.p (id int) partition by list (id); create table x.p1 partition of x.q for values in (1);",
              "-- destroys: table x.p\ndrop table x.p;"),
         pair("create table x.p (id int) partition by list (id); create table x.p1 partition of x.p for values in (1);"
              "create policy l on x.p1 for select to authenticated using (false);",
              "-- destroys: table x.p\ndrop table x.p;")),
    Case("rollback-cascade", "rollbacks/2_x.sql:2", pair(BASE, "-- destroys: table notes\ndrop table notes cascade;"),
         pair(BASE, "-- destroys: table notes\ndrop table notes;")),
    Case("rollback-if-exists", "rollbacks/2_x.sql:2", pair(BASE, "-- destroys: table notes\ndrop table if exists notes;"),
         pair("-- toolkit: transaction=false\ncreate index concurrently i on x.t (c);",
              "-- toolkit: transaction=false\ndrop index concurrently if exists x.i;")),
    Case("rollback-destroys-undeclared", "rollbacks/2_x.sql:1", pair(BASE, "drop table notes;"),
         pair(BASE, "-- destroys: table notes\ndrop table notes;")),
    Case("rollback-destroys-undeclared", "rollbacks/2_x.sql:2",
         pair("alter table x.t add column a int, add column b int;",
              "-- destroys: column x.t.a\nalter table x.t drop column a, drop column b;"),
         pair("alter table x.t add column a int, add column b int;",
              "-- destroys: columns x.t (a, b)\nalter table x.t drop column a, drop column b;")),
    Case("rollback-declares-too-much", "rollbacks/2_x.sql:1",
         pair(BASE, "-- destroys: table notes\n-- destroys: table others\ndrop table notes;"),
         pair(BASE, "-- destroys: table notes\n-- destroys: rows others\ndrop table notes;")),
    Case("enum-value-stays", "2_x.sql:1", pair("alter type mood add value 'b';", "select 1;"),
         pair("create type mood as enum ('a');\nalter type mood add value 'b';", "drop type mood;")),
    # Files and suppressions -------------------------------------------------------------------
    Case("refused-file", "2_x.sql:2", "select 1;\ncommit;", "select 'commit;';"),
    Case("refused-file", "2_x.sql:1", "create index concurrently i on x.t (c);",
         "-- toolkit: transaction=false\ncreate index concurrently i on x.t (c);"),
    Case("refused-file", "2_x.sql:2", "select 1;\nselect 'never ends;", "select 1;\nselect 'ends';"),
    Case("suppression-without-reason", "2_x.sql:2",
         "select 1;\n-- toolkit: lint-ignore table-without-rls\ncreate table t (id int primary key);",
         "select 1;\n-- toolkit: lint-ignore table-without-rls read by nobody\ncreate table t (id int primary key);"),
    Case("suppression-unused", "2_x.sql:2",
         "select 1;\n-- toolkit: lint-ignore table-without-rsl typing is hard\nselect 2;",
         "select 1;\n-- toolkit: lint-ignore-nothing\nselect 2;"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_planted_defect_is_found_at_its_line(case: Case, look: Look) -> None:
    assert f"{case.rule} {case.at}" in told(look(case.planted))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_in_the_healthy_neighbour_nothing_is_found(case: Case, look: Look) -> None:
    assert told(look(case.healthy)) == set()
