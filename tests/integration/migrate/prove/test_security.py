"""The security proof: planted holes that it must see, and healthy neighbours of which it must say nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.migrate.prove.conftest import SubjectOf, said
from toolkit.migrate.prove.security.security_proof import PROOF
from toolkit.migrate.prove.subject.claims import Level, Outcome
from toolkit.resources import migrations_dir

SUB = "(select auth.jwt() ->> 'sub')"
OWN = f"user_id = {SUB}"
# Notes of users, by text ids; an organisation reads along. Clients have what a project's default privileges give them.
START = f"""
create table public.organizations (id uuid primary key default gen_random_uuid(), name text not null);
create table public.organization_members (
  organization_id uuid not null references public.organizations (id), user_id text not null,
  primary key (organization_id, user_id));
create function public.is_member(org uuid) returns boolean language sql stable security definer set search_path = ''
  as $$ select exists (select from public.organization_members m
        where m.organization_id = org and m.user_id = (auth.jwt() ->> 'sub')) $$;
create table public.notes (
  id uuid primary key default gen_random_uuid(), user_id text not null,
  organization_id uuid references public.organizations (id), title text not null,
  status text not null default 'draft' check (status in ('draft', 'published')), private boolean not null default true);
alter table public.organizations enable row level security;
alter table public.organization_members enable row level security;
alter table public.notes enable row level security;
create policy organizations_read on public.organizations for select to authenticated using (public.is_member(id));
create policy members_read on public.organization_members for select to authenticated using ({OWN});
create policy notes_read on public.notes for select to authenticated
  using ({OWN} or public.is_member(organization_id));
