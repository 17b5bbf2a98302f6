"""The folder of an embedded target: damage is said in words."""

from __future__ import annotations

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
