"""Where a run's folder is made: one for each run, and an error that names the option for another place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import toolkit
from toolkit.errors import EnvironmentError_
from toolkit.report.files import new_folder

ROOM = Path(toolkit.__file__).parent
BY_HAND = re.compile(r"%Y%m%dT%H%M%S")


def test_each_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    made = [new_folder(tmp_path / "below", "a-b") for _ in range(3)]
    assert len({*made}) == 3
    for folder in made:
        assert folder.is_dir()
        assert re.fullmatch(r"\d{8}T\d{6}-a-b(-\d)?", folder.name)
    private = new_folder(tmp_path, "x", private=True)
    assert private.stat().st_mode & 0o777 == 0o700


def test_where_none_can_be_made_the_option_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentError_, match="cannot be made: Not a directory") as refused:
        new_folder(tmp_path / "file", "x", option="--export-dir")
    assert refused.value.remedy == "Give another folder with --export-dir."


def test_no_other_place_makes_the_folder_of_a_run() -> None:
    makers = {path.name for path in ROOM.rglob("*.py") if BY_HAND.search(path.read_text())}
    assert makers == {"files.py"}