revoke all on public.notes from anon, authenticated;
grant select, insert, delete, update (title) on public.notes to authenticated;
create policy notes_insert on public.notes for insert to authenticated with check ({OWN});
create policy notes_update on public.notes for update to authenticated using ({OWN}) with check ({OWN});
"""
NEW = "create table public.files (id uuid primary key default gen_random_uuid(), user_id text not null, name text);"
RLS = "alter table public.files enable row level security;"
GUARDED = NEW + RLS

# Files of notes, and what workers do with files.
OF_NOTES = (
    "create table public.files (id uuid primary key default gen_random_uuid(), user_id text not null, "
    "note_id uuid references public.notes (id));" + RLS
)
JOBS = (
    "create table public.jobs (id uuid primary key default gen_random_uuid(), user_id text not null, state text, "
    "claim_token uuid, worker_hostname text); alter table public.jobs enable row level security;"
)
OF_MINE = f"exists (select from public.notes n where n.id = note_id and n.{OWN})"


def policy(rest: str, table: str = "files") -> str:
    return f"create policy p_{table} on public.{table} {rest};"


FINE = policy(f"for all to authenticated using ({OWN}) with check ({OWN})")

PLANTED = {
    # id: (migration, what must be said, further statements of the start)
    "anon may select": ("grant select on public.notes to anon", "public.notes: anon", ""),
    "anon may insert": ("grant insert on public.notes to anon", "insert: it was no privilege", ""),
    "row security off": (
        "alter table public.notes disable row level security",
        "row level security is off, and authenticated",
        "",
    ),
    "new table without row security": (NEW, "public.files: row level security is off, and anon and authenticated", ""),
    "everybody sees": (GUARDED + policy("for select using (true)"), "public.files: anon (claims never set", ""),
    "everybody signed in sees": (
        GUARDED + policy("for select to authenticated using (true)"),
        "other (uuid sub, text sub)",
        "",
    ),
    "policy without a role": (GUARDED + policy("for select using (user_id is not null)"), "public.files: anon", ""),
    "text id cast to uuid": (
        GUARDED + policy("for select to authenticated using (auth.uid()::text = user_id)"),
        "22P02: invalid input syntax for type uuid",
        "",
    ),
    "membership policy recurses": (
        "drop policy members_read on public.organization_members;"
        + policy(
            "for select to authenticated using (organization_id in "
            f"(select m.organization_id from public.organization_members m where m.{OWN}))",
            "organization_members",
        ),
        "42P17: infinite recursion",
        "",
    ),
    "a policy asks a table that is gone": (
        "create function public.allowed() returns boolean language plpgsql stable as "
        "$$ begin return exists (select from public.allowances); end $$;"
        + GUARDED
        + policy("for select to authenticated using (public.allowed())"),
        "42P01",
        "",
    ),
    "owner changes status": (
        "drop policy notes_update on public.notes; grant update on public.notes to authenticated;"
        + policy(f"for all to authenticated using ({OWN}) with check ({OWN})", "notes"),
        "authenticated may now write id, organization_id, private, status, user_id",
        "",
    ),
    "owner may delete now": (policy(f"for delete to authenticated using ({OWN})", "notes"), "delete: it was 0 of", ""),
    "rows can be given away": (
        GUARDED
        + policy(f"for select to authenticated using ({OWN})")
        + f"create policy u on public.files for update to authenticated using ({OWN}) with check (true);",
        "can give own rows away",
        "",
    ),
    "rows in the name of others": (
        GUARDED + policy("for insert to authenticated with check (true)"),
        "can insert a row in the name of others",
        "",
    ),
    "anybody deletes": (GUARDED + policy("for delete to authenticated using (true)"), "can delete rows that are", ""),
    "view with its owner's rights": (
        "create view public.titles as select id, title from public.notes",
        "security_invoker is off",
        "",
    ),
    "view loses security_invoker": (
        "alter view public.titles reset (security_invoker)",
        "security_invoker is off",
        "create view public.titles with (security_invoker = true) as select id, user_id, title from public.notes;",
    ),
    "writes through a view": (
        "create view public.titles as select id, title from public.notes; revoke select on public.titles from anon",
        "public.titles",
        "",
    ),
    "materialized view": (
        "create materialized view public.titles as select id, title from public.notes",
        "a materialized view keeps no policies",
        "",
    ),
    "definer function shows": (
        "create function public.note_of(p_note_id uuid) returns setof public.notes language sql security definer "
        "set search_path = '' as $$ select * from public.notes n where n.id = p_note_id $$",
        "returned somebody else's rows: of public.notes",
        "",
    ),
    "definer function changes": (
        "create function public.publish(p_note_id uuid) returns void language sql security definer "
        "set search_path = '' as $$ update public.notes set status = 'published' where id = p_note_id $$",
        "changed or deleted rows of public.notes",
        "",
    ),
    "definer function forges": (
        "create function public.add_note(p_user_id text, p_title text) returns void language sql security definer "
        "set search_path = '' as $$ insert into public.notes (user_id, title) values (p_user_id, p_title) $$",
        "wrote a row of somebody else's into public.notes",
        "",
    ),
    "definer function without search_path": (
        "grant create on schema public to authenticated;"
        "create function public.count_mine() returns bigint language sql security definer as "
        f"$$ select count(*) from public.notes where {OWN} $$",
        "its search_path is not pinned",
        "",
    ),
    "search_path is let go": (
        "grant create on schema public to authenticated; alter function public.is_member(uuid) reset search_path",
        "its search_path is not pinned",
        "",
    ),
    "function opened to anon": (
        "grant execute on function public.close_all() to anon",
        "anon may now execute it",
        "create function public.close_all() returns void language sql as $$ delete from public.notes $$;"
        "revoke execute on function public.close_all() from public, anon, authenticated;",
    ),
    "a protected column": (
        "grant update (status) on public.notes to authenticated",
        "authenticated may now write status (and an",
        "",
    ),
    "truncate": ("grant truncate on public.notes to authenticated", "holds TRUNCATE, which no policy limits", ""),
    "triggers": ("grant trigger on public.notes to authenticated", "holds TRIGGER, which no policy limits", ""),
    "no claims are let in": (
        GUARDED + policy(f"for select using (coalesce(auth.jwt() ->> 'sub', '') = '' or {OWN})"),
        "public.files: anon (claims never set, claims empty",
        "",
    ),
    "null equals null": (
        NEW.replace(" text not null", " text")
        + RLS
        + policy("for select to authenticated using (user_id is not distinct from (auth.jwt() ->> 'sub'))"),
        "sees rows without an owner",
        "",
    ),
    "every organisation's members": (
        "drop policy notes_read on public.notes;"
        + policy(
            f"for select to authenticated using ({OWN} or exists (select from public.organization_members m "
            f"where m.{OWN}))",
            "notes",
        ),
        "member (uuid sub, text sub)",
        "",
    ),
    "service_role loses its grant": ("revoke select on public.notes from service_role", "service_role", ""),
    "the owner's policy is dropped": (
        "drop policy notes_read on public.notes",
        "owner (uuid sub, text sub) select: it was",
        "",
    ),
    "row security no longer forced": (
        "alter table public.notes no force row level security",
        "no longer forced",
        "alter table public.notes force row level security;",
    ),
    "owned by a client": (
        "alter table public.notes owner to authenticated",
        "other (uuid sub, text sub) sees rows that are",
        "grant usage, create on schema public to authenticated;",
    ),
    "default privileges": (
        "create schema app; grant usage on schema app to anon;"
        "alter default privileges in schema app grant select on tables to anon;"
        "create table app.files (id int primary key, user_id text)",
        "app.files: row level security is off",
        "",
    ),
    "default privileges for later": (
        "alter default privileges in schema public grant execute on functions to public;"
        "create schema app; alter default privileges in schema app grant select on tables to anon",
        "tables made later in schema app will be given to anon (SELECT)",
        "",
    ),
    "malformed claims become access": (
        "create function public.me() returns text language plpgsql stable as $$ begin "
        "return auth.jwt() ->> 'sub'; exception when others then return null; end $$;"
        + GUARDED
        + policy("for select to authenticated using (user_id = coalesce(public.me(), user_id))"),
        "signed-in (claims never set, claims empty, malformed, no sub)",
        "",
    ),
    "empty claims fail": (
        GUARDED
        + policy(
            "for select to authenticated using "
            "(user_id = (current_setting('request.jwt.claims', true)::json ->> 'sub'))"
        ),
        "signed-in (claims empty) fails with 22P02",
        "",
    ),
    "restrictive policy lost": (
        "drop policy only_strong on public.notes",
        "RESTRICTIVE policy only_strong",
        "create policy only_strong on public.notes as restrictive to authenticated "
        "using ((auth.jwt() ->> 'aal') is distinct from 'aal0');",
    ),
    "published and invisible": (
        GUARDED + "alter publication supabase_realtime add table public.files;",
        "published in supabase_realtime",
        "",
    ),
    "partition without row security": (
        "create table public.logs (id int, user_id text, at date, primary key (id, at)) partition by range (at);"
        "create table public.logs_2026 partition of public.logs for values from ('2000-01-01') to ('2100-01-01');"
        "alter table public.logs enable row level security;"
        + policy(f"for select to authenticated using ({OWN})", "logs"),
        "public.logs_2026: row level security is off",
        "",
    ),
    "mixed case, composite key": (
        'create table public."Photo Album" ("Album Id" int, "userId" text not null, "Nr" int, '
        'primary key ("Album Id", "Nr")); alter table public."Photo Album" enable row level security;'
        'create policy p on public."Photo Album" for select using (true)',
        "public.Photo Album: anon",
        "",
    ),
    "children of owned rows": (
        "create table public.comments (id bigint generated always as identity primary key, "
        "note_id uuid not null references public.notes (id), body text);"
        "alter table public.comments enable row level security;"
        + policy("for select to authenticated using (true)", "comments"),
        "public.comments: signed-in",
        "",
    ),
    "own rows refer to those of others": (
        OF_NOTES + policy(f"for all to authenticated using ({OWN}) with check ({OWN})"),
        "can make own rows refer to somebody else's rows, which it does not see: no WITH CHECK ties note_id",
        "",
    ),
    "only an update refers to those of others": (
        OF_NOTES
        + policy(f"for select to authenticated using ({OWN})")
        + f"create policy i on public.files for insert to authenticated with check ({OWN} and {OF_MINE});"
        + f"create policy u on public.files for update to authenticated using ({OWN}) with check ({OWN});",
        "can make own rows refer to somebody else's rows",
        "",
    ),
    "own rows in a foreign organisation": (
        "create table public.boards (id uuid primary key default gen_random_uuid(), user_id text not null, "
        "organization_id uuid references public.organizations (id));"
        "alter table public.boards enable row level security;"
        + policy(f"for all to authenticated using ({OWN}) with check ({OWN})", "boards"),
        "no WITH CHECK ties organization_id → public.organizations",
        "",
    ),
    "who works on a row": (
        JOBS + policy(f"for select to authenticated using ({OWN})", "jobs"),
        "public.jobs: authenticated reads claim_token, worker_hostname, which only operators need",
        "",
    ),
}

HEALTHY = {
    "own rows refer to own rows": (
        OF_NOTES
        + policy(f"for all to authenticated using ({OWN}) with check ({OWN} and (note_id is null or {OF_MINE}))"),
        "",
    ),
    "rows that everybody signed in sees are referred to": (
        OF_NOTES.replace("public.notes", "public.posts") + FINE,
        "create table public.posts (id uuid primary key default gen_random_uuid(), user_id text not null);"
        "alter table public.posts enable row level security;"
        + policy("for select to authenticated using (true)", "posts"),
    ),
    "a claim that clients do not read": (
        JOBS
        + policy(f"for select to authenticated using ({OWN})", "jobs")
        + "revoke all on public.jobs from anon, authenticated; grant select (id, user_id, state) on public.jobs "
        "to authenticated;",
        "",
    ),
    "a token of one's own that one writes": (
        JOBS + policy(f"for all to authenticated using ({OWN}) with check ({OWN})", "jobs"),
        "",
    ),
    "row security and own rows": (GUARDED + FINE, ""),
    "a shared table that everybody reads": (
        "create table public.plans (id int primary key, name text); alter table public.plans enable row level security;"
        + policy("for select using (true)", "plans"),
        "",
    ),
    "a new table before one whose rows are told apart by a state": (
        "create table public.alarms (id int primary key, user_id text not null);"
        "alter table public.alarms enable row level security;"
        + policy(f"for select to authenticated using ({OWN})", "alarms"),
        "create table public.servers (id int primary key, user_id text, status text not null default 'new' "
        "check (status in ('new', 'active', 'gone'))); alter table public.servers enable row level security;"
        + policy("for select using (status = 'active')", "servers"),
    ),
    "uuid ids with auth.uid()": (
        "create table public.files (id int primary key, user_id uuid not null); "
        + RLS
        + policy("for all to authenticated using ((select auth.uid()) = user_id)"),
        "drop table public.notes; drop table public.organization_members cascade; drop table public.organizations;",
    ),
    "membership through a definer function": (
        "create table public.boards (id uuid primary key default gen_random_uuid(), organization_id uuid not null "
        "references public.organizations (id), name text); alter table public.boards enable row level security;"
        + policy("for select to authenticated using (public.is_member(organization_id))", "boards"),
        "",
    ),
    "a using that checks too": (
        GUARDED
        + policy(f"for select to authenticated using ({OWN})")
        + f"create policy u on public.files for update to authenticated using ({OWN});",
        "",
    ),
    "view with the caller's rights": (
        "create view public.titles with (security_invoker = true) as select id, user_id, title from public.notes",
        "",
    ),
    "view over a shared table": (
        "create view public.names as select name from public.plans",
        "create table public.plans (id int primary key, name text); alter table public.plans enable row level security;"
        + policy("for select using (true)", "plans"),
    ),
    "materialized view for the server": (
        "create materialized view public.titles as select id, title from public.notes;"
        "revoke all on public.titles from anon, authenticated",
        "",
    ),
    "definer function that asks who calls": (
        "create function public.note_of(p_note_id uuid) returns setof public.notes language sql security definer "
        f"set search_path = '' as $$ select * from public.notes n where n.id = p_note_id and n.{OWN} $$",
        "",
    ),
    "definer function for the server": (
        "create function public.publish(p_note_id uuid) returns void language sql security definer as "
        "$$ update public.notes set status = 'published' where id = p_note_id $$;"
        "revoke execute on function public.publish(uuid) from public, anon, authenticated",
        "",
    ),
    "a search_path that no client can use": ("alter function public.is_member(uuid) reset search_path", ""),
    "a column beside": ("alter table public.notes add column tags text[] not null default '{}'", ""),
    "the same policy, written anew": (
        "drop policy notes_read on public.notes;"
        + policy(f"for select to authenticated using (public.is_member(organization_id) or {OWN})", "notes"),
        "",
    ),
    "empty claims are nobody's": (
        GUARDED
        + policy(
            "for select to authenticated using "
            "(user_id = (nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'))"
        ),
        "",
    ),
    "restrictive policy kept": (
        "alter table public.notes add column extra int",
        "create policy only_strong on public.notes as restrictive to authenticated using (true);",
    ),
    "published and visible": (GUARDED + FINE + "alter publication supabase_realtime add table public.files;", ""),
    "nobody's rows for nobody": (NEW.replace(" text not null", " text") + RLS + FINE, ""),
    "a schema that clients cannot reach": ("create schema app; create table app.files (id int, user_id text)", ""),
    "a hole that was there, and is closed": (
        "revoke select on public.files from anon; drop policy p_files on public.files;"
        + policy(f"for select to authenticated using ({OWN})"),
        GUARDED + policy("for select using (true)"),
    ),
    "a hole that was there, and stays": (
        "alter table public.notes add column extra int",
        GUARDED + policy("for select using (true)"),
    ),
    "profiles by their own id": (
        "create table public.profiles (id uuid primary key, name text); alter table public.profiles enable row level "
        "security;"
        + policy(
            "for all to authenticated using (auth.jwt() ->> 'sub' = id::text) "
            "with check (auth.jwt() ->> 'sub' = id::text)",
            "profiles",
        ),
        "",
    ),
    "circular references": (
        "create table public.a (id int primary key, b_id int, user_id text);"
        "create table public.b (id int primary key, a_id int references public.a (id));"
        "alter table public.a add foreign key (b_id) references public.b (id);"
        "alter table public.a enable row level security; alter table public.b enable row level security;"
        + policy(f"for select to authenticated using ({OWN})", "a"),
        "",
    ),
}


# What looks at the whole database (ids of one kind) has a database of its own; the others share a few.
ALONE = ("uuid ids with auth.uid()",)
_GROUP = 16
SCHEMA = """
create schema {schema}; grant usage on schema {schema} to anon, authenticated, service_role;
alter default privileges in schema {schema} grant all on tables to anon, authenticated, service_role;
alter default privileges in schema {schema} grant all on functions to anon, authenticated, service_role;
"""
_outcomes: dict[tuple[str, ...], Outcome] = {}


def _schema(name: str) -> str:
    number = [*PLANTED, *HEALTHY].index(name)
    return f"case_{number:02}"


def _moved(text: str, name: str) -> str:
    """The statements in a schema of the case's own, and what they put into schema app in another one."""
    schema = _schema(name)
    return (
        text.replace("public.", f"{schema}.")
        .replace("schema public", f"schema {schema}")
        .replace("schema app", f"schema app_{schema}")
        .replace("app.", f"app_{schema}.")
    )


