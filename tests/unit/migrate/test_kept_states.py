"""A kept state is used where everything that made it is the same, and where it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import EnvironmentError_
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.scratch import kept
from toolkit.postgres.cluster import PostgresCluster
from toolkit.postgres.servers import wheel_bin_dir


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def stopped(tmp_path: Path) -> PostgresCluster:
    """What looks like the files of a stopped cluster."""
    data = tmp_path / "postgres"
    (data / "base" / "5").mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    (data / "base" / "5" / "112").write_bytes(bytes(range(256)) * 300)
    (data / "server.log").write_text("said")
    return PostgresCluster(data)


def key(folder: Path) -> dict[str, object]:
    return kept.key_of(read_folder(folder).migrations, wheel_bin_dir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "1_a.sql").write_text("create table public.t (id integer);\n")
    return tmp_path / "migrations"


def test_it_comes_back_as_it_was_kept(folder: Path, stopped: PostgresCluster, tmp_path: Path) -> None:
    assert kept.find(key(folder)) is None
    kept.keep(stopped, key(folder), "the_start")
    found = kept.find(key(folder))
    assert found is not None
    assert found.template == "the_start"
    kept.unpack(found, tmp_path / "again")
    names = {str(path.relative_to(tmp_path / "again")) for path in (tmp_path / "again").rglob("*") if path.is_file()}
    assert names == {"PG_VERSION", "base/5/112"}
    assert (tmp_path / "again/base/5/112").read_bytes() == (stopped.data_dir / "base/5/112").read_bytes()
    assert (tmp_path / "again").stat().st_mode & 0o777 == 0o700


def test_one_byte_another_name_or_another_toolkit_is_another_state(
    folder: Path, stopped: PostgresCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.keep(stopped, key(folder), "the_start")
    file = folder / "1_a.sql"
    before = file.read_bytes()
    file.write_bytes(before.replace(b"id", b"ie"))
    assert kept.find(key(folder)) is None
    file.write_bytes(before)
    assert kept.find(key(folder)) is not None
    monkeypatch.setattr(kept, "PLATFORM_VERSION", 9999)
    assert kept.find(key(folder)) is None
    monkeypatch.undo()
    monkeypatch.setattr(kept, "tool_version", lambda: "0.0.1")
    assert kept.find(key(folder)) is None


def test_a_file_under_the_name_of_another_state_is_not_believed(folder: Path, stopped: PostgresCluster) -> None:
    first = kept.keep(stopped, key(folder), "the_start")
    (folder / "1_a.sql").write_text("select 1;")
    other = kept._file_of(key(folder))
    first.file.rename(other)
    with pytest.raises(kept.Damaged, match="made of something else"):
        kept.find(key(folder))
    assert not other.exists(), "it is made anew"


@pytest.mark.parametrize("damage", ["cut", "longer", "changed", "empty", "no head"])
def test_what_is_damaged_is_told_and_removed(folder: Path, stopped: PostgresCluster, damage: str) -> None:
    made = kept.keep(stopped, key(folder), "the_start")
    whole = made.file.read_bytes()
    made.file.write_bytes(
        {
            "cut": whole[:-512],
            "longer": whole + b"x",
            "changed": whole[:-2000] + bytes([whole[-2000] ^ 1]) + whole[-1999:],
            "empty": b"",
            "no head": b"[]\n" + whole,
        }[damage]
    )
    with pytest.raises(kept.Damaged):
        kept.find(key(folder))
    assert kept.find(key(folder)) is None


def test_no_more_are_kept_than_fit(folder: Path, stopped: PostgresCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_MOST_KEPT", 2)
    for number in range(4):
        (folder / "1_a.sql").write_text(f"select {number};")
        last = kept.keep(stopped, key(folder), "the_start")
    assert len(list(kept.cache_folder().iterdir())) == 2
    assert last.file.exists()


def test_a_folder_that_others_write_is_not_used(folder: Path, stopped: PostgresCluster) -> None:
    kept.cache_folder().mkdir(parents=True)
    kept.cache_folder().chmod(0o777)
    with pytest.raises(PermissionError, match="we alone"):
        kept.keep(stopped, key(folder), "the_start")


def test_what_is_gone_before_it_is_unpacked_is_told_with_a_way_out(
    folder: Path, stopped: PostgresCluster, tmp_path: Path
) -> None:
    made = kept.keep(stopped, key(folder), "the_start")
    made.file.unlink()
    with pytest.raises(EnvironmentError_, match="could not be unpacked"):
        kept.unpack(made, tmp_path / "again")
