"""After the commit history and catalog are read again: success is what the database says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.integration.migrate.conftest import PAIR, Write
from toolkit.migrate import Options, migrate_up
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.run.run_model import Moment

Connect = Callable[[str], Awaitable[asyncpg.Connection]]


async def test_a_history_row_that_vanishes_at_commit_is_no_success(
    bare_db: str, write: Write, connect: Connect
) -> None:
    """Whatever the reason, a run is believed only after the history was read again."""
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder), to="1")
    conn = await connect(bare_db)
    await conn.execute(
        "create function public.thief() returns trigger language plpgsql as $$ begin"
        " delete from supabase_migrations.schema_migrations where version = new.version; return null; end $$;"
        "create constraint trigger thief after insert on supabase_migrations.schema_migrations"
        " deferrable initially deferred for each row execute function public.thief()"
    )
    result = await migrate_up(bare_db, read_folder(folder))
    assert not result.ok
    assert result.steps[0].failure is not None
    assert "the history has no version 2" in result.steps[0].failure.message


async def test_a_table_that_vanishes_at_commit_is_no_success(bare_db: str, write: Write, connect: Connect) -> None:
    """A deferred trigger runs when every statement is through, and drops what the file made."""
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder), to="1")
    conn = await connect(bare_db)
    await conn.execute(
        "create function public.thief() returns trigger language plpgsql as $$ begin"
        " drop table public.second; return null; end $$;"
        "create constraint trigger thief after insert on supabase_migrations.schema_migrations"
        " deferrable initially deferred for each row execute function public.thief()"
    )
    result = await migrate_up(bare_db, read_folder(folder))
    failure = result.steps[0].failure
    assert failure is not None
    assert "the commit succeeded, but of what it made this is gone: table second, column second.id" in failure.message
    assert "deferred trigger" in failure.remedy


@pytest.mark.parametrize(
    ("act", "gone"),
    [
        ("drop table public.second", "table second"),
        ("alter table public.first drop column extra", "column first.extra"),
        ("drop table public.second; create table public.second (id integer)", "table second"),
        ("comment on table public.second is 'ours'; create table public.third (); grant select on second to anon", ""),
    ],
)
async def test_what_another_session_does_between_commit_and_the_second_look(
    bare_db: str, write: Write, connect: Connect, act: str, gone: str
) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder), to="1")
    other = await connect(bare_db)

    async def meddle(moment: Moment) -> None:
        if moment.kind == "after_commit":
            await other.execute(act)

    result = await migrate_up(bare_db, read_folder(folder), options=Options(interrupt=meddle))
    failure = result.steps[0].failure
    assert result.ok is not bool(gone)
    if gone:
        assert failure is not None
        assert gone in failure.message
        assert "another session" in failure.remedy


async def test_a_file_that_changed_nothing_is_remarked_upon(bare_db: str, write: Write) -> None:
    folder = write(
        {
            "1_a.sql": "create table public.a (id integer); create temp table passing () on commit drop;",
            "2_same.sql": "create table if not exists public.a (id integer, note text);",
            "3_rows.sql": "insert into public.a values (1); create temp table t on commit drop as select 1;",
        }
    )
    result = await migrate_up(bare_db, read_folder(folder))
    assert result.ok, result.steps
    assert [len(step.notes) for step in result.steps] == [0, 1, 0]
    assert (
        "2_same.sql changed nothing in the catalog, though 1 of its statements is meant to" in result.steps[1].notes[0]
    )
