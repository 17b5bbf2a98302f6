"""Which files of a folder are rehearsed, and which are the toolkit's, wherever they stand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.migrate.eject import eject
from toolkit.migrate.folder.files import read_folder
from toolkit.rehearse.stage.chosen import Chosen, choose
from toolkit.resources import migrations_dir

OURS = read_folder(migrations_dir())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's folder, into which ours were copied before its newest file was written."""
    (tmp_path / "20250101000000_first.sql").write_text("select 1;")
    (tmp_path / "20250102000000_second.sql").write_text("select 2;")
    eject(OURS, tmp_path, datetime(2026, 1, 1, tzinfo=UTC))
    (tmp_path / "20270101000000_newest.sql").write_text("select 3;")
    return tmp_path


def names(chosen: Chosen) -> tuple[list[str], list[str], str]:
    legacy = chosen.folder.get(chosen.legacy)
    assert legacy is not None
    return [m.name for m in chosen.folder.migrations], [m.name for m in chosen.ours.migrations], legacy.name


def test_the_toolkits_own_folder_is_rehearsed_whole() -> None:
    chosen = choose(OURS, OURS)
    assert (chosen.folder, chosen.legacy, chosen.left_out) == (OURS, OURS.migrations[0].version, ())
    assert not chosen.among_others
    assert chosen.legacy_is_applied


def test_ours_are_found_among_others(project: Path) -> None:
    ours = [migration.name for migration in OURS.migrations]
    chosen = choose(read_folder(project), OURS)
    assert names(chosen) == (["first", "second", *ours], ours, ours[0])
    assert (chosen.among_others, chosen.left_out) == (True, ("20270101000000_newest",))
    assert "4 of the 6 files are the toolkit's" in chosen.described
    # Known by the text when it was renamed, by the name when it was edited.
    (legacy, migration, *_) = sorted(path for path in project.glob("2026*.sql"))
    legacy.rename(project / "20260101000000_system_before.sql")
    migration.write_text(migration.read_text() + "\nselect 1;")
    assert names(choose(read_folder(project), OURS))[1] == ["system_before", *ours[1:]]


def test_a_project_may_make_the_legacy_tables_itself(project: Path) -> None:
    next(project.glob(f"*_{OURS.migrations[0].name}.sql")).unlink()
    chosen = choose(read_folder(project), OURS)
    assert names(chosen)[1:] == ([migration.name for migration in OURS.migrations[1:]], "second")
    assert (chosen.legacy_is_applied, chosen.legacy_schema) == (False, OURS.migrations[0])


def test_of_a_folder_without_ours_the_first_file_is_the_legacy_schema(tmp_path: Path) -> None:
    for name in ("1_a.sql", "2_b.sql", "3_c.sql"):
        (tmp_path / name).write_text("select 1;")
    chosen = choose(read_folder(tmp_path), OURS)
    assert (chosen.legacy, len(chosen.ours.migrations), chosen.left_out) == ("1", 3, ())


def test_a_folder_that_begins_with_the_migration_is_refused(project: Path) -> None:
    for path in (*project.glob("2025*.sql"), *project.glob(f"*_{OURS.migrations[0].name}.sql")):
        path.unlink()
    with pytest.raises(UsageError, match="begins with the migration"):
        choose(read_folder(project), OURS)
