"""The role that runs migrations on servers of ours may what `postgres` of a hosted project may, and no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.integration.migrate.conftest import Write
from tests.support.databases import as_superuser
from toolkit.migrate import migrate_down, migrate_up, read_folder
from toolkit.sql.barred import barred
from toolkit.sql.parse import Piece, Source, statements

Connect = Callable[[str], Awaitable[asyncpg.Connection]]

# As the fact sheet of hosted projects has them; each in a transaction that is taken back.
ALLOWED = """
create policy p on storage.objects for select to authenticated using (true)
create policy p on auth.users for select to authenticated using (true)
create policy p on realtime.messages for select to authenticated using (true)
create trigger t after insert on auth.users for each row execute function public.noted()
create trigger t after insert on storage.objects for each row execute function public.noted()
alter table public.notes add foreign key (id) references auth.users (id)
create view public.people as select id from auth.users
insert into storage.buckets (id, name) values ('b', 'b')
delete from auth.users
truncate auth.users cascade
grant select on auth.users to service_role
alter publication supabase_realtime add table public.notes
create publication mine for table public.notes
create extension citext
create extension moddatetime with schema extensions
create extension pg_cron
create extension pg_net
alter role anon set statement_timeout = '4s'
alter role authenticator set pgrst.db_schemas = 'public, api'
set local session_replication_role = replica
set local role anon
create role reporting nologin
create schema private
alter default privileges in schema public revoke all on tables from anon
drop extension "uuid-ossp"
""".strip().splitlines()
REFUSED = {
    "alter table storage.objects enable row level security": "must be owner of table objects",
    "alter table auth.users add column nick text": "must be owner of table users",
    "alter table auth.users owner to postgres": "must be",
    "create index i on auth.users (email)": "must be owner of table users",
    "create policy p on auth.oauth_consents for select using (true)": "must be owner of table oauth_consents",
    "create table auth.mine (id int)": "permission denied for schema auth",
    "create function storage.mine() returns int language sql as 'select 1'": "permission denied for schema storage",
    "create or replace function auth.uid() returns uuid language sql as 'select null::uuid'": "permission denied",
    "drop table storage.migrations": "must be owner of table migrations",
    "do $$ begin alter table storage.buckets enable row level security; end $$": "must be owner of table buckets",
    "alter publication supabase_realtime add table auth.users": "must be owner of table users",
    "create publication mine for table auth.users": "must be owner of table users",
    "alter default privileges for role supabase_admin in schema public revoke all on tables from anon": "permission",
    "copy (select 1) to program 'cat'": "permission denied to COPY",
    "select pg_read_file('PG_VERSION')": "permission denied for function pg_read_file",
    "create function f() returns int language c as 'x', 'y'": "permission denied for language c",
    "create role more superuser": "permission denied to create role",
    "alter role postgres superuser": "permission denied to alter role",
    "drop event trigger toolkit_owner_guard": "must be owner of event trigger",
    "drop function pgbouncer.toolkit_owner_guard() cascade": "must be owner of function",
    "select pgbouncer.toolkit_as_superuser('create role more superuser')": "permission denied",
    "select pgbouncer.toolkit_as_superuser('drop event trigger toolkit_owner_guard')": "permission denied",
}


@pytest.fixture
async def conn(bare_db: str, connect: Connect) -> asyncpg.Connection:
    conn = await connect(bare_db)
    await conn.execute(
        "create table public.notes (id uuid primary key);"
        "create function public.noted() returns trigger language plpgsql as 'begin return new; end'"
    )
    return conn


async def answer_of(conn: asyncpg.Connection, statement: str) -> str:
    """What the server says to it; "" where it lets it pass."""
    taken_back = conn.transaction()
    await taken_back.start()
    try:
        await conn.execute(statement)
    except asyncpg.InsufficientPrivilegeError as error:
        return str(error)
    finally:
        await taken_back.rollback()
    return ""


async def test_it_may_what_the_hosted_one_may_and_no_more(conn: asyncpg.Connection) -> None:
    assert {statement: said for statement in ALLOWED if (said := await answer_of(conn, statement))} == {}
    answers = {statement: await answer_of(conn, statement) for statement in REFUSED}
    assert {statement: said for statement, said in answers.items() if REFUSED[statement] not in said or not said} == {}
    if conn.get_server_version().major >= 16:
        assert "permission denied to set role" in await answer_of(conn, "set role supabase_storage_admin")


async def test_a_superuser_passes_by_what_guards_the_platform(bare_db: str, connect: Connect) -> None:
    conn = await connect(as_superuser(bare_db))
    assert await answer_of(conn, "alter table storage.objects enable row level security") == ""
    assert await answer_of(conn, "create table auth.mine (id int)") == ""


async def test_lint_and_the_server_agree_on_what_the_platform_owns(conn: asyncpg.Connection) -> None:
    def owned(statement: str) -> bool:
        source = Source(statement.encode())
        pieces = [Piece(node, source, start, end) for node, start, end in statements(source.data)]
        return any(one.kind == "owner" for piece in pieces for one in barred(piece))

    told = {statement for statement in REFUSED if owned(statement)}
    assert told == {one for one, said in REFUSED.items() if one in told or said.startswith("must be owner of table")}
    assert not any(owned(statement) for statement in ALLOWED)


async def test_a_migration_that_enables_what_is_on_is_refused_and_told_to_leave_it(bare_db: str, write: Write) -> None:
    folder = write({"1_files.sql": "alter table storage.objects enable row level security;"})
    failure = (await migrate_up(bare_db, read_folder(folder))).steps[0].failure
    assert failure is not None
    assert "must be owner of table objects" in failure.message
    assert failure.remedy == "Delete the line: it is on already."


async def test_what_a_hosted_project_lets_through_runs_and_is_taken_back(bare_db: str, write: Write) -> None:
    folder = write(
        {
            "1_all.sql": "create function public.seen() returns event_trigger language plpgsql as 'begin end';\n"
            "create event trigger seen on ddl_command_end execute function public.seen();\n"
            "create publication everything for all tables;\ncreate foreign data wrapper nowhere;\n",
            "rollbacks/1_all.sql": "drop foreign data wrapper nowhere;\ndrop publication everything;\n"
            "drop event trigger seen;\ndrop function public.seen();\n",
        }
    )
    applied = await migrate_up(bare_db, read_folder(folder))
    assert applied.ok, applied
    undone = await migrate_down(bare_db, read_folder(folder))
    assert undone.ok, undone
