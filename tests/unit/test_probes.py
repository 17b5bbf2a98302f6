"""Our probes go where our schema is, whatever the number of its file: a folder is known by what it creates."""

from __future__ import annotations

import shutil
from pathlib import Path

from toolkit.migrate.folder.files import read_folder
from toolkit.probes.chosen import PROBES, probes_of
from toolkit.resources import migrations_dir

REALTIME = "20250727000000_supabase_realtime_migration.sql"


def copied(tmp_path: Path) -> Path:
    """Our migrations without their rollbacks and verify files, to be changed."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for file in migrations_dir().glob("*.sql"):
        shutil.copy(file, folder)
    return folder


def test_our_own_migration_is_probed() -> None:
    assert probes_of(read_folder(migrations_dir())) == {"20250727000000": PROBES}


def test_a_strangers_migration_of_the_same_version_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "20250727000000_notes.sql").write_text("create table public.notes (id integer primary key);")
    assert probes_of(read_folder(tmp_path)) == {}


def test_our_migration_under_another_version_is_probed(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / REALTIME).rename(folder / "20260101000000_events.sql")
    assert probes_of(read_folder(folder)) == {"20260101000000": PROBES}


def test_our_migration_in_two_files_is_probed_when_all_of_it_is_there(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    text = (folder / REALTIME).read_text()
    at = text.index("create function public.claim_background_task")
    (folder / REALTIME).write_text(text[:at])
    assert probes_of(read_folder(folder)) == {}
    (folder / "20250728000000_rest.sql").write_text(text[at:])
    assert probes_of(read_folder(folder)) == {"20250728000000": PROBES}