def _start(migration: str, more: str) -> str:
    """The notes and their organisations only where the case is about them."""
    about = any(word in migration + more for word in ("notes", "is_member", "organization"))
    return (START if about else "") + more


async def _looked(subject_of: SubjectOf, cases: dict[str, tuple[str, str]], name: str) -> list[str]:
    """What is said of one case; a group of cases is looked at together, each in its own schema."""
    names = [one for one in cases if one not in ALONE]
    at = names.index(name) // _GROUP if name in names else 0
    group = tuple(names[at * _GROUP : (at + 1) * _GROUP]) if name in names else (name,)
    if group not in _outcomes:
        start = "".join(SCHEMA.format(schema=_schema(one)) + _moved(_start(*cases[one]), one) for one in group)
        migration = "".join(_moved(cases[one][0].rstrip("; "), one) + ";" for one in group)
        subject = await subject_of({"1_it.sql": migration}, start=start)
        _outcomes[group] = await PROOF.run(subject, "1")
        assert all(claim.level is not Level.NOT_CHECKED for claim in _outcomes[group].claims)
    schema = _schema(name)
    return [
        line.replace(schema, "public").replace("app_public", "app")
        for line in said(_outcomes[group]).splitlines()
        if schema in line
    ]


@pytest.mark.parametrize("name", PLANTED)
async def test_a_planted_hole_is_seen(subject_of: SubjectOf, name: str) -> None:
    cases = {one: (migration, start) for one, (migration, _, start) in PLANTED.items()}
    lines = await _looked(subject_of, cases, name)
    assert any(PLANTED[name][1] in line for line in lines), lines


