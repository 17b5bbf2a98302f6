"""Our migrations in a project's own folder: fresh versions, the same bytes, nothing else touched."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import EnvironmentError_
from toolkit.migrate.eject import eject
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.folder.versions import after, fresh
from toolkit.probes.chosen import PROBES, probes_of
from toolkit.resources import migrations_dir

NOW = datetime(2026, 8, 1, 12, 30, 59, tzinfo=UTC)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("version", "following"),
    [
        ("20260801123059", "20260801123100"),
        ("20261231235959", "20270101000000"),
        ("20269999999999", "20270000000000"),
        ("0009", "0010"),
        ("1", "2"),
        ("9", "91"),
    ],
)
def test_the_next_version_is_a_second_or_a_number_later(version: str, following: str) -> None:
    assert after(version) == following


@given(st.lists(st.from_regex(r"[0-9]{1,16}", fullmatch=True), max_size=6), st.integers(1, 5))
def test_fresh_versions_come_after_every_other_in_the_order_of_files(taken: list[str], count: int) -> None:
    found = fresh(taken, count, NOW)
    assert len(found) == count
    assert list(found) == sorted(set(found))
    assert not taken or found[0] > max(taken)


def test_migrations_are_copied_behind_the_projects_own_and_nothing_else_changes(tmp_path: Path) -> None:
    own = {"20260801123500_users.sql": b"create table public.users ();\n", "lint.toml": b""}
    for name, text in own.items():
        (tmp_path / name).write_bytes(text)
    found = eject(read_folder(migrations_dir()), tmp_path, NOW)
    versions = [one.becomes.partition("_")[0] for one in found]
    assert versions == ["20260801123501", "20260801123502", "20260801123503", "20260801123504"]
    now, ours = contents(tmp_path), read_folder(migrations_dir()).migrations
    assert {name: now.pop(name) for name in own} == own
    assert set(now) == {file for one in found for file in one.files}
    for one, migration in zip(found, ours, strict=True):
        for part in ("", "rollbacks/", "verify/"):
            assert now[f"{part}{one.becomes}.sql"] == (migrations_dir() / part / migration.up.path.name).read_bytes()
    assert probes_of(read_folder(tmp_path)) == {versions[1]: PROBES}


def test_a_second_time_nothing_is_copied(tmp_path: Path) -> None:
    source = read_folder(migrations_dir())
    first = eject(source, tmp_path / "new" / "migrations", NOW)
    before = contents(tmp_path)
    again = eject(source, tmp_path / "new" / "migrations", NOW)
    assert contents(tmp_path) == before
    assert [(one.becomes, one.files) for one in again] == [(one.becomes, ()) for one in first]


def test_a_file_that_cannot_be_written_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "verify").write_text("somebody's file")
    with pytest.raises(EnvironmentError_, match="nothing was changed"):
        eject(read_folder(migrations_dir()), tmp_path, NOW)
    assert contents(tmp_path) == {"verify": b"somebody's file"}
