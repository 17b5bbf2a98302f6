"""What the linter's rules claim is what Postgres does: each defect is found in the files, applied, and seen to harm."""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from tests.integration.migrate.conftest import Write
from tests.support.databases import Databases
from toolkit.migrate.lint import lint

TABLE = (
    "create table public.t (id int primary key, owner text)",
    "alter table public.t enable row level security",
    "insert into public.t values (1, 'user_1'), (2, 'user_2')",
)
MINE = "create policy mine on public.t for select to authenticated using (owner = (select auth.jwt() ->> 'sub'))"
CHILD = (
    "create table public.c (id int primary key, t_id int references public.t (id), n int)",
    "alter table public.c enable row level security",
)
HEAD = "set search_path = ''"


def policy(condition: str, command: str = "for select", table: str = "public.t", name: str = "p") -> str:
    return f"create policy {name} on {table} {command} to authenticated using ({condition})"


def logging(timing: str, rights: str = "", *, when: str = "true") -> tuple[str, ...]:
    return (
        f"create function public.log() returns trigger language plpgsql {rights} {HEAD} as "
        f"$$ begin if {when} then insert into public.c values (new.id, new.id, 1); end if; return new; end $$",
        f"create trigger log {timing} on public.t for each row execute function public.log()",
    )


@dataclass(frozen=True)
class Case:
    """In `statements` is what `rule` finds. Asked by `role` (`none`: the owner) with `claims`, `question` gives `answer`:
    a value or an error. With `healthy` in their place it gives `instead`, and the rule finds nothing."""

    rule: str
    statements: tuple[str, ...]
    question: str
    answer: Any
    healthy: tuple[str, ...]
    instead: Any
    role: str = "authenticated"
    claims: str = '{"sub": "user_1", "role": "authenticated"}'


READ = "select count(*) from public.t"
PUBLISHED = "alter publication supabase_realtime add table public.t"
BARE = "create table public.t (id int, owner text)"
UNIQUE = "create function public.f(a int, b text) returns int language sql set search_path = '' as 'select 1'"
LONGER = "create {} function public.f(a int, b text, c int default 1) returns int language sql {} {} as 'select 2'"
DEFINER = "create function public.f() returns int language sql security definer set search_path = '' as 'select 1'"
LOOKUP = (
    "create function public.ids() returns setof int language plpgsql stable {} set search_path = '' as "
    "$$ begin return query select id from public.t; end $$"
)
TIDY = (
    "create function public.tidy() returns int language plpgsql security definer set search_path = '' as "
    "$$ begin delete from public.t where id = 1; return 0; end $$"
)
PUT = (
    "create function public.put() returns int language plpgsql security definer set search_path = '' as "
    "$$ begin insert into public.t values (1, 'x') on conflict ({}) do nothing; return 0; end $$"
)
MEMBERS = "select count(*) from pg_publication_tables where tablename = 't'"