@pytest.mark.parametrize("name", HEALTHY)
async def test_a_healthy_neighbour_is_left_alone(subject_of: SubjectOf, name: str) -> None:
    assert await _looked(subject_of, HEALTHY, name) == []


async def test_our_own_migrations_hold_and_are_as_expected(subject_of: SubjectOf) -> None:
    folder = migrations_dir()
    subject = await subject_of(folder, expectations=folder / "expectations.yaml")
    for version in subject.versions:
        outcome = await PROOF.run(subject, version)
        assert said(outcome) == ""
        parts = {claim.id.rpartition("-")[2] for claim in outcome.claims}
        assert parts >= {"rows", "claims", "functions", "grants", "expectations"}
        assert "views" not in parts  # there is none: nothing is claimed
    held = next(claim for claim in outcome.claims if claim.id.endswith("-expectations"))
    assert held.level is Level.PROVED
    assert int(held.basis.split()[0]) > 100


async def test_what_the_newest_of_our_migrations_mends_is_found_without_it(
    subject_of: SubjectOf, tmp_path: Path
) -> None:
    """Neither the folder nor its expectations say what to look for."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrations_dir(), folder, ignore=shutil.ignore_patterns("20250728*", "expectations.yaml", "verify"))
    subject = await subject_of(folder)
    found = "\n".join([said(await PROOF.run(subject, version)) for version in subject.versions[:2]])
    refers = "can make own rows refer to somebody else's rows, which it does not see: no WITH CHECK ties"
    processes = "generation_process_id → public.generated_articles_state"
    assert f"public.articles: owner (uuid sub, text sub) {refers} {processes}, organization_id" in found
    assert f"public.style_guide_templates: owner (uuid sub, text sub) {refers} organization_id" in found
    assert "public.background_tasks: authenticated reads worker_id, worker_hostname, claim_token" in found
    assert len(found.splitlines()) == 3


EXPECTED = """
expect:
  - role: anon
    objects: public.*
    all: deny
  - role: authenticated
    objects: public.notes
    select: member
    insert: own
    update: own
    delete: deny
    truncate: deny
    columns: [title]
  - role: service_role
    objects: public.notes
    select: allow
  - role: [anon, authenticated]
    objects: public.close_all
    execute: deny
