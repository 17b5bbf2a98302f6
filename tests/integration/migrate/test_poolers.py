"""The runner on connections and databases as other people have them: through pgbouncer, and with awkward defaults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.integration.migrate.conftest import Write
from tests.support.awkward_defaults import awkward_defaults
from tests.support.pgbouncer import pooled
from toolkit.errors import RefusalError, UsageError
from toolkit.migrate import Options, migrate_down, migrate_status, migrate_up
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.run.locks import refuse_without_lock, runner_lock
from toolkit.postgres import connection

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
LOCKS = "select count(*) from pg_locks where locktype = 'advisory'"


async def test_a_transaction_pooler_is_refused_on_any_port_and_no_lock_stays(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder, look = read_folder(write({"1_a.sql": "create table public.a ();"})), await connect(bare_db)
    async with pooled(bare_db) as address:
        for ask in (migrate_up, migrate_status):
            with pytest.raises(UsageError, match="transaction pooler") as refusal:
                await ask(address, folder)
            assert "session mode" in refusal.value.remedy
    assert await look.fetchval(LOCKS) == 0
    async with pooled(bare_db, "session") as address:
        assert (await migrate_up(address, folder)).ok
    assert await look.fetchval(LOCKS) == 0


async def test_a_transaction_in_another_session_than_the_lock_is_refused_and_the_lock_does_not_stay(
    emptied_db: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would be, were a pooler not recognised."""

    async def deceived(*_: object) -> bool:
        return False

    async def in_transaction(address: str) -> asyncpg.transaction.Transaction:
        transaction = (await asyncpg.connect(address, statement_cache_size=0)).transaction()
        await transaction.start()
        return transaction

    monkeypatch.setattr(connection, "pools_transactions", deceived)
    look = await connect(emptied_db)
    async with pooled(emptied_db) as address, connection.connected(address) as conn:
        async with runner_lock(conn, 1):
            async with conn.transaction():
                await refuse_without_lock(conn)
            with_the_lock = await in_transaction(address)  # pgbouncer gives away what was used last
            with pytest.raises(RefusalError, match="does not hold the runner's lock"):
                async with conn.transaction():
                    await refuse_without_lock(conn)
            another = await in_transaction(address)
            await with_the_lock.rollback()
            await another.rollback()
            assert await look.fetchval(LOCKS) == 1
        assert await look.fetchval(LOCKS) == 0


async def test_a_file_that_frees_the_runners_lock_is_found_out(bare_db: str, write: Write) -> None:
    files = {"1_a.sql": "select pg_advisory_unlock_all();", "2_b.sql": "create table public.b ();"}
    result = await migrate_up(bare_db, read_folder(write(files)))
    first, second = result.steps
    assert (first.outcome, second.outcome) == ("applied", "failed")
    assert second.failure is not None
    assert "pg_advisory_unlock_all" in second.failure.message


async def test_awkward_defaults_of_a_database_change_nothing(bare_db: str, write: Write, options: Options) -> None:
    folder = write(
        {
            "1_a.sql": "create table public.a (id integer primary key, said text, at timestamptz default now());\n"
            r"insert into public.a (id, said) values (1, 'C:\'), (2, 'b');",
            "2_b.sql": "-- toolkit: transaction=false\ncreate index concurrently a_said on public.a (said);",
        }
    )
    (folder / "rollbacks").mkdir(exist_ok=True)
    (folder / "rollbacks" / "1_a.sql").write_text("-- destroys: table public.a\ndrop table public.a;")
    (folder / "rollbacks" / "2_b.sql").write_text("drop index public.a_said;")
    async with awkward_defaults(bare_db):
        up = await migrate_up(bare_db, read_folder(folder))
        assert up.ok, up.steps
        assert not (await migrate_status(bare_db, read_folder(folder))).troubled
        down = await migrate_down(bare_db, read_folder(folder), to="0", options=options)
        assert down.ok, down.steps
        assert [export.rows for step in down.steps for export in step.exports] == [2]
    assert down.catalog_after
