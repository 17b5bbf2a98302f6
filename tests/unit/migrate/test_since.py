"""What git says is new: the branch's own files, also those that git does not know yet."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from toolkit.errors import EnvironmentError_, UsageError
from toolkit.migrate.folder.since import changed_since, main_branch


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, timeout=30)


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`migrations` below a repository, on a branch `work` that left `main` one commit ago."""
    found = tmp_path / "migrations"
    for version in (1, 2, 3):
        write(found, f"{version}_a.sql", f"select {version};")
    write(found, "rollbacks/2_a.sql", "select 2;")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    git(tmp_path, "checkout", "-qb", "work")
    return found


def test_files_that_were_added_are_found_committed_staged_or_unknown_to_git(folder: Path) -> None:
    write(folder, "4_b.sql", "select 4;")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "more")
    write(folder, "5_c.sql", "select 5;")
    git(folder, "add", ".")
    write(folder, "6_d.sql", "select 6;")
    write(folder, "notes.txt", "no migration")
    found = changed_since(folder, "main")
    assert found.versions == {"4", "5", "6"}
    assert found.notes() == ()


def test_an_old_file_that_was_edited_is_named_and_one_that_is_gone_too(folder: Path) -> None:
    write(folder, "1_a.sql", "select 11;")
    write(folder, "rollbacks/2_a.sql", "select 22;")
    (folder / "3_a.sql").unlink()
    found = changed_since(folder, "main")
    assert (found.versions, found.edited, found.gone) == ({"1", "2"}, (("1", "1_a.sql"),), ("3_a.sql",))
    assert [note.split(" since ")[0] for note in found.notes()] == ["1_a.sql was edited", "3_a.sql is gone"]


def test_what_the_main_branch_got_meanwhile_is_not_this_branchs(folder: Path) -> None:
    git(folder, "checkout", "-q", "main")
    write(folder, "7_main.sql", "select 7;")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "on main")
    git(folder, "checkout", "-q", "work")
    write(folder, "8_mine.sql", "select 8;")
    assert changed_since(folder, main_branch(folder)).versions == {"8"}


def test_what_git_cannot_say_is_refused_with_a_way_out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    for wrong in ("nowhere", "--output=x"):
        with pytest.raises(UsageError, match="knows no revision"):
            changed_since(folder, wrong)
    with pytest.raises(EnvironmentError_, match="no git repository"):
        changed_since(tmp_path_factory.mktemp("outside"), "main")
