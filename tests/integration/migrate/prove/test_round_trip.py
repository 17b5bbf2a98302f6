"""The round-trip proof: it holds for rollbacks that undo, and fails for every rollback that only looks like one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.migrate.prove.conftest import SubjectOf, refuted, said
from toolkit.migrate.prove import round_trip
from toolkit.migrate.prove.subject.claims import Claim, Level, Outcome
from toolkit.resources import migrations_dir

# Something of everything, so that each plant is one or two lines.
START = """
create schema app; grant usage on schema app to anon; grant create on schema app to service_role;
create table app.t (
  id integer primary key, a text default 'x', b text not null, owner_id integer references app.t on delete cascade,
  constraint a_is_short check (length(a) < 100));
comment on column app.t.a is 'what it is';
create index t_b on app.t (b);
alter table app.t enable row level security;
create policy everybody on app.t to authenticated using (true);
create sequence app.s owned by app.t.id;
create function app.f() returns trigger language plpgsql security definer set search_path = '' as
  $$ begin return new; end $$;
create trigger touch before update on app.t for each row execute function app.f();
create view app.v with (security_invoker = true) as select id, a from app.t;
create domain app.short as text check (length(value) < 10);
create materialized view app.mv as select id from app.t;
create table app.w (id integer primary key, one text, two text);
create table app."Odd Name" ("Key" integer generated always as identity primary key, "ö" text);
alter publication supabase_realtime add table app.t (id, a) where (id > 0);
"""

# id: (up, down, what our facts must say, what pg_dump must say). Each rollback leaves, loses or changes one thing;
# those of a group meet on one copy, since they do not touch each other.
NOTHING = "select 'forgotten'"
PLANTS = {
    "left behind": {
        "enum label": (
            "create type app.e as enum ('a'); alter table app.t add e app.e;",
            "alter table app.t drop e",
            "added: enum app.e",
            "CREATE TYPE app.e",
        ),
        "function": (
            "create or replace function app.g() returns int language sql as 'select 1'",
            NOTHING,
            "added: function app.g()",
            "CREATE FUNCTION app.g()",
        ),
        "trigger": (
            "create or replace trigger late after insert on app.t for each row execute function app.f()",
            NOTHING,
            "added: trigger app.t.late",
            "CREATE TRIGGER late",
        ),
        "policy": (
            "create policy p on app.t to anon using (false)",
            NOTHING,
            "added: policy app.t.p",
            "CREATE POLICY p",
        ),
        "table grant": (
            "grant select on app.t to anon",
            NOTHING,
            "grant on table app.t to anon",
            "GRANT SELECT ON TABLE app.t TO anon",
        ),
        "column grant": (
            "grant update (a) on app.t to anon",
            "revoke update (b) on app.t from anon",
            "grant on column app.t.a to anon",
            "GRANT UPDATE(a) ON TABLE app.t TO anon",
        ),
        "execute": (
            "grant execute on function app.f() to anon",
            NOTHING,
            "grant on function app.f() to anon",
            "GRANT ALL ON FUNCTION app.f() TO anon",
        ),
        "schema grant": (
            "grant create on schema app to authenticated",
            NOTHING,
            "grant on schema app to authenticated",
            "GRANT CREATE ON SCHEMA app TO authenticated",
        ),
        "default privilege": (
            "alter default privileges in schema app grant select on tables to anon",
            NOTHING,
            "default privileges",
            "ALTER DEFAULT PRIVILEGES",
        ),
        "index": ("create index late on app.t (a)", NOTHING, "added: index app.late", "CREATE INDEX late"),
        "extension": (
            "create extension if not exists pg_trgm schema app",
            NOTHING,
            "added: extension pg_trgm",
            "CREATE EXTENSION IF NOT EXISTS pg_trgm",
        ),
        "extended statistics": (
            "create statistics app.st on a, b from app.t",
            NOTHING,
            "app.st",
            "CREATE STATISTICS app.st",
        ),
        "rule": (
            "create or replace rule r as on delete to app.t do also select 1",
            NOTHING,
            "added: rule app.t.r",
            "CREATE RULE r",
        ),
    },
    "changed and not changed back": {
        "trigger disabled": (
            "alter table app.t disable trigger touch",
            NOTHING,
            "changed: trigger app.t.touch: enabled",
            "DISABLE TRIGGER touch",
        ),
        "replica identity": ("alter table app.t replica identity full", NOTHING, "replica", "REPLICA IDENTITY FULL"),
        "comment": (
            "comment on column app.t.a is 'new'",
            "comment on column app.t.a is null",
            "removed: comment on table column app.t.a",
            "COMMENT ON COLUMN app.t.a",
        ),
        "row level security": (
            "alter table app.t disable row level security",
            NOTHING,
            "row_security",
            "ALTER TABLE app.t ENABLE ROW LEVEL SECURITY",
        ),
        "row level security forced": (
            'alter table app."Odd Name" force row level security',
            NOTHING,
            "Odd Name",
            'ONLY app."Odd Name" FORCE ROW LEVEL SECURITY',
        ),
        "sequence's owner": ("alter sequence app.s owned by none", NOTHING, "app.s", "OWNED BY app.t.id"),
        "statistics target": ("alter table app.t alter a set statistics 500", NOTHING, "500", "SET STATISTICS 500"),
        "storage": (
            "alter table app.t alter b set storage external",
            NOTHING,
            "column app.t.b",
            "SET STORAGE EXTERNAL",
        ),
        "default": (
            "alter table app.t alter a set default 'y'",
            "alter table app.t alter a drop default",
            "column app.t.a: default",
            "a text DEFAULT 'x'",
        ),
        "NOT NULL": ("alter table app.t alter b drop not null", NOTHING, "column app.t.b", "b text NOT NULL"),
        "storage parameter": ("alter table app.t set (fillfactor = 70)", NOTHING, "fillfactor", "fillfactor='70'"),
        "owner": (
            "alter table app.t owner to service_role",
            NOTHING,
            "postgres → service_role",
            "ALTER TABLE app.t OWNER TO service_role",
        ),
        "identity": (
            'alter table app."Odd Name" alter "Key" set generated by default',
            NOTHING,
            'column app."Odd Name"."Key"',
            "GENERATED BY DEFAULT AS IDENTITY",
        ),
        "publication's member": (
            "alter publication supabase_realtime drop table app.t",
            NOTHING,
            "removed: publication supabase_realtime table app.t",
            "ALTER PUBLICATION",
        ),
    },
    "came back as something else": {
        "index": (
            "drop index app.t_b",
            "create index t_b on app.t (a)",
            "changed: index app.t_b",
            "CREATE INDEX t_b ON app.t USING btree (a)",
        ),
        "constraint not validated": (
            "alter table app.t drop constraint a_is_short",
            "alter table app.t add constraint a_is_short check (length(a) < 100) not valid",
            "a_is_short",
            "NOT VALID",
        ),
        "foreign key without cascade": (
            "alter table app.t drop constraint t_owner_id_fkey",
            "alter table app.t add constraint t_owner_id_fkey foreign key (owner_id) references app.t",
            "t_owner_id_fkey",
            "ADD CONSTRAINT t_owner_id_fkey",
        ),
        "view option": (
            "drop view app.v",
            "create view app.v as select id, a from app.t",
            "security_invoker",
            "security_invoker='true'",
        ),
        "function setting": (
            "alter function app.f() set search_path = app",
            "create or replace function app.f() returns trigger language plpgsql security definer as"
            " $$ begin return new; end $$",
            "function app.f()",
            "SET search_path TO ''",
        ),
        "policy for everybody": (
            "drop policy everybody on app.t",
            "create policy everybody on app.t using (true)",
            'policy app.t.everybody: roles ["authenticated"]',
            "CREATE POLICY everybody ON app.t USING (true)",
        ),
        "domain without check": (
            "alter domain app.short drop constraint short_check",
            NOTHING,
            "short_check",
            "CONSTRAINT short_check",
        ),
        "publication's row filter": (
            "alter publication supabase_realtime set table app.t",
            "alter publication supabase_realtime set table app.t (id, a)",
            "publication supabase_realtime table app.t",
            "WHERE ((id > 0))",
        ),
        "materialized view's column": (
            "drop materialized view app.mv",
            "create materialized view app.mv as select id, b from app.t",
            "app.mv",
            "SELECT id",
        ),
    },
    "an enum that stops the next up": {
        "enum": (
            "create type app.mood as enum ('up'); create table app.m (x app.mood)",
            "drop table app.m",
            "added: enum app.mood",
            "CREATE TYPE app.mood",
        ),
    },
    "columns in another order": {
        "column": ("alter table app.w drop one", "alter table app.w add one text", "column app.w.one", "one text"),
    },
}

# Each rollback undoes everything, by another road where there is one.
HEALTHY = {
    "what was made is dropped, what was given is taken": (
        "create type app.mood as enum ('up'); create table app.m (id int primary key, x app.mood);"
        "create function app.g() returns int language sql as 'select 1'; create index late on app.m (x);"
        "create policy p on app.m using (true); alter publication supabase_realtime add table app.m;"
        "create extension pg_trgm; create statistics app.st on a, b from app.t;"
        "create trigger late after insert on app.t for each row execute function app.f();"
        "grant select, insert on app.t to anon; grant update (a) on app.t to anon;"
        "revoke usage on schema app from anon; grant create on schema app to anon;"
        "alter default privileges in schema app grant select on tables to anon;"
        "revoke execute on function app.f() from public; alter table app.t owner to service_role",
        "alter table app.t owner to current_user; grant execute on function app.f() to public;"
        "revoke create on schema app from anon; grant usage on schema app to anon;"
        "alter default privileges in schema app revoke select on tables from anon;"
        "revoke all on app.t from anon; revoke update (a) on app.t from anon;"
        "drop trigger late on app.t; drop statistics app.st; drop extension pg_trgm;"
        "drop table app.m; drop function app.g(); drop type app.mood",
    ),
    "what was changed is changed back, what was dropped is made again": (
        "alter table app.w rename one to renamed; alter table app.t add extra text;"
        "alter table app.t alter b drop not null; alter table app.t replica identity full;"
        "alter table app.t disable trigger touch; drop index app.t_b; alter table app.t set (fillfactor = 70);"
        "alter table app.t alter b set statistics 7; drop policy everybody on app.t;"
        "comment on column app.t.a is 'new'; alter sequence app.s owned by none;"
        "alter domain app.short set default ''; drop view app.v; alter table app.t drop constraint a_is_short;"
        "alter publication supabase_realtime drop table app.t; drop materialized view app.mv",
        "create view app.v with (security_invoker = true) as select id, a from app.t;"
        "create materialized view app.mv as select id from app.t;"
        "alter table app.t add constraint a_is_short check (length(a) < 100) not valid;"
        "alter table app.t validate constraint a_is_short; alter domain app.short drop default;"
        "alter publication supabase_realtime add table app.t (id, a) where (id > 0);"
        "alter sequence app.s owned by app.t.id; comment on column app.t.a is 'what it is';"
        "create policy everybody on app.t to authenticated using (true); alter table app.t alter b set statistics -1;"
        "alter table app.t reset (fillfactor); create index t_b on app.t (b); alter table app.t enable trigger touch;"
        "alter table app.t replica identity default; alter table app.t alter b set not null;"
        "alter table app.t drop extra; alter table app.w rename renamed to one",
    ),
}
# What the rollbacks above have to declare, by a word that shows which of them it is.
HEADERS = {
    "drop table app.m": "-- destroys: table app.m\n",
    "drop e;": "-- destroys: column app.t.e\n",
    "drop extra": "-- destroys: columns app.t (extra)\n-- destroys: columns app.w (renamed)\n",
}


def pair(up: str, down: str) -> dict[str, str]:
    header = "".join(declared for word, declared in HEADERS.items() if word in down)
    return {"1_x.sql": up, "rollbacks/1_x.sql": header + down}


def claim(outcome: Outcome, part: str) -> Claim:
    (found,) = [claim for claim in outcome.claims if claim.id == f"round-trip-1-{part}"]
    return found


@pytest.mark.parametrize("group", PLANTS)
async def test_a_rollback_that_is_not_the_inverse_is_caught(subject_of: SubjectOf, group: str) -> None:
    plants = PLANTS[group].values()
    files = pair(";\n".join(plant[0] for plant in plants), ";\n".join(plant[1] for plant in plants))
    outcome = await round_trip.run(await subject_of(files, start=START, rows_each=2), "1")
    ours, theirs = (claim(outcome, part) for part in ("back", "back-dump"))
    # Each oracle sees each of them with its own eyes.
    for name, (_, _, fact, line) in PLANTS[group].items():
        assert fact in "\n".join(ours.violations), name
        assert line in "\n".join(theirs.violations), name
    assert not claim(outcome, "oracles").violations
    assert ours.remedy
    assert claim(outcome, "rows").basis == "without rows it is refuted already"
    runs = claim(outcome, "runs").violations
    if group == "an enum that stops the next up":
        assert runs == ('up again: 1_x.sql:1, statement 1: type "mood" already exists [42710]',)


@pytest.mark.parametrize("neighbour", HEALTHY)
async def test_a_rollback_that_undoes_everything_is_proved(subject_of: SubjectOf, neighbour: str) -> None:
    up, down = HEALTHY[neighbour]
    outcome = await round_trip.run(await subject_of(pair(up, down), start=START, rows_each=2), "1")
    assert said(outcome) == ""
    assert {claim.id.removeprefix("round-trip-1-"): claim.level for claim in outcome.claims} == {
        "runs": Level.PROVED,
        "back": Level.PROVED,
        "back-dump": Level.PROVED,
        "again": Level.PROVED,
        "again-dump": Level.PROVED,
        "oracles": Level.PROVED,
        "rows": Level.SAMPLED,
    }


async def test_a_rollback_that_fails_only_with_rows_is_caught(subject_of: SubjectOf) -> None:
    files = pair("alter table public.r drop b", "alter table public.r add b text not null")
    start = "create table public.r (id integer primary key, b text not null)"
    outcome = await round_trip.run(await subject_of(files, start=start), "1")
    assert [claim.id for claim in refuted(outcome)] == ["round-trip-1-rows"]
    assert claim(outcome, "rows").violations[0].startswith("down: 1_x.sql:1, statement 1: ")
    assert "[23502]" in said(outcome)


async def test_what_differs_only_with_rows_is_caught(subject_of: SubjectOf) -> None:
    files = pair(
        "select 1",
        "do $$ begin if exists (select from public.r) then create table public.left_behind (); end if; end $$",
    )
    outcome = await round_trip.run(await subject_of(files, start="create table public.r (id integer primary key)"), "1")
    assert [claim.id for claim in refuted(outcome)] == ["round-trip-1-rows"]
    assert "left_behind" in said(outcome)


async def test_a_rollback_that_does_not_run_leaves_the_rest_unchecked(subject_of: SubjectOf) -> None:
    outcome = await round_trip.run(await subject_of(pair("create table public.r ()", "\n\nselect 1 / 0")), "1")
    assert [claim.id for claim in refuted(outcome)] == ["round-trip-1-runs"]
    assert claim(outcome, "runs").violations == ("down: 1_x.sql:3, statement 1: division by zero [22012]",)
    assert claim(outcome, "back").level is claim(outcome, "again").level is Level.NOT_CHECKED


async def test_oracles_that_disagree_are_a_finding(subject_of: SubjectOf) -> None:
    # pg_dump does not see settings of a role in this database; our facts do.
    setting = "do $$ begin execute format('alter role anon in database %I set {}', current_database()); end $$"
    files = pair(setting.format("statement_timeout = 3000"), setting.format("statement_timeout = 4000"))
    outcome = await round_trip.run(await subject_of(files), "1")
    assert [claim.id for claim in refuted(outcome)] == ["round-trip-1-back", "round-trip-1-oracles"]
    assert "back: our facts say different, pg_dump says equal" in claim(outcome, "oracles").violations[0]


async def test_without_a_rollback_or_pg_dump_nothing_is_claimed(subject_of: SubjectOf, tmp_path: Path) -> None:
    subject = await subject_of({"1_x.sql": "create table public.r ()"})
    (only,) = (await round_trip.run(subject, "1")).claims
    assert (only.level, only.basis) == (Level.NOT_CHECKED, "there is no rollback file")
    assert only.as_check().remedy.startswith(f"Write rollbacks/{only.version}_")
    stub = tmp_path / "pg_dump"
    stub.write_text("#!/bin/sh\necho 'aborting because of server version mismatch' >&2\nexit 1\n")
    stub.chmod(0o755)
    healthy = await subject_of(pair("create table public.r ()", "-- destroys: table r\ndrop table public.r"))
    outcome = await round_trip.run(healthy, "1", pg_dump=stub)
    for part in ("back-dump", "again-dump", "oracles"):
        assert claim(outcome, part).level is Level.NOT_CHECKED
    assert "version mismatch" in claim(outcome, "back-dump").basis
    assert claim(outcome, "back").level is Level.PROVED


async def test_the_projects_own_migrations_round_trip(subject_of: SubjectOf) -> None:
    subject = await subject_of(migrations_dir())
    for version in subject.versions:
        outcome = await round_trip.run(subject, version)
        assert said(outcome) == ""
        assert {claim.level for claim in outcome.claims} <= {Level.PROVED, Level.SAMPLED}
