"""The catalog snapshot: every planted mutation is noticed, and what means nothing is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from tests.integration.migrate.catalog_mutations import MUTATIONS
from tests.integration.migrate.catalog_subject import HEALTHY, HEALTHY_OUTSIDE, SUBJECT, WITHOUT_EXTENSIONS
from tests.support.databases import as_superuser
from toolkit.errors import EnvironmentError_
from toolkit.migrate.catalog import NOT_MODELLED, CatalogMemory, Snapshot, diff, take_snapshot
from toolkit.migrate.scratch.databases import scratch_on
from toolkit.postgres.cluster import PostgresCluster
from toolkit.postgres.connection import connected
from toolkit.sql import catalog as sql
from toolkit.sql.platform import PLATFORM_SCHEMAS, is_user_schema, user_schema

Connect = Callable[[str], Awaitable[asyncpg.Connection]]


@pytest.fixture
async def subject(bare_db: str, connect: Connect) -> AsyncIterator[asyncpg.Connection]:
    conn = await connect(as_superuser(bare_db))
    await conn.execute(WITHOUT_EXTENSIONS + SUBJECT)
    yield conn
    # A subscription keeps its database from being dropped.
    await conn.execute("drop subscription if exists sub")


async def test_every_planted_mutation_is_noticed_at_its_own_fact(subject: asyncpg.Connection) -> None:
    memory = CatalogMemory()
    before = await take_snapshot(subject, memory=memory)
    untouched = await memory.fingerprint(subject)
    unnoticed, told, mistaken = [], [], []
    for name, (mutation, key) in MUTATIONS.items():
        transaction = subject.transaction()
        await transaction.start()
        await subject.execute(mutation)
        found = diff(before, await take_snapshot(subject))
        if await memory.fingerprint(subject) == untouched:
            mistaken.append(name)
        if not any(difference.key.startswith(key) for difference in found):
            unnoticed.append((name, key, [str(difference) for difference in found]))
        told += [str(difference) for difference in found]
        await transaction.rollback()
    assert not unnoticed
    assert not mistaken, "taken for a catalog that was read before"
    assert await take_snapshot(subject, memory=memory) is before, "rolled back, it is recognised"
    assert len(MUTATIONS) >= 150
    assert "hunter2" not in str((told, before)), "a secret of the schema is in a fact"
    assert diff(before, await take_snapshot(subject)) == ()


async def test_a_copy_is_recognised_until_its_own_settings_differ(cluster: PostgresCluster) -> None:
    """Settings and comments of databases are kept where all databases share them."""
    memory = CatalogMemory()
    async with scratch_on(cluster.dsn(), throwaway=True) as scratch:
        template = await scratch.create()
        one, other = await scratch.create(template), await scratch.create(template)
        async with connected(scratch.dsn(one)) as conn, connected(scratch.dsn(other)) as second:
            before = await take_snapshot(conn, memory=memory)
            assert await take_snapshot(second, memory=memory) is before
            for statement in (
                f"alter database {other} set work_mem = '5MB'",
                f"comment on database {other} is 'another'",
                f"grant create on database {other} to public",
                "create table public.t ()",
            ):
                last = await take_snapshot(second, memory=memory)
                await second.execute(statement)
                assert diff(last, await take_snapshot(second, memory=memory)), statement
            assert await take_snapshot(conn, memory=memory) == before


async def test_what_means_nothing_raises_nothing(subject: asyncpg.Connection) -> None:
    before = await take_snapshot(subject)
    raised = {}
    for name, statements in HEALTHY.items():
        transaction = subject.transaction()
        await transaction.start()
        await subject.execute(statements)
        after = await take_snapshot(subject)
        if found := diff(before, after):
            raised[name] = [str(difference) for difference in found]
        assert bool(found) == (after.digest() != before.digest()), name
        await transaction.rollback()
    assert raised == {}
    for statement in HEALTHY_OUTSIDE:
        await subject.execute(statement)
    await subject.execute("set search_path = app, public; set DateStyle = 'German'; set quote_all_identifiers = on")
    assert [str(difference) for difference in diff(before, await take_snapshot(subject))] == []
    assert await subject.fetchval("show search_path") == "app, public"


async def test_a_table_with_holes_equals_one_without(bare_db: str, connect: Connect) -> None:
    conn = await connect(as_superuser(bare_db))
    plain = "create table public.t (a integer, b text default 'x', c integer); create index on public.t (c)"
    holes = (
        "create table public.t (gone integer, a integer, lost text, b text default 'x', c integer);"
        "alter table public.t drop gone, drop lost; create index on public.t (c)"
    )
    taken = []
    for statements in (plain, holes):
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute(statements)
        taken.append(await take_snapshot(conn, complete=True))
        await transaction.rollback()
    assert diff(*taken, positions=True) == ()
    assert taken[0].digest() == taken[1].digest()


async def test_objects_of_an_extension_are_the_extensions(subject: asyncpg.Connection) -> None:
    before = await take_snapshot(subject)
    await subject.execute("create schema more; create extension pg_trgm schema more")
    found = diff(before, await take_snapshot(subject))
    assert {difference.key for difference in found} == {
        "extension pg_trgm",
        "comment on extension pg_trgm",
        "schema more",
        "grant on schema more to supabase_admin",
    }
    # A part that somebody takes privileges from is no longer as the extension made it.
    await subject.execute("revoke execute on function more.similarity(text,text) from public")
    found = diff(before, await take_snapshot(subject))
    assert "grant on function more.similarity(text,text) to supabase_admin" in {one.key for one in found}
    await subject.execute("grant execute on function more.similarity(text,text) to public")
    assert len(diff(before, await take_snapshot(subject))) == 4
    await subject.execute("drop extension pg_trgm; drop schema more")
    assert diff(before, await take_snapshot(subject)) == ()


async def test_what_everybody_may_read_of_the_system_is_no_fact(subject: asyncpg.Connection) -> None:
    """Its grantor is whoever made the cluster: another name on each kind of server, and nothing a migration did."""
    before = await take_snapshot(subject)
    assert [key for key in before.facts if "information_schema" in key] == []
    await subject.execute("revoke select on information_schema.tables from public")
    await subject.execute("grant create on schema information_schema to anon")
    told = {one.key for one in diff(before, await take_snapshot(subject)) if one.key.startswith("grant on ")}
    assert "grant on table information_schema.tables to supabase_admin" in told
    assert "grant on schema information_schema to anon" in told


async def test_positions_are_read_apart_and_compared_on_request(subject: asyncpg.Connection) -> None:
    before = await take_snapshot(subject, complete=True)
    await subject.execute("insert into app.parent (name) values ('row')")
    after = await take_snapshot(subject, complete=True)
    assert diff(before, after) == ()
    (moved,) = diff(before, after, positions=True)
    assert str(moved) == "changed: position of sequence app.parent_id_seq: called false → true"
    await subject.execute("select setval('app.counter', 7, false)")
    (again,) = diff(after, await take_snapshot(subject, complete=True), positions=True)
    assert str(again) == "changed: position of sequence app.counter: last 1 → 7"
    assert (await take_snapshot(subject)).positions is None


async def test_who_may_not_use_a_sequence_is_told_so_and_no_more(subject: asyncpg.Connection) -> None:
    await subject.execute("grant usage on schema app to anon; grant select on sequence app.parent_id_seq to anon")
    await subject.execute("create schema closed; create sequence closed.s; grant select on closed.s to anon")
    async with subject.transaction():
        await subject.execute("set local role anon")
        snapshot = await take_snapshot(subject, complete=True)
    assert snapshot.positions is not None
    assert snapshot.positions["sequence app.counter"] == '"not readable"'
    assert snapshot.positions["sequence closed.s"] == '"not readable"'
    assert snapshot.positions["sequence app.parent_id_seq"] == '{"called":false,"last":1}'


async def test_a_catalog_that_changes_meanwhile_is_read_again_and_then_refused(
    subject: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await take_snapshot(subject)
    real, calls = sql.queries, []
    vanished = sql.Query("vanished", "select 'x', '{}'::jsonb, 'gone.away'::regclass::oid", "pg_class")

    def meanwhile(left_out: tuple[str, ...] = ()) -> tuple[sql.Query, ...]:
        calls.append(1)
        return (*real(left_out), vanished) if len(calls) <= troubles else real(left_out)

    monkeypatch.setattr(sql, "queries", meanwhile)
    troubles = 2
    assert diff(before, await take_snapshot(subject)) == ()
    assert len(calls) == 3
    calls.clear()
    troubles = 3
    with pytest.raises(EnvironmentError_, match="changed while it was read"):
        await take_snapshot(subject)


async def test_a_snapshot_sees_the_open_transaction_and_leaves_it_as_it_was(subject: asyncpg.Connection) -> None:
    before = await take_snapshot(subject)
    async with subject.transaction():
        await subject.execute("set local search_path = app; create table inside (id integer)")
        found = diff(before, await take_snapshot(subject))
        assert "added: table app.inside" in [str(difference) for difference in found]
        assert await subject.fetchval("show search_path") == "app"
        await subject.execute("create table app.inside_too (id integer)")
    assert await subject.fetchval("select to_regclass('app.inside_too') is not null")


async def test_the_history_schema_is_out_of_scope_and_said_to_be(subject: asyncpg.Connection) -> None:
    before = await take_snapshot(subject)
    await subject.execute("create schema supabase_migrations; create table supabase_migrations.x (id serial)")
    await subject.execute("comment on table supabase_migrations.x is 'history'")
    assert diff(before, await take_snapshot(subject)) == ()
    assert any("supabase_migrations" in entry for entry in NOT_MODELLED)


async def test_a_difference_reads_as_a_sentence(subject: asyncpg.Connection) -> None:
    before = await take_snapshot(subject)
    await subject.execute("alter table app.child alter note set default 'other'")
    (difference,) = diff(before, await take_snapshot(subject))
    assert str(difference) == "changed: column app.child.note: default 'none'::text → 'other'::text"


def counted(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    assert snapshot.unmodelled is not None
    assert all(len(one.names) in (0, one.count) for one in snapshot.unmodelled)
    return {one.kind: one.names for one in snapshot.unmodelled}


async def test_objects_that_no_fact_stands_for_are_counted_and_named(
    subject: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind in turn is forgotten by the facts; the census, which asks other questions, names its every object."""
    known = counted(await take_snapshot(subject, complete=True))
    assert known.keys() == {"member of extension"}
    every = sql.queries()
    forgotten = {}
    for query in (one for one in every if one.catalog is not None):
        objects = {row[2] for row in await subject.fetch(query.text)}
        monkeypatch.setattr(sql, "queries", lambda left_out, gone=query: tuple(q for q in every if q is not gone))
        found = counted(await take_snapshot(subject, complete=True))
        names = [name for kind, names in found.items() if kind != "member of extension" for name in names]
        # What an extension owns is a fact only of the extension itself.
        assert len(names) == len(objects), query.name
        forgotten[query.name] = names
    assert forgotten["operators"] == ["app.===(integer,integer)"]
    assert forgotten["access_methods"] == ["spare"]
    assert forgotten["policies"] == ["own on app.child"]
    # NOT NULL has no name before Postgres 18.
    assert {name for name, names in forgotten.items() if not names} <= {"not_null_constraints"}