CASES = [
    Case("overload-ambiguous", (UNIQUE, LONGER.format("", HEAD, "")), "select public.f(1, 'a')",
         asyncpg.AmbiguousFunctionError, (UNIQUE, LONGER.format("", HEAD, "").replace("a int", "a uuid")), 1),
    Case("policy-recursion", (*TABLE, policy("exists (select from public.t o where o.id = 1)")), READ,
         asyncpg.InvalidObjectDefinitionError, (*TABLE, MINE), 1),
    Case("policy-recursion", (*TABLE, *CHILD, policy("exists (select from public.c)"),
                              policy("exists (select from public.t)", table="public.c")), READ,
         asyncpg.InvalidObjectDefinitionError,
         (*TABLE, *CHILD, policy("exists (select from public.c)"), policy("true", table="public.c")), 0),
    Case("policy-recursion", (*TABLE, LOOKUP.format(""), policy("id in (select public.ids())")), READ,
         asyncpg.StatementTooComplexError,
         (*TABLE, LOOKUP.format("security definer"), policy("id in (select public.ids())")), 2),
    Case("policy-recursion",
         (*TABLE, *CHILD, policy("exists (select from public.c)"), "create policy i on public.t for insert to "
          "authenticated with check (not exists (select from public.t o where o.id = 3))"),
         "insert into public.t values (3, 'user_1')", asyncpg.InvalidObjectDefinitionError,
         (*TABLE, policy("owner = 'user_1'"), "create policy i on public.t for insert to authenticated with check (not "
          "exists (select from public.t o where o.id = 3))"),
         None),
    Case("policy-recursion",
         (*TABLE, MINE, "create policy i on public.t for insert to authenticated with check (not exists (select from "
          "public.t o where o.id = 3))"),
         "insert into public.t values (3, 'user_1')", asyncpg.InvalidObjectDefinitionError, (*TABLE, MINE),
         asyncpg.InsufficientPrivilegeError),
    Case("policy-recursion",
         (*TABLE, MINE, "create policy d on public.t for delete to authenticated using (exists (select from public.t o "
          "where o.id = 1))"), "delete from public.t returning id", asyncpg.InvalidObjectDefinitionError,
         (*TABLE, MINE, LOOKUP.format(""),
          "create policy d on public.t for delete to authenticated using (id in (select public.ids()))"), 1),
    Case("auth-uid-as-text", (*TABLE, policy("owner = (select auth.uid())::text")), READ,
         asyncpg.InvalidTextRepresentationError, (*TABLE, MINE), 1),
    Case("sub-cast-to-uuid", (*TABLE, policy("id = 1 and (select (auth.jwt() ->> 'sub')::uuid) is not null")), READ,
         asyncpg.InvalidTextRepresentationError, (*TABLE, MINE), 1),
    Case("claims-cast-unguarded",
         (*TABLE, policy("owner = (select current_setting('request.jwt.claims', true)::jsonb ->> 'sub')")), READ,
         asyncpg.InvalidTextRepresentationError,
         (*TABLE, policy("owner = (select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')")), 0,
         claims=""),
    Case("table-without-rls", (BARE, "insert into public.t values (1, 'user_2')"), READ, 1, (*TABLE, MINE), 0, role="anon"),
    Case("policy-open-write", (*TABLE, "create policy p on public.t for insert with check (true)"),
         "insert into public.t values (7, 'user_2')", None, (*TABLE, MINE), asyncpg.InsufficientPrivilegeError, role="anon"),
    Case("view-without-security-invoker", (*TABLE, MINE, "create view public.v as select * from public.t"),
         "select count(*) from public.v", 2,
         (*TABLE, MINE, "create view public.v with (security_invoker = true) as select * from public.t"), 1),
    Case("materialized-view-exposed", (*TABLE, MINE, "create materialized view public.v as select * from public.t"),
         "select count(*) from public.v", 2,
         (*TABLE, MINE, "create materialized view public.v as select * from public.t",
          "revoke all on public.v from anon, authenticated"), asyncpg.InsufficientPrivilegeError, role="anon"),
    Case("definer-executable-by-public", (DEFINER,), "select public.f()", 1,
         (DEFINER, "revoke execute on function public.f() from public, anon"), asyncpg.InsufficientPrivilegeError,
         role="anon"),
    Case("definer-executable-by-anon", (DEFINER, "revoke execute on function public.f() from public"),
         "select public.f()", 1,
         (DEFINER, "revoke execute on function public.f() from public, anon"), asyncpg.InsufficientPrivilegeError,
         role="anon"),
    Case("grant-to-public", (*TABLE, "grant select on public.t to public", "revoke select on public.t from anon"), READ, 0,
         (*TABLE, "revoke select on public.t from anon"), asyncpg.InsufficientPrivilegeError, role="anon"),
    Case("replace-loses-settings", (DEFINER, DEFINER.replace("create", "create or replace").replace("security definer", "")),
         "select prosecdef from pg_proc where proname = 'f'", False,
         (DEFINER, DEFINER.replace("create", "create or replace")), True),
    Case("calls-unknown-function",
         (UNIQUE, "create function public.g() returns int language plpgsql set search_path = '' as "
          "$$ begin return public.ff(1, 'a'); end $$"), "select public.g()", asyncpg.UndefinedFunctionError,
         (UNIQUE, "create function public.g() returns int language plpgsql set search_path = '' as "
          "$$ begin return public.f(1, 'a'); end $$"), 1),
    Case("published-without-key", (BARE, "insert into public.t values (1, 'x')", PUBLISHED),
         "update public.t set owner = 'y' where id = 1 returning 1", asyncpg.ObjectNotInPrerequisiteStateError,
         (*TABLE, PUBLISHED), 1, role="none"),
    Case("replica-identity-nothing", (*TABLE, PUBLISHED, "alter table public.t replica identity nothing"),
         "update public.t set owner = 'y' where id = 1 returning 1", asyncpg.ObjectNotInPrerequisiteStateError,
         (*TABLE, PUBLISHED), 1, role="none"),
    Case("published-table-replaced", (*TABLE, PUBLISHED, "alter table public.t rename to old", *TABLE), MEMBERS, 0,
         (*TABLE, PUBLISHED, "alter table public.t rename to old", *TABLE, PUBLISHED), 1),
    Case("before-insert-writes-child", (*TABLE, *CHILD, *logging("before insert")),
         "insert into public.t values (3, 'x') returning 1", asyncpg.ForeignKeyViolationError,
         (*TABLE, *CHILD, *logging("after insert")), 1, role="none"),
    Case("before-insert-writes-child",
         (*TABLE, *CHILD, *logging("before insert or update", when="tg_op in ('INSERT', 'UPDATE')")),
         "insert into public.t values (3, 'x') returning 1", asyncpg.ForeignKeyViolationError,
         (*TABLE, *CHILD, *logging("before insert or update", when="tg_op = 'UPDATE'")), 1, role="none"),
    Case("trigger-writes-as-caller",
         (*TABLE, *CHILD, *logging("after insert"), "create policy i on public.t for insert to authenticated "
          "with check (owner = 'x')", "create policy c on public.c for insert to service_role with check (n > 0)"),
         "insert into public.t values (3, 'x')", asyncpg.InsufficientPrivilegeError,
         (*TABLE, *CHILD, *logging("after insert"), "create policy i on public.t for insert to authenticated "
          "with check (owner = 'x')", "create policy c on public.c for insert to authenticated with check (n > 0)"), None),
    Case("grant-write-to-anon",
         (BARE, "insert into public.t values (1, 'user_2')", "grant all on public.t to anon"),
         "delete from public.t returning id", 1, (*TABLE, MINE, "grant all on public.t to anon"), None, role="anon"),
    *(Case("grant-write-to-anon-unjudged",
           (*TABLE, f"create policy p on public.t using ({condition})", "grant all on public.t to anon"),
           "delete from public.t returning id", 1,
           (*TABLE, f"create policy p on public.t using ({silent})", "grant all on public.t to anon"), None,
           role="anon", claims='{"role": "anon"}')
      for condition, silent in (
          ("id is not null", "auth.uid() is not null"),
          ("coalesce(auth.uid()::text, owner) = owner", "auth.uid()::text = owner"),
          ("auth.uid() is distinct from null or id = 1", "auth.role() = 'authenticated' or auth.jwt() ->> 'sub' = owner"),
          ("exists (select count(*) from pg_class where oid = 0 and auth.uid()::text = owner)",
           "exists (select 1 from pg_class where auth.uid()::text = owner)"),
      )),
    Case("grant-write-to-anon",
         (*TABLE, "revoke truncate on public.t from anon", "grant truncate on public.t to anon"),
         "select has_table_privilege('public.t', 'truncate')", True,
         (*TABLE, "revoke truncate on public.t from anon"), False, role="anon"),
    Case("trigger-writes-as-caller",
         (*TABLE, *CHILD, *logging("after insert"), "create policy i on public.t for insert to authenticated "
          "with check (owner = 'x')"), "insert into public.t values (3, 'x')", asyncpg.InsufficientPrivilegeError,
         (*TABLE, *CHILD, *logging("after insert", "security definer"), "create policy i on public.t for insert to "
          "authenticated with check (owner = 'x')"), None),
    Case("delete-blocked-by-foreign-key", (*TABLE, *CHILD, "insert into public.c values (1, 1, 1)", TIDY),
         "select public.tidy()", asyncpg.ForeignKeyViolationError,
         (*TABLE, CHILD[0].replace("(id),", "(id) on delete cascade,"), CHILD[1], "insert into public.c values (1, 1, 1)",
          TIDY), 0),
    Case("on-conflict-without-key", (*TABLE, PUT.format("owner")), "select public.put()",
         asyncpg.InvalidColumnReferenceError, (*TABLE, PUT.format("id")), 0),
]  # fmt: skip


