"""Replays of migrations on the cluster that the tests have anyway: a cluster of its own takes seconds to start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from toolkit.postgres.cluster import PostgresCluster


@pytest.fixture
def replay_here(cluster: PostgresCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """`toolkit.migrate.drift` makes its scratch database on the cluster of the tests, where it is dropped again."""

    @asynccontextmanager
    async def here(bin_dir: Path) -> AsyncIterator[PostgresCluster]:
        assert (bin_dir / "postgres").exists()
        try:
            yield cluster
        finally:
            conn = await asyncpg.connect(cluster.dsn(), timeout=10)
            await conn.execute("drop database if exists replayed with (force)")
            await conn.close(timeout=5)

    monkeypatch.setattr("toolkit.migrate.drift.throwaway_cluster", here)
