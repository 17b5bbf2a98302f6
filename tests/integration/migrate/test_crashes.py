"""The backend killed between any two statements: the catalog is A or B, never in between, and a rerun converges."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.integration.migrate.conftest import Write, until
from toolkit.migrate import Options, Progress, migrate_down, migrate_up, snapshot
from toolkit.migrate.catalog import diff
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.run.locks import RUNNER_KEY

Connect = Callable[[str], Awaitable[asyncpg.Connection]]

STATEMENTS = 4
FILE = {
    "1_t.sql": "create table public.kept (a integer); insert into kept values (1);",
    "2_x.sql": "create table public.x1 (); alter table kept add b text; create table public.x2 ();"
    " create table public.x3 ();",
    "rollbacks/2_x.sql": "-- destroys: table x1\n-- destroys: table x2\n-- destroys: table x3\n"
    "-- destroys: column kept.b\ndrop table x1; alter table kept drop b; drop table x2; drop table x3;",
}


class Killer:
    """A progress callback that ends the runner's backend as it starts a certain statement."""

    def __init__(self, conn: asyncpg.Connection, statement: int) -> None:
        self.conn, self.statement = conn, statement
        self.tasks: list[asyncio.Task[None]] = []

    def __call__(self, progress: Progress) -> None:
        if progress.phase == "statement" and progress.index == self.statement:
            self.tasks.append(asyncio.get_running_loop().create_task(end_runner(self.conn)))

    async def done(self) -> None:
        assert len(self.tasks) == 1
        await asyncio.wait_for(self.tasks[0], 10)


async def end_runner(conn: asyncpg.Connection) -> None:
    """End the backend of the runner and return when it is gone."""
    ended = await conn.fetchval(
        "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity"
        " where application_name = 'toolkit migrate' and datname = current_database()"
    )
    assert ended == 1


@pytest.mark.parametrize("statement", range(1, STATEMENTS + 1))
async def test_killed_on_the_way_up(bare_db: str, write: Write, connect: Connect, statement: int) -> None:
    # Each statement lingers, so that the blow falls inside it.
    lingering = FILE["2_x.sql"].split("; ")
    lingering.insert(statement - 1, "select pg_sleep(20)")
    folder = write(FILE)
    await migrate_up(bare_db, read_folder(folder), to="1")
    before = await snapshot(bare_db)
    write({"2_x.sql": "; ".join(lingering)})
    killer = await connect(bare_db)
    blow = Killer(killer, statement)
    result = await migrate_up(bare_db, read_folder(folder), on_progress=blow)
    await blow.done()
    assert not result.ok
    failure = result.steps[0].failure
    assert failure is not None
    assert failure.statement == statement
    assert failure.remedy
    assert diff(before, await snapshot(bare_db)) == ()
    assert await killer.fetchval("select array_agg(version) from supabase_migrations.schema_migrations") == ["1"]
    assert (
        await killer.fetchval("select event from supabase_migrations.toolkit_events order by id desc limit 1")
        == "failed"
    )
    assert not await killer.fetchval("select exists (select from pg_locks where locktype = 'advisory')")
    write(FILE)
    assert (await migrate_up(bare_db, read_folder(folder))).ok


async def test_killed_on_the_way_down(bare_db: str, write: Write, connect: Connect, options: Options) -> None:
    folder = write(FILE)
    await migrate_up(bare_db, read_folder(folder))
    before = await snapshot(bare_db)
    write(
        {"rollbacks/2_x.sql": FILE["rollbacks/2_x.sql"].replace("drop table x2", "select pg_sleep(20); drop table x2")}
    )
    killer = await connect(bare_db)
    blow = Killer(killer, 3)
    result = await migrate_down(bare_db, read_folder(folder), options=options, on_progress=blow)
    await blow.done()
    assert not result.ok
    assert diff(before, await snapshot(bare_db)) == ()
    write(FILE)
    result = await migrate_down(bare_db, read_folder(folder), options=options)
    assert result.ok
    assert await killer.fetchval("select array_agg(a) from kept") == [1]


async def test_a_commit_whose_answer_was_lost_is_recognised(bare_db: str, write: Write, connect: Connect) -> None:
    """The backend dies after the commit record is written and before anybody hears of it; only the history knows."""
    folder = write(FILE)
    await migrate_up(bare_db, read_folder(folder), to="1")
    killer = await connect(bare_db)

    def lose(progress: Progress) -> None:
        if progress.phase == "statement" and progress.index == STATEMENTS:
            lost.append(progress.label)

    lost: list[str] = []
    original = asyncpg.transaction.Transaction.commit

    async def commit_and_lose(self: asyncpg.transaction.Transaction) -> None:
        await original(self)
        if lost:
            lost.clear()
            await end_runner(killer)
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg.transaction.Transaction, "commit", commit_and_lose)
        result = await migrate_up(bare_db, read_folder(folder), on_progress=lose)
    assert result.ok
    assert result.steps[0].outcome == "applied"
    assert "after the commit" in result.steps[0].notes[0]
    assert await killer.fetchval(
        "select array_agg(version order by version) from supabase_migrations.schema_migrations"
    ) == [
        "1",
        "2",
    ]


