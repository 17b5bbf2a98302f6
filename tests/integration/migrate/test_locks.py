"""A deadlock with the application: the file is taken back whole, the application goes on, the file is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

from tests.integration.migrate.conftest import Write, until
from toolkit.migrate import Options, Progress, migrate_up
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.run.locks import LockPolicy
from toolkit.migrate.run.run_model import Moment

Connect = Callable[[str], Awaitable[asyncpg.Connection]]


async def test_the_victim_of_a_deadlock_is_tried_again(bare_db: str, write: Write, connect: Connect) -> None:
    folder = write(
        {
            "1_two.sql": "create table public.one (id integer); create table public.two (id integer);",
            # The file notices the deadlock long before the application does, so that it is the victim.
            "2_both.sql": "set local deadlock_timeout = '10ms';\nlock table public.one in access exclusive mode;\n"
            "lock table public.two in access exclusive mode;\ncreate table public.three ();",
        }
    )
    await migrate_up(bare_db, read_folder(folder), to="1")
    application, watcher = await connect(bare_db), await connect(bare_db)
    transaction = application.transaction()
    await transaction.start()
    await application.execute("insert into public.two values (1)")
    waiting: list[asyncio.Task[str]] = []

    async def cross(moment: Moment) -> None:
        """Before the second lock the application already waits for the first: nobody can go on."""
        if (moment.kind, moment.index) == ("before_statement", 3) and not waiting:
            waiting.append(asyncio.create_task(application.execute("insert into public.one values (1)")))
            pid = application.get_server_pid()
            await until(watcher, f"select wait_event_type = 'Lock' from pg_stat_activity where pid = {pid}")

    told: list[Progress] = []
    freed = asyncio.Event()

    def tell(progress: Progress) -> None:
        told.append(progress)
        if progress.phase == "retry":
            freed.set()

    policy = LockPolicy(lock_timeout_ms=20_000, first_pause_s=0.02, longest_pause_s=0.1, deadline_s=60)
    running = asyncio.create_task(
        migrate_up(bare_db, read_folder(folder), options=Options(locks=policy, interrupt=cross), on_progress=tell)
    )
    await asyncio.wait_for(freed.wait(), 30)
    assert await asyncio.wait_for(waiting[0], 30) == "INSERT 0 1"
    await transaction.commit()
    result = await asyncio.wait_for(running, 60)
    assert result.ok, result.steps
    assert result.steps[0].attempts > 1
    assert await watcher.fetchval("select to_regclass('public.three') is not null")
    assert await watcher.fetchval("select (select count(*) from one) + (select count(*) from two)") == 2
