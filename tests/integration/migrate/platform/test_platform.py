"""The database that stands for a new hosted project, against what a hosted project contains."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from tests.support.databases import Databases, as_superuser
from toolkit.migrate.scratch import platform
from toolkit.migrate.scratch.platform import prepare_platform
from toolkit.sql import prove_rows

HOSTED: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("hosted_project.yaml").read_text())
SHORT = {"tstz": "timestamp with time zone", "ts": "timestamp without time zone", "vc": "character varying(255)"}
COLUMN = re.compile(
    r"(?P<name>\w+) (?P<type>[\w.]+(?: varying)?(?:\(\d+\))?(?:\[\])?)(?P<required>!?)"
    r"(?: =(?P<default>.*)| (?P<made>generated))?"
)
COLUMNS = """
select a.attname, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull, a.attgenerated <> '' as made,
  a.attidentity <> '' as numbered, pg_get_expr(d.adbin, d.adrelid) as expression
from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum
"""
Connect = Callable[[str], Awaitable[asyncpg.Connection]]


@pytest.fixture
async def conn(bare_db: str, connect: Connect) -> asyncpg.Connection:
    return await connect(bare_db)


async def columns_that_differ(conn: asyncpg.Connection) -> list[str]:
    """Tables whose columns are not those of a hosted project, in the same order."""
    differ = []
    for table, told in HOSTED["tables"].items():
        wanted = [COLUMN.fullmatch(column) for column in re.split(r", (?=\w+ [\w.]+)", told)]
        found = await conn.fetch(COLUMNS, table)
        for match, row in zip(wanted, found, strict=False):
            assert match, told
            same = (
                match["name"] == row["attname"]
                and SHORT.get(match["type"], match["type"]) == row["type"]
                and bool(match["required"]) == row["attnotnull"]
                and bool(match["made"]) == row["made"]
                and (match["made"] or (row["expression"] or "").startswith(match["default"] or ""))
                and (match["made"] or bool(match["default"]) == (row["expression"] is not None))
            )
            if not same:
                differ.append(f"{table}: {match[0]} is {dict(row)}")
        if len(wanted) != len(found):
            differ.append(f"{table}: {len(wanted)} columns are {len(found)}")
    return differ


async def test_tables_have_the_columns_of_a_hosted_project_in_its_order(conn: asyncpg.Connection) -> None:
    assert await columns_that_differ(conn) == []


@pytest.mark.parametrize(
    "planted",
    [
        "alter table auth.users drop column phone",
        "alter table auth.users add column nickname text",
        "alter table auth.sessions alter column user_id drop not null",
        "alter table storage.objects alter column version type bigint using null",
        "alter table storage.buckets alter column public drop default",
        "alter table auth.identities alter column email drop expression",
    ],
)
async def test_a_column_that_differs_is_told(bare_db: str, connect: Connect, planted: str) -> None:
    conn = await connect(as_superuser(bare_db))
    await conn.execute(planted)
    assert await columns_that_differ(conn) != []


async def test_enums_owners_and_row_security(conn: asyncpg.Connection) -> None:
    for name, labels in HOSTED["enums"].items():
        found = await conn.fetchval(
            "select string_agg(enumlabel, ' ' order by enumsortorder) from pg_enum where enumtypid = $1::regtype", name
        )
        assert found == labels, name
    for schema, owner in HOSTED["owners"].items():
        found = await conn.fetchval(
            """
            select array_agg(distinct owner::regrole::text) from (
              select relowner from pg_class where relnamespace = $1::regnamespace
              union all select proowner from pg_proc where pronamespace = $1::regnamespace
              union all select typowner from pg_type where typnamespace = $1::regnamespace
            ) of (owner)
            """,
            schema,
        )
        assert found == [owner]
    found = await conn.fetch(
        "select oid::regclass::text as name from pg_class where relnamespace = any ($1::regnamespace[]) "
        "and relkind in ('r', 'p') and not relrowsecurity and not relispartition",
        [*HOSTED["owners"]],
    )
    assert {row["name"] for row in found} == {*HOSTED["without_row_security"]}
    assert await conn.fetchval("select count(*) from pg_policy") == 0
    found = await conn.fetch(
        "select nspname, nspowner::regrole::text as owner from pg_namespace where nspname = any ($1)",
        [*HOSTED["schemas"]],
    )
    assert {row["nspname"]: row["owner"] for row in found} == HOSTED["schemas"]


async def test_roles_have_their_settings_and_none_may_sign_in(conn: asyncpg.Connection) -> None:
    found = await conn.fetch(
        "select rolname, rolinherit, rolbypassrls, rolcanlogin, coalesce(rolconfig, '{}') as settings from pg_roles "
        "where rolname = any ($1)",
        [*HOSTED["roles"]],
    )
    assert {
        row["rolname"]: {
            key: value
            for key, value in (
                ("inherits", row["rolinherit"]),
                ("bypasses", row["rolbypassrls"]),
                ("settings", row["settings"]),
            )
            if value
        }
        for row in found
    } == HOSTED["roles"]
    # The superuser of a server of ours: over its socket, or with the password that lies beside its data.
    assert {row["rolname"] for row in found if row["rolcanlogin"]} <= {"supabase_admin"}
    assert await conn.fetchval("show search_path") == '"$user", public, extensions'


@pytest.mark.parametrize("mode", ["old", "new"])
async def test_default_privileges_of_either_mode(
    databases: Databases, connect: Connect, mode: platform.ProjectMode
) -> None:
    async with databases.clone("empty") as dsn:
        conn = await connect(as_superuser(dsn))
        assert await prepare_platform(conn, mode=mode)
        assert not await prepare_platform(conn, mode="old"), "what is prepared is left alone"
        found = await conn.fetch(
            """
            select defaclobjtype as kind, regexp_replace(acl::text, '.*=(.*)/.*', '\\1') as granted
            from pg_default_acl, unnest(defaclacl) acl
            where defaclrole = 'postgres'::regrole and defaclnamespace = 'public'::regnamespace
              and acl::text like 'anon=%'
            """
        )
        assert {row["kind"].decode(): row["granted"].replace("m", "") for row in found} == HOSTED["default_privileges"][
            mode
        ]
        await conn.close()


async def test_it_can_be_prepared_again_after_another_version(bare_db: str, connect: Connect) -> None:
    conn = await connect(as_superuser(bare_db))
    await conn.execute("insert into auth.users (id, email) values (gen_random_uuid(), 'a@example.org')")
    await conn.execute("comment on schema auth is null")
    assert await prepare_platform(conn)
    assert await columns_that_differ(conn) == []
    assert await conn.fetchval("select count(*) from auth.users") == 1


async def test_the_plain_table_of_messages_that_older_versions_made_is_kept(
    databases: Databases, connect: Connect
) -> None:
    async with databases.clone("empty") as dsn:
        conn = await connect(as_superuser(dsn))
        await conn.execute(
            "create schema realtime; create table realtime.messages (topic text, extension text, payload jsonb,"
            " event text, private boolean, inserted_at timestamp default now())"
        )
        assert await prepare_platform(conn)
        assert await conn.fetchval("select count(*) from realtime.messages") == 0
        await conn.close()


DAYS = "select to_char(current_date + days, '\"messages_\"YYYY_MM_DD') as name from generate_series(-1, 3) of (days)"
PARTITIONS = """
select relname as name, relowner::regrole::text as owner, pg_get_expr(relpartbound, oid) as bound,
  has_table_privilege('postgres', oid, 'insert') as open, has_table_privilege('anon', oid, 'select') as public
