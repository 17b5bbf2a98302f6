"""The folder of an embedded target: damage is said in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolkit.errors import EnvironmentError_
from toolkit.targets.data_dir import DataDir


@pytest.mark.parametrize("text", ["{", "[]", '{"jwt_secret": "x"}'])
def test_damaged_keys_are_said_with_the_way_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "secrets.json").write_text(text)
    with pytest.raises(EnvironmentError_, match=r"secrets\.json cannot be read") as caught:
        DataDir(tmp_path).keys()
    assert "Delete that file" in caught.value.remedy


def test_a_folder_in_use_is_a_matter_of_the_environment(tmp_path: Path) -> None:
    with DataDir(tmp_path / "d"), pytest.raises(EnvironmentError_, match=f"in use by process {os.getpid()}") as caught:
        DataDir(tmp_path / "d").__enter__()
    assert caught.value.exit_code == 4


def test_only_one_at_a_time_starts_a_target(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    assert not data.was_started
    with data.starting():
        assert data.was_started
        with pytest.raises(EnvironmentError_, match=f"being started .* by process {os.getpid()}"), data.starting():
            pass
    with data.starting():
        pass
