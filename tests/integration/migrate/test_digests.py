"""Digests of rows, and the two oracles of a schema, notice what they should and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.integration.migrate.conftest import PAIR, Write
from toolkit.errors import EnvironmentError_
from toolkit.migrate import Options, migrate_down, migrate_up, snapshot
from toolkit.migrate.catalog import diff
from toolkit.migrate.catalog.pg_dump import dump_schema, normalise
from toolkit.migrate.catalog.tables import user_tables
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.row_comparison.table_digests import compare_digests, digest_tables
from toolkit.migrate.row_comparison.table_rows import compare_rows, read_table_rows
from toolkit.resources import migrations_dir

Connect = Callable[[str], Awaitable[asyncpg.Connection]]


async def test_rows_of_the_legacy_system_survive_up_down_and_up_again(
    legacy_db: str, connect: Connect, options: Options
) -> None:
    conn = await connect(legacy_db)
    await conn.execute(
        "insert into public.generated_articles_state (user_id, status, article_context, updated_at)"
        " select 'user_' || n, (enum_range(null::public.generation_status))[1 + n % 6], jsonb_build_object('n', n),"
        " now() - n * interval '1 day' from generate_series(1, 60) n"
    )
    before = await digest_tables(conn, await user_tables(conn))
    columns = {table: list(digest.columns) for table, digest in before.items()}
    for run in (
        migrate_up(legacy_db, read_folder(migrations_dir()), options=options),
        migrate_down(legacy_db, read_folder(migrations_dir()), to="20250605000000", options=options),
        migrate_up(legacy_db, read_folder(migrations_dir()), options=options),
    ):
        assert (await run).ok
        assert compare_digests(before, await digest_tables(conn, before, columns)) == ()


async def test_two_dumps_of_one_schema_are_equal_and_do_not_show_the_history(
    bare_db: str, write: Write, connect: Connect
) -> None:
    await migrate_up(bare_db, read_folder(write(PAIR)))
    conn = await connect(bare_db)
    major = conn.get_server_version().major
    first, second = [await dump_schema(bare_db, server_major=major) for _ in range(2)]
    assert first == second
    assert "CREATE TABLE public.second" in first
    assert "supabase_migrations" not in first
    assert normalise("\\restrict abc\n\n-- Dumped by x\nselect 1\n\\unrestrict abc\n") == "select 1\n"


async def test_digests_notice_every_kind_of_change_to_rows(bare_db: str, connect: Connect) -> None:
    conn = await connect(bare_db)
    await conn.execute(
        "create table public.r (id integer primary key, a text, b text, at timestamptz default '2026-01-01');"
        "insert into r (id, a, b) values (1, 'x', null), (2, 'y', ''), (3, 'x', 'V')"
    )
    before = await digest_tables(conn, ["public.r"])
    rows = await read_table_rows(conn, "public.r")
    for change, column in {
        "update r set a = case id when 1 then 'y' when 2 then 'x' else a end": "a",  # swapped between rows
        "update r set b = null where id = 2": "b",  # '' became NULL
        "update r set b = 'N' where id = 1": "b",
        "update r set at = at + interval '1 microsecond' where id = 3": "at",
    }.items():
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute(change)
        await conn.execute("set local timezone = 'Asia/Tokyo'")
        assert compare_digests(before, await digest_tables(conn, ["public.r"])) == (
            f"public.r: values differ in {column}",
        )
        compared = compare_rows(rows, await read_table_rows(conn, "public.r"))
        assert not compared.preserved
        assert {*compared.changed} == {column}
        await transaction.rollback()
    await conn.execute("set timezone = 'Asia/Tokyo'; update r set a = a; alter table r add c integer default 1")
    kept = {"public.r": list(before["public.r"].columns)}
    assert compare_digests(before, await digest_tables(conn, ["public.r"], kept)) == ()
    await conn.execute(
        "delete from r where id = 1; insert into r (id, a) values (4, 'z'); update r set a = 'q' where id = 2"
    )
    compared = compare_rows(rows, await read_table_rows(conn, "public.r", rows.columns))
    assert (compared.lost, compared.changed, compared.added) == (("1",), {"a": ("2",)}, ("4",))
    await conn.execute("create table public.nameless (a integer)")
    with pytest.raises(EnvironmentError_, match="no primary key"):
        await read_table_rows(conn, "public.nameless")
    limited = await digest_tables(conn, ["public.r"], kept, {"public.r": "id = 3"})
    assert limited["public.r"].rows == 1


async def test_a_table_swap_and_a_lost_publication_show_in_the_catalog(bare_db: str, connect: Connect) -> None:
    conn = await connect(bare_db)
    await conn.execute(
        "create table public.a (id integer primary key); alter publication supabase_realtime add table public.a"
    )
    before = await snapshot(bare_db)
    await conn.execute(
        "create table public.b (like public.a including all); drop table public.a; alter table b rename to a"
    )
    found = [str(difference) for difference in diff(before, await snapshot(bare_db))]
    assert "removed: publication supabase_realtime table public.a" in found