from pg_class where relispartition and relkind = 'r' and relnamespace = 'realtime'::regnamespace order by 1
"""


async def test_messages_lie_in_a_partition_a_day_also_in_a_database_of_another_day(
    bare_db: str, connect: Connect
) -> None:
    conn = await connect(bare_db)
    await conn.execute(
        """
        create table public.heard (topic text);
        create function public.hear() returns trigger language plpgsql security definer set search_path = ''
          as $$ begin insert into public.heard values (new.topic); return new; end $$;
        create trigger hear after insert on realtime.messages for each row execute function public.hear();
        """
    )
    admin = await connect(as_superuser(bare_db))
    for row in await admin.fetch(PARTITIONS):
        await admin.execute(f"drop table realtime.{row['name']}")
    await conn.execute("select realtime.send('{}', 'e', 'lost')")
    assert await conn.fetchval("select count(*) from realtime.messages") == 0, "no partition is a hosted project's case"
    # What older versions made: one for all days.
    await admin.execute(
        """
        create table realtime.messages_default partition of realtime.messages default;
        insert into realtime.messages (topic, extension, inserted_at)
          values ('now', 'broadcast', now()), ('old', 'broadcast', now() - interval '10 days')
        """
    )
    assert not await prepare_platform(admin), "nothing else is made anew"
    days = {row["name"] for row in await admin.fetch(DAYS)}
    found = {row["name"]: row for row in await admin.fetch(PARTITIONS)}
    assert found.keys() == days
    for name, row in found.items():
        day = name.removeprefix("messages_").replace("_", "-")
        assert row["bound"].startswith(f"FOR VALUES FROM ('{day} 00:00:00') TO ('")
        assert (row["owner"], row["open"], row["public"]) == ("supabase_realtime_admin", True, False)
    await conn.execute("select realtime.send('{}', 'e', 'here')")
    rows = await conn.fetch("select topic from realtime.messages order by topic")
    assert [row["topic"] for row in rows] == ["here", "now"]
    heard = [row["topic"] for row in await conn.fetch("select topic from public.heard")]
    assert heard == ["now", "old", "here"], "a trigger on the table holds in partitions that are made after it"


async def test_claims_are_read_from_both_forms_of_the_settings(conn: asyncpg.Connection) -> None:
    id_ = "8a1c4b1e-6f8e-4c55-9d53-0d54f4a3ad01"
    assert await conn.fetchrow("select auth.uid(), auth.role(), auth.email(), auth.jwt()") == (None,) * 4
    async with conn.transaction():
        await conn.execute(
            "select set_config('request.jwt.claims', $1, true)", f'{{"sub": "{id_}", "role": "anon", "email": "e"}}'
        )
        assert str(await conn.fetchval("select auth.uid()")) == id_
        assert await conn.fetchrow("select auth.role(), auth.email(), auth.jwt() ->> 'sub'") == ("anon", "e", id_)
        await conn.execute("select set_config('request.jwt.claim.sub', $1, true)", id_.replace("8a", "9b"))
        assert str(await conn.fetchval("select auth.uid()")) == id_.replace("8a", "9b")
    assert await conn.fetchval("select auth.uid()") is None, "a setting that is reset reads as an empty text"


async def test_storage_answers_as_the_hosted_one(conn: asyncpg.Connection) -> None:
    await conn.execute("insert into storage.buckets (id, name, public) values ('b', 'b', true)")
    await conn.execute(
        "insert into storage.objects (bucket_id, name) values ('b', 'me/a.png'), ('b', 'you/b.txt'), ('b', 'c.tar.gz')"
    )
    assert await conn.fetchval("select storage.foldername('a/b/c.png')") == ["a", "b"]
    assert await conn.fetchval("select storage.filename('a/b/c.png')") == "c.png"
    assert await conn.fetchval("select storage.extension('a/c.tar.gz')") == "gz"
    assert [row["name"] for row in await conn.fetch("select name from storage.search('', 'b')")] == [
        "me",
        "you",
        "c.tar.gz",
    ]
    assert [row["name"] for row in await conn.fetch("select name from storage.search('me/', 'b', levels => 2)")] == [
        "a.png"
    ]
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="Direct deletion"):
        await conn.execute("delete from storage.objects where false")
    await conn.execute("set storage.allow_delete_query = 'true'; delete from storage.objects")
    with pytest.raises(asyncpg.RaiseError, match="too long"):
        await conn.execute("insert into storage.buckets (id, name) values ('x', repeat('x', 101))")


async def test_the_database_sends_messages(conn: asyncpg.Connection) -> None:
    await conn.execute(
        """
        create table public.notes (id int, text text);
        create function public.tell() returns trigger language plpgsql security definer as $$
        begin
          perform realtime.broadcast_changes('notes', tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
          return null;
        end $$;
        create trigger tell after insert or update or delete on public.notes for each row execute function tell();
        insert into public.notes values (1, 'a'); update public.notes set text = 'b'; delete from public.notes;
        """
    )
    rows = await conn.fetch(
        "select event, topic, private, payload ->> 'table' as name, payload ? 'id' as numbered,"
        " payload #>> '{record,text}' as after, payload #>> '{old_record,text}' as before from realtime.messages"
    )
    assert [(row["event"], row["before"], row["after"]) for row in rows] == [
        ("INSERT", None, "a"),
        ("UPDATE", "a", "b"),
        ("DELETE", "b", None),
    ]
    assert {(row["topic"], row["private"], row["name"], row["numbered"]) for row in rows} == {
        ("notes", True, "notes", True)
    }
    told: list[str] = []
    conn.add_log_listener(lambda _, message: told.append(message.message))
    await conn.execute("select realtime.send('{}', 'e', null::text)")
    assert len(told) == 1, "what cannot be sent is a warning"


async def test_migrations_of_many_projects_have_what_they_touch(conn: asyncpg.Connection) -> None:
    await conn.execute(
        """
        create table public.profiles (id uuid primary key references auth.users on delete cascade, name text);
        create function public.handle_new_user() returns trigger language plpgsql security definer set search_path = ''
          as $$ begin insert into public.profiles (id) values (new.id); return new; end $$;
        create trigger on_auth_user_created after insert on auth.users
          for each row execute function public.handle_new_user();
        create policy "own files" on storage.objects for select to authenticated
          using (bucket_id = 'avatars' and (storage.foldername(name))[1] = auth.uid()::text);
        create policy "in rooms" on realtime.messages for select to authenticated
          using (realtime.topic() like 'room:%');
        insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
          values ('avatars', 'avatars', true, 1000, array['image/png']) on conflict (id) do nothing;
        alter publication supabase_realtime add table public.profiles;
        grant usage on schema public to supabase_auth_admin;
        alter role anon set statement_timeout = '3s';
        notify pgrst, 'reload schema';
        insert into auth.users (id, aud, role, email)
          values (gen_random_uuid(), 'authenticated', 'authenticated', 'a@example.org');
        """
    )
    assert await conn.fetchval("select count(*) from public.profiles") == 1


async def test_two_databases_of_one_server_are_prepared(databases: Databases, connect: Connect) -> None:
    async with databases.clone("empty") as one, databases.clone("empty") as other:
        for dsn in (one, other):
            conn = await connect(as_superuser(dsn))
            assert await prepare_platform(conn)
            await conn.close()


async def test_what_a_project_builds_on_is_looked_at_with_it(conn: asyncpg.Connection) -> None:
    async def looked_at() -> set[str]:
        return {row["name"] for row in await conn.fetch(prove_rows.TABLES)}

    assert await looked_at() == set(), "a new project has nothing of its own"
    await conn.execute("create table public.things (id int primary key)")
    assert await looked_at() == {"public.things"}
    await conn.execute("create table public.profiles (id uuid primary key references auth.identities)")
    assert await looked_at() == {"public.things", "public.profiles", "auth.identities", "auth.users"}
    await conn.execute("create policy own on storage.objects for select using (true)")
    assert await looked_at() >= {"storage.objects", "storage.buckets"}
    await conn.execute("create function public.f() returns trigger language plpgsql as 'begin return new; end'")
    await conn.execute("create trigger t before insert on auth.sessions for each row execute function public.f()")
    assert await looked_at() >= {"auth.sessions", "auth.oauth_clients"}