async def asked(conn: asyncpg.Connection, case: Case, statements: tuple[str, ...]) -> Any:
    """What the question gives over these statements; of an error its class."""
    for statement in statements:
        await conn.execute(statement, timeout=10)
    await conn.execute("select set_config('request.jwt.claims', $1, false), set_config('role', $2, false)",
                       case.claims, case.role, timeout=10)  # fmt: skip
    try:
        return await conn.fetchval(case.question, timeout=10)
    except asyncpg.PostgresError as error:
        return type(error)


@pytest.fixture(scope="module")
async def shared(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    """One database for all: each case is taken back whole."""
    async with databases.clone("bare") as dsn:
        conn = await asyncpg.connect(dsn, timeout=10)
        yield conn
        await conn.close(timeout=5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}, {case.question[:24]}")
async def test_postgres_does_what_the_rule_says(case: Case, write: Write, shared: asyncpg.Connection) -> None:
    found = await lint(write({"1_a.sql": ";\n".join(case.statements)}))
    assert case.rule in {finding.rule for finding in found.findings}
    healthy = await lint(write({"1_a.sql": ";\n".join(case.healthy)}))
    assert case.rule not in {finding.rule for finding in healthy.findings}
    for statements, expected in ((case.statements, case.answer), (case.healthy, case.instead)):
        transaction = shared.transaction()
        await transaction.start()
        try:
            assert await asked(shared, case, statements) == expected
        finally:
            await transaction.rollback()
            await shared.execute("reset all", timeout=10)
