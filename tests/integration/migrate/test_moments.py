"""A run can be broken off at every one of its moments, and looked at from inside after each statement."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import asyncpg
import pytest

from tests.integration.migrate.conftest import PAIR, Write
from toolkit.migrate import Options, migrate_down, migrate_status, migrate_up, snapshot
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.run.run_model import Interrupt, Moment
from toolkit.postgres.connection import Connection

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
HEAD = "-- toolkit: transaction=false\n"
ALONE = {
    "1_t.sql": "create table public.t (a integer, b integer); insert into t values (1, 1);",
    "2_i.sql": HEAD + "create index concurrently i on t (a);\ncreate table public.u ();",
}


def recorder(seen: list[tuple[str, int]]) -> Interrupt:
    async def note(moment: Moment) -> None:
        seen.append((moment.kind, moment.index))

    return note


def terminator(conn: asyncpg.Connection, kind: str, index: int) -> Interrupt:
    async def end(moment: Moment) -> None:
        if (moment.kind, moment.index) == (kind, index):
            assert await conn.fetchval("select pg_terminate_backend($1, 5000)", moment.pid)

    return end


async def test_a_file_in_a_transaction_has_its_moments_in_order(bare_db: str, write: Write) -> None:
    seen: list[tuple[str, int]] = []
    assert (await migrate_up(bare_db, read_folder(write(PAIR)), to="1", options=Options(interrupt=recorder(seen)))).ok
    assert seen == [
        ("before_statement", 1),
        ("after_statement", 1),
        ("before_statement", 2),
        ("after_statement", 2),
        ("before_commit", 0),
        ("after_commit", 0),
    ]


async def test_a_file_without_transaction_has_moments_for_each_journal_entry(bare_db: str, write: Write) -> None:
    seen: list[tuple[str, int]] = []
    folder = write(ALONE)
    await migrate_up(bare_db, read_folder(folder), to="1")
    assert (await migrate_up(bare_db, read_folder(folder), options=Options(interrupt=recorder(seen)))).ok
    assert seen == [(kind, index) for index in (1, 2) for kind in EACH] + [("before_commit", 0), ("after_commit", 0)]


@pytest.mark.parametrize(
    ("kind", "index", "committed"),
    [
        ("after_statement", 1, False),
        ("before_commit", 0, False),
        ("after_commit", 0, True),
    ],
)
async def test_a_backend_ended_at_a_moment_leaves_before_or_after(
    bare_db: str, write: Write, connect: Connect, kind: str, index: int, committed: bool
) -> None:
    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder), to="1")
    before = await snapshot(bare_db)
    options = Options(interrupt=terminator(await connect(bare_db), kind, index))
    result = await migrate_up(bare_db, read_folder(folder), options=options)
    assert result.ok is committed
    now = await snapshot(bare_db)
    assert (now.digest() == before.digest()) is not committed
    if committed:
        assert "The connection broke after the commit" in result.steps[0].notes[0]
    again = await migrate_up(bare_db, read_folder(folder))
    assert (again.ok, len(again.steps)) == (True, 0 if committed else 1)


EACH = ("before_statement", "after_statement", "before_commit", "after_commit")


@pytest.mark.parametrize(
    ("kind", "index"),
    [*((kind, 1) for kind in EACH), ("after_statement", 2), ("before_commit", 0), ("after_commit", 0)],
)
async def test_a_file_without_transaction_goes_on_from_every_moment(
    bare_db: str, write: Write, connect: Connect, kind: str, index: int
) -> None:
    folder = write(ALONE)
    await migrate_up(bare_db, read_folder(folder), to="1")
    conn = await connect(bare_db)
    result = await migrate_up(bare_db, read_folder(folder), options=Options(interrupt=terminator(conn, kind, index)))
    assert result.ok is ((kind, index) == ("after_commit", 0))
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    assert await conn.fetchval("select indisvalid from pg_index where indexrelid = 'i'::regclass")
    assert await conn.fetchval("select to_regclass('public.u') is not null")
    assert await conn.fetchval("select count(*) from supabase_migrations.toolkit_journal") == 0
    assert (await migrate_status(bare_db, read_folder(folder))).pending == ()


async def test_a_farewell_that_arrives_before_the_end_of_the_connection_is_a_lost_connection(
    bare_db: str, write: Write
) -> None:
    """asyncpg then says that another operation is in progress, which is no class of its connection errors."""
    folder = write(PAIR)

    async def farewell(moment: Moment) -> None:
        if (moment.kind, moment.index) == ("before_statement", 2):
            raise asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress")

    result = await migrate_up(bare_db, read_folder(folder), options=Options(interrupt=farewell))
    failure = result.steps[0].failure
    assert failure is not None
    assert (failure.statement, failure.message) == (2, "the server ended the connection")
    assert (await migrate_up(bare_db, read_folder(folder))).ok


async def test_locks_are_read_from_inside_after_each_statement(bare_db: str, write: Write, options: Options) -> None:
    seen: list[tuple[str, int, list[str]]] = []

    async def look(moment: Moment, conn: Connection) -> None:
        assert conn.get_server_pid() == moment.pid
        rows = await conn.fetch(
            "select l.mode from pg_locks l where l.pid = pg_backend_pid() and l.relation = to_regclass('public.first')"
        )
        seen.append((moment.direction, moment.index, [row["mode"] for row in rows]))

    folder = write(PAIR)
    await migrate_up(bare_db, read_folder(folder), to="1")
    watched = replace(options, observe=look)
    assert (await migrate_up(bare_db, read_folder(folder), options=watched)).ok
    assert (await migrate_down(bare_db, read_folder(folder), options=watched)).ok
    assert [(direction, index) for direction, index, _ in seen] == [("up", 1), ("up", 2), ("down", 1), ("down", 2)]
    assert seen[0][2] == ["AccessExclusiveLock"]
    assert "AccessExclusiveLock" in seen[3][2]


async def test_nobody_looks_inside_a_statement_that_refuses_a_transaction(bare_db: str, write: Write) -> None:
    seen: list[int] = []

    async def look(moment: Moment, conn: Connection) -> None:
        assert conn.is_in_transaction()
        seen.append(moment.index)

    folder = write(ALONE)
    await migrate_up(bare_db, read_folder(folder), to="1")
    assert (await migrate_up(bare_db, read_folder(folder), options=Options(observe=look))).ok
    assert seen == [2]
