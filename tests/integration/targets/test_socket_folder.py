"""The folder of a socket whose data folder's path does not fit: made for us alone, and gone when Postgres is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.errors import EnvironmentError_
from toolkit.postgres.cluster import THROWAWAY_SETTINGS, PostgresCluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[PostgresCluster]:
    found = PostgresCluster(tmp_path / "a path, with blanks" / "postgres", settings=THROWAWAY_SETTINGS)
    yield found
    found.destroy()


def test_it_lasts_as_long_as_the_cluster_runs(cluster: PostgresCluster) -> None:
    folder = cluster.socket_dir
    assert folder != cluster.data_dir
    assert not folder.exists(), "asking for an address makes nothing"
    cluster.start()
    assert folder.stat().st_mode & 0o077 == 0
    cluster.stop()
    assert not folder.exists()
    folder.mkdir(mode=0o700)  # as a crash leaves it
    cluster.start()
    cluster.stop()
    assert not folder.exists()
    folder.mkdir()
    cluster.stop()
    assert not folder.exists(), "nothing ran, and what a crash had left is gone all the same"


@pytest.mark.parametrize("how", ["open to others", "link", "of somebody else"])
def test_one_that_is_not_ours_alone_is_not_used(cluster: PostgresCluster, tmp_path: Path, how: str) -> None:
    folder = cluster.socket_dir
    if how == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir(mode=0o700)
        if how == "open to others":
            folder.chmod(0o777)
        elif os.geteuid() == 0:
            os.chown(folder, 54321, 54321)
        else:
            folder.rmdir()
            pytest.skip("only root can make a folder of somebody else's")
    try:
        with pytest.raises(EnvironmentError_, match="not a folder of ours alone"):
            cluster.start()
        assert not cluster.running
    finally:
        folder.unlink() if folder.is_symlink() else folder.rmdir()