"""
CLOSE_ALL = (
    "create function public.close_all() returns void language sql as $$ delete from public.notes $$;"
    "revoke execute on function public.close_all(), public.is_member(uuid) from public, anon;"
    "revoke execute on function public.close_all() from authenticated;"
    "revoke all on public.organizations, public.organization_members from anon;"
)
UNEXPECTED = {
    # name: (migration, what must be said)
    "anon sees": (
        "grant select on public.notes to anon; create policy a on public.notes for select to anon using (true)",
        "expected select deny for anon (claims never set), found: ",
    ),
    "columns": ("grant update (status) on public.notes to authenticated", "should write no columns but title"),
    "truncate": ("grant truncate on public.notes to authenticated", "expected truncate deny for authenticated"),
    "delete": (
        f"create policy d on public.notes for delete to authenticated using ({OWN})",
        "expected delete deny for owner (uuid sub), found: 1 of 1 own",
    ),
    "owner sees nothing": ("drop policy notes_read on public.notes", "reaches none of 1 rows"),
    "members see nothing": (
        f"alter policy notes_read on public.notes using ({OWN})",
        "expected select member for member (text sub), found: reaches none of 1 rows",
    ),
    "strangers see": (
        "alter policy notes_read on public.notes using (true)",
        "expected select member for other (text sub), found: ",
    ),
    "server sees nothing": ("revoke all on public.notes from service_role", "expected select allow for service_role"),
    "function opened": (
        "grant execute on function public.close_all() to authenticated",
        "expected execute deny for authenticated, found: may execute it",
    ),
    "object renamed": ("alter table public.notes rename to remarks", "expected a table, view or function that exists"),
    "column gone": ("alter table public.notes rename title to heading", "expected columns of public.notes, got title"),
}


@pytest.fixture(scope="module")
def held_once() -> dict[str, tuple[str, ...]]:
    return {}


@pytest.mark.parametrize("name", UNEXPECTED)
async def test_what_is_not_as_expected_is_said_with_its_line(
    subject_of: SubjectOf, tmp_path: Path, name: str, held_once: dict[str, tuple[str, ...]]
) -> None:
    schemas = {one: f"kept_{number:02}" for number, one in enumerate(UNEXPECTED)}
    if not held_once:
        # Every case in a schema of its own, with entries of its own in one file.
        entries = "".join(EXPECTED.replace("expect:\n", "").replace("public.", f"{s}.") for s in schemas.values())
        (tmp_path / "expectations.yaml").write_text("expect:\n" + entries)
        start = "".join(
            SCHEMA.format(schema=s) + (START + CLOSE_ALL).replace("public.", f"{s}.") for s in schemas.values()
        )
        migration = "".join(UNEXPECTED[one][0].replace("public.", f"{s}.") + ";" for one, s in schemas.items())
        subject = await subject_of({"1_it.sql": migration}, start=start, expectations=tmp_path / "expectations.yaml")
        outcome = await PROOF.run(subject, "1")
        (held,) = [claim for claim in outcome.claims if claim.id == "security-1-expectations"]
        held_once["violations"] = held.violations
    lines = [line.replace(schemas[name], "public") for line in held_once["violations"] if schemas[name] in line]
    assert any(UNEXPECTED[name][1] in line and line.startswith("expectations.yaml:") for line in lines), lines


async def test_what_is_as_expected_is_no_violation_though_it_changed(subject_of: SubjectOf, tmp_path: Path) -> None:
    (tmp_path / "expectations.yaml").write_text(EXPECTED.replace("delete: deny", "delete: own"))
    subject = await subject_of(
        {"1_it.sql": f"create policy d on public.notes for delete to authenticated using ({OWN});"},
        start=START + CLOSE_ALL,
        expectations=tmp_path / "expectations.yaml",
    )
    outcome = await PROOF.run(subject, "1")
    assert said(outcome) == ""


ON_THE_WAY = {
    # name: (first version, second version, what is said of the first)
    "a leak that a later version closes": (
        "alter policy notes_read on public.notes using (true)",
        f"alter policy notes_read on public.notes using ({OWN} or public.is_member(organization_id))",
        "public.notes: signed-in (",
    ),
    "row security off for a while": (
        "alter table public.notes disable row level security",
        "alter table public.notes enable row level security",
        "row level security is off, and authenticated",
    ),
    "columns opened for a while": (
        "grant update (status) on public.notes to authenticated",
        "revoke update (status) on public.notes from authenticated",
        "authenticated may now write status",
    ),
    "a privilege that no policy limits": (
        "grant truncate on public.notes to authenticated",
        "revoke truncate on public.notes from authenticated",
        "authenticated holds TRUNCATE",
    ),
    "a function opened for a while": (
        "grant execute on function public.close_all() to authenticated",
        "revoke execute on function public.close_all() from authenticated",
        "authenticated may now execute it",
    ),
    "what is expected comes in steps": (
        "create policy d on public.notes for delete to authenticated using (false)",
        f"alter policy d on public.notes using ({OWN})",
        "",
    ),
    "what is expected comes first": (
        f"create policy d on public.notes for delete to authenticated using ({OWN})",
        "create schema app",
        "",
    ),
}


@pytest.mark.parametrize("name", ON_THE_WAY)
async def test_expectations_excuse_what_they_allow_and_no_more(
    subject_of: SubjectOf, tmp_path: Path, name: str
) -> None:
    first, second, wanted = ON_THE_WAY[name]
    (tmp_path / "expectations.yaml").write_text(EXPECTED.replace("delete: deny", "delete: own"))
    subject = await subject_of(
        {"1_it.sql": first + ";", "2_it.sql": second + ";"},
        start=START + CLOSE_ALL,
        versions=("1",),
        expectations=tmp_path / "expectations.yaml",
    )
    told = said(await PROOF.run(subject, "1"))
    assert (wanted in told) if wanted else told == "", told


async def test_what_cannot_be_looked_at_is_said(subject_of: SubjectOf) -> None:
    subject = await subject_of(
        {
            "1_it.sql": "create table public.files (id int primary key, user_id text check (user_id = 'somebody'));"
            + RLS
            + "create table public.plans (id int primary key); alter table public.plans enable row level security;",
            "2_it.sql": "create schema app;",
        },
        versions=("1",),
    )
    outcome = await PROOF.run(subject, "1")
    assert said(outcome) == ""
    rows = next(claim for claim in outcome.claims if claim.id == "security-1-rows")
    assert rows.level is Level.SAMPLED
    assert "no row could be staged in public.files" in rows.basis
    assert any("public.files takes no row" in note for note in outcome.notes)


async def test_a_schema_in_which_nothing_belongs_to_anybody_is_not_proved(subject_of: SubjectOf) -> None:
    subject = await subject_of(
        {
            "1_it.sql": "create table public.things (id int primary key, keeper_code int not null);"
            "alter table public.things enable row level security;"
            "create policy t on public.things for select using (true);"
        }
    )
    outcome = await PROOF.run(subject, "1")
    rows = next(claim for claim in outcome.claims if claim.id == "security-1-rows")
    assert rows.level is Level.SAMPLED
    assert "name the owner columns in expectations.yaml" in rows.basis


async def test_an_owner_that_the_expectations_name_is_believed(subject_of: SubjectOf, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text("owners:\n  public.things: keeper\n")
    files = {
        "1_it.sql": "create table public.things (id int primary key, keeper text not null);"
        "alter table public.things enable row level security; create policy t on public.things for select using (true);"
    }
    guessed = await PROOF.run(await subject_of(files), "1")
    assert said(guessed) == ""
    told = await PROOF.run(await subject_of(files, expectations=tmp_path / "e.yaml"), "1")
    assert "public.things: anon" in said(told)
