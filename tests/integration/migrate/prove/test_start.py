"""The state a proof starts from is the original's: what cannot be rebuilt is said, never left out in silence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.support.databases import as_superuser
from toolkit.errors import EnvironmentError_, RefusalError
from toolkit.migrate import migrate_plan, snapshot
from toolkit.migrate.catalog import diff
from toolkit.migrate.catalog.pg_dump import dump_text
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.run.plan import Up
from toolkit.migrate.scratch.databases import Scratch
from toolkit.migrate.scratch.start import from_database, from_schema, read_sql, read_statements
from toolkit.postgres.connection import connected
from toolkit.resources import migrations_dir


@pytest.fixture
async def tidy(scratch: Scratch) -> AsyncIterator[Scratch]:
    """The scratch server, without what the test made there."""
    before = set(scratch._made)
    yield scratch
    for name in sorted(set(scratch._made) - before):
        await scratch.drop(name)


async def test_a_database_is_rebuilt_with_its_history_and_nothing_differs(migrated_db: str, tidy: Scratch) -> None:
    start = await from_database(tidy, migrated_db)
    rebuilt = tidy.dsn(start.template)
    assert diff(await snapshot(migrated_db), await snapshot(rebuilt)) == ()
    assert not (await migrate_plan(rebuilt, read_folder(migrations_dir()), Up())).steps, "its history came along"
    assert start.notes == ()


async def test_a_dump_file_is_rebuilt_on_a_bare_project(migrated_db: str, tidy: Scratch, tmp_path) -> None:
    file = tmp_path / "schema.sql"
    file.write_text(await dump_text(migrated_db))
    start = await from_schema(tidy, read_sql(file), file.name)
    assert diff(await snapshot(migrated_db), await snapshot(tidy.dsn(start.template))) == ()
    assert "platform's own" in start.notes[0], "what the platform had made already is told"


async def test_options_that_the_server_keeps_for_itself_are_not_replayed(
    bare_db: str, tidy: Scratch, tmp_path: Path
) -> None:
    conn = await asyncpg.connect(as_superuser(bare_db), timeout=10)
    try:
        await conn.execute(
            "create table public.kept (id int, note text) with (fillfactor = 70); create index on public.kept (id);"
            "update pg_attribute set attoptions = '{pg_attver=7,n_distinct=5}' where attrelid = 'public.kept'::regclass"
            " and attnum > 0; update pg_class set reloptions = reloptions || array['pg_relver=7']"
            " where oid = 'public.kept'::regclass; update pg_class set reloptions = '{pg_relver=7}'"
            " where oid = 'public.kept_id_idx'::regclass"
        )
    finally:
        await conn.close(timeout=5)
    file = tmp_path / "schema.sql"
    file.write_text(await dump_text(bare_db))
    assert "pg_attver=7" in file.read_text()
    for start in (await from_database(tidy, bare_db), await from_schema(tidy, read_sql(file), file.name)):
        rebuilt = await snapshot(tidy.dsn(start.template))
        assert "n_distinct=5" in rebuilt.facts["column public.kept.note"]
        assert diff(await snapshot(bare_db), rebuilt) == ()


async def test_a_role_of_the_original_is_made_before_what_it_owns(bare_db: str, tidy: Scratch) -> None:
    conn = await asyncpg.connect(as_superuser(bare_db), timeout=10)
    try:
        await conn.execute(
            'create role "Odd Role" nologin; create table public.owned (id int);'
            'alter table public.owned owner to "Odd Role"'
        )
        start = await from_database(tidy, bare_db)
        assert diff(await snapshot(bare_db), await snapshot(tidy.dsn(start.template))) == ()
        await tidy.drop(start.template)
    finally:
        await conn.execute('drop table public.owned; drop role if exists "Odd Role"')
        await conn.close(timeout=5)


async def test_what_cannot_be_rebuilt_is_refused_with_its_lines(tidy: Scratch) -> None:
    statements = read_statements("create table a (id int);\ncreate table b (kind no_such_type);\n", "schema.sql")
    with pytest.raises(EnvironmentError_) as refused:
        await from_schema(tidy, statements, "schema.sql")
    assert "schema.sql:2" in refused.value.what
    assert "no_such_type" in refused.value.what
    assert "--scratch-url" in refused.value.remedy


async def test_what_the_platform_owns_may_fail_and_is_told(tidy: Scratch) -> None:
    dumped = (
        "--\n-- Name: pg_graphql; Type: EXTENSION; Schema: -; Owner: -\n--\n\n"
        "CREATE EXTENSION IF NOT EXISTS no_such_extension;\n\n"
        "--\n-- Name: secrets(); Type: FUNCTION; Schema: pgmq; Owner: -\n--\n\n"
        "CREATE FUNCTION pgmq.secrets() RETURNS int LANGUAGE sql AS $$ select 1 $$;\n\n"
        "--\n-- Name: mine; Type: TABLE; Schema: public; Owner: -\n--\n\nCREATE TABLE public.mine (id int);\n"
    )
    start = await from_schema(tidy, read_statements(dumped, "dump.sql"), "dump.sql")
    assert "2 statements" in start.notes[0]
    assert "table public.mine" in (await snapshot(tidy.dsn(start.template))).facts
    needed = dumped.replace("public.mine (id int)", "public.mine (id int default pgmq.secrets())")
    with pytest.raises(EnvironmentError_, match="pgmq"):
        await from_schema(tidy, read_statements(needed, "dump.sql"), "dump.sql")


async def test_rows_of_a_dump_are_part_of_the_start(tidy: Scratch) -> None:
    dumped = "CREATE TABLE public.t (a text);\nCOPY public.t (a) FROM stdin;\nit's\n\\.\n"
    start = await from_schema(tidy, read_statements(dumped, "dump.sql"), "dump.sql")
    async with connected(tidy.dsn(start.template)) as conn:
        assert await conn.fetchval("select a from public.t") == "it's"


def test_rows_that_never_end_are_refused_with_the_line() -> None:
    with pytest.raises(RefusalError, match=r"dump\.sql:2.*COPY"):
        read_statements("select 1;\nCOPY public.t (id) FROM stdin;\n1\n", "dump.sql")


@pytest.mark.parametrize("token", ["abc", "1bQ", "0x", "1e"])
def test_the_random_token_of_a_dump_is_no_statement(token: str) -> None:
    dumped = f"\\restrict {token}\n\nselect 1;\n\\unrestrict {token}\n"
    assert [s.line for s in read_statements(dumped, "dump.sql")] == [3]