async def test_a_connection_lost_between_the_failure_and_its_record(
    bare_db: str, write: Write, connect: Connect
) -> None:
    """The backend dies right after a file failed: the first failure is what is told and recorded."""
    folder = write(FILE)
    await migrate_up(bare_db, read_folder(folder), to="1")
    before = await snapshot(bare_db)
    write({"2_x.sql": "create table public.x1 (); select 1 / 0;"})
    killer = await connect(bare_db)
    original = asyncpg.transaction.Transaction.rollback
    once: list[bool] = [True]

    async def roll_back_and_lose(self: asyncpg.transaction.Transaction) -> None:
        await original(self)
        if once and failing:
            once.clear()
            await end_runner(killer)

    failing: list[str] = []

    def tell(progress: Progress) -> None:
        if progress.phase == "statement" and progress.index == 2:
            failing.append(progress.label)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg.transaction.Transaction, "rollback", roll_back_and_lose)
        result = await migrate_up(bare_db, read_folder(folder), on_progress=tell)
    assert not once
    assert result.steps[0].failure is not None
    assert result.steps[0].failure.sqlstate == "22012"
    assert diff(before, await snapshot(bare_db)) == ()
    assert await killer.fetchval(
        "select detail from supabase_migrations.toolkit_events order by id desc limit 1"
    ) == str(result.steps[0].failure)


async def test_a_cancelled_run_leaves_nothing_behind(bare_db: str, write: Write, connect: Connect) -> None:
    """What Ctrl-C does: the task is cancelled, wherever it stands."""
    folder = write(FILE)
    await migrate_up(bare_db, read_folder(folder), to="1")
    before = await snapshot(bare_db)
    write({"2_x.sql": "create table public.x1 (); select pg_sleep(20); create table public.x2 ()"})
    sleeping = asyncio.Event()

    def tell(progress: Progress) -> None:
        if progress.phase == "statement" and progress.index == 2:
            sleeping.set()

    running = asyncio.create_task(migrate_up(bare_db, read_folder(folder), on_progress=tell))
    await asyncio.wait_for(sleeping.wait(), 30)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 30)
    assert diff(before, await snapshot(bare_db)) == ()
    conn = await connect(bare_db)
    # The lock is free at once: no waiting for anybody.
    assert await conn.fetchval("select pg_try_advisory_lock($1)", RUNNER_KEY)
    await conn.fetchval("select pg_advisory_unlock($1)", RUNNER_KEY)
    write(FILE)
    assert (await migrate_up(bare_db, read_folder(folder))).ok


async def test_a_statement_that_will_not_be_stopped_does_not_hold_up_who_stops_it(
    bare_db: str, write: Write, connect: Connect
) -> None:
    stubborn = "do $$ begin perform pg_sleep(600); exception when query_canceled then perform pg_sleep(600); end $$"
    folder = write({"1_x.sql": f"create table public.x1 (); {stubborn}; create table public.x2 ()"})
    sleeping = asyncio.Event()

    def tell(progress: Progress) -> None:
        if progress.phase == "statement" and progress.index == 2:
            sleeping.set()

    running = asyncio.create_task(migrate_up(bare_db, read_folder(folder), on_progress=tell))
    await asyncio.wait_for(sleeping.wait(), 30)
    conn = await connect(bare_db)
    await until(conn, "select exists (select from pg_stat_activity where wait_event = 'PgSleep')")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 60)
    assert await conn.fetchval("select pg_try_advisory_lock($1)", RUNNER_KEY)
    await conn.fetchval("select pg_advisory_unlock($1)", RUNNER_KEY)
    assert await conn.fetchval("select to_regclass('public.x1')") is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_stopped_command_leaves_nothing_behind(
    bare_db: str, write: Write, connect: Connect, number: signal.Signals, code: int
) -> None:
    folder = write(FILE)
    await migrate_up(bare_db, read_folder(folder), to="1")
    before = await snapshot(bare_db)
    write({"2_x.sql": "create table public.x1 (); select pg_sleep(60);"})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "toolkit.cli",
        "migrate",
        "up",
        "--yes",
        "--migrations",
        str(folder),
        env=os.environ | {"DATABASE_URL": bare_db},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        watcher = await connect(bare_db)
        await until(
            watcher,
            """
            select exists (select from pg_stat_activity where datname = current_database()
              and pid <> pg_backend_pid() and query like '%pg_sleep(60)%' and state = 'active')
        """,
        )
        process.send_signal(number)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == code
    assert b"Stopped" in errors
    assert b"Traceback" not in errors
    assert diff(before, await snapshot(bare_db)) == ()
    assert await watcher.fetchval("select pg_try_advisory_lock($1)", RUNNER_KEY)