async def test_what_no_query_knows_is_counted_too(subject: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    await subject.execute("select lo_create(4242)")
    await subject.execute(
        "create function app.cmp(integer, text) returns integer language sql immutable as $$ select 0 $$;"
        "alter operator family pg_catalog.integer_ops using btree add function 1 (integer, text) app.cmp(integer, text)"
    )
    await subject.execute(
        "create table app.member (id integer); alter extension plpgsql add table app.member;"
        "create index on app.member (id)"
    )
    found = counted(await take_snapshot(subject, complete=True))
    assert found["large object"] == ("4242",)
    assert found["index"] == ("app.member_id_idx",), "an index that somebody put on a table of an extension"
    assert len(found["function of access method"]) == 1
    assert "table" not in found
    await subject.execute("drop index app.member_id_idx; alter extension plpgsql drop table app.member")
    # A catalog of a later Postgres, about which nothing is known.
    monkeypatch.setattr(sql, "CATALOGS", {name: of for name, of in sql.CATALOGS.items() if name != "pg_enum"})
    unknown = [one for one in (await take_snapshot(subject, complete=True)).unmodelled or () if "pg_enum" in one.kind]
    rows = await subject.fetchval("select count(*) from pg_enum")
    assert [(one.kind, one.count) for one in unknown] == [("row of pg_enum", rows)]


async def test_every_catalog_of_this_postgres_has_its_place(subject: asyncpg.Connection) -> None:
    listed = {row["name"] for row in await subject.fetch(sql.census()["catalogs"])}
    assert listed <= sql.CATALOGS.keys(), f"say what becomes of the rows of {listed - sql.CATALOGS.keys()}"
    from_files = {query.catalog for query in sql.queries() if query.catalog is not None}
    objects = {name for name, place in sql.CATALOGS.items() if place == "object"}
    assert objects - from_files == {"pg_largeobject_metadata"}


async def test_a_schema_that_is_left_out_leaves_no_trace(subject: asyncpg.Connection) -> None:
    await subject.execute("create schema side; comment on schema side is 'x'")
    before = await take_snapshot(subject, complete=True, left_out=["side"])
    await subject.execute(
        "create table side.t (id serial primary key, c text check (c > '')); comment on column side.t.c is 'x';"
        "create policy p on side.t using (true); comment on policy p on side.t is 'p';"
        "create type side.e as enum ('a');"
        "create function side.f() returns trigger language plpgsql as $$ begin return null; end $$;"
        "create trigger g after insert on side.t execute function side.f(); comment on trigger g on side.t is 'g';"
        "alter publication supabase_realtime add table side.t; grant all on side.t to anon;"
        "alter default privileges in schema side grant select on tables to anon; create view side.v as select 1 as one;"
        "create operator side.=== (function = int4eq, leftarg = integer, rightarg = integer)"
    )
    after = await take_snapshot(subject, complete=True, left_out=["side"])
    assert [str(one) for one in diff(before, after, positions=True)] == []
    assert before.unmodelled == after.unmodelled
    assert len((await take_snapshot(subject)).facts) > len(after.facts) + 20


STRANGE = """
create schema "We""ird. s";
create type "We""ird. s"."E {0}" as enum ('it''s', '%s', '{}');
create domain "We""ird. s"."select" as text;
create table "We""ird. s"."Tä ble" ("a b" serial primary key, "%s" "We""ird. s"."E {0}", "from" "We""ird. s"."select");
create view "We""ird. s"."v'" as select "a b" from "We""ird. s"."Tä ble";
create function "We""ird. s"."F"("x y" "We""ird. s"."E {0}") returns integer language sql as 'select 1';
create policy "may; read" on "We""ird. s"."Tä ble" using (true);
comment on column "We""ird. s"."Tä ble"."a b" is 'c';
grant select ("a b") on "We""ird. s"."Tä ble" to anon;
"""


async def test_any_name_is_taken_as_it_is(bare_db: str, connect: Connect) -> None:
    conn = await connect(as_superuser(bare_db))
    empty = await take_snapshot(conn, complete=True)
    await conn.execute(STRANGE)
    before = await take_snapshot(conn, complete=True)
    assert before.positions is not None
    assert 'sequence "We""ird. s"."Tä ble_a b_seq"' in before.positions
    assert before.unmodelled == empty.unmodelled
    await conn.execute('insert into "We""ird. s"."Tä ble" default values')
    await conn.execute('alter policy "may; read" on "We""ird. s"."Tä ble" using (false)')
    after = await take_snapshot(conn, complete=True)
    assert [one.key for one in diff(before, after, positions=True)] == [
        'policy "We""ird. s"."Tä ble"."may; read"',
        'position of sequence "We""ird. s"."Tä ble_a b_seq"',
    ]
    hidden = await take_snapshot(conn, complete=True, left_out=['We"ird. s'])
    assert diff(empty, hidden, positions=True) == ()


async def test_whose_a_schema_is_the_server_and_we_say_alike(subject: asyncpg.Connection) -> None:
    names = [
        "public",
        "app",
        "a'b",
        "pg_catalog",
        "pg_temp_3",
        "Pg_x",
        "information_schema",
        "supabase_migrations",
        "auth",
    ]
    for without in ((), PLATFORM_SCHEMAS, ("a'b",)):
        query = f"select {user_schema('$1::text', without=without)}"
        for name in names:
            assert await subject.fetchval(query, name) == is_user_schema(name, without=without), name
