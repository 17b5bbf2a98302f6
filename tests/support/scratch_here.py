"""Replays of migrations on the cluster that the tests have anyway: a cluster of its own takes seconds to start."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from toolkit.migrate.scratch.databases import Scratch, scratch_on
from toolkit.postgres.cluster import MIGRATOR, PostgresCluster


@pytest.fixture
def replay_here(cluster: PostgresCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scratch databases that a command would make on an embedded server are made, and dropped, on that of the tests."""

    def here(bin_dir: Path) -> AbstractAsyncContextManager[Scratch]:
        assert (bin_dir / "postgres").exists()
        return scratch_on(cluster.admin_dsn(), MIGRATOR, throwaway=True)

    monkeypatch.setattr("toolkit.migrate.scratch.origin.embedded_scratch", here)
