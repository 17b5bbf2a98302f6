"""YAML that would run for ever or exhaust the stack is refused in one sentence, with its place."""

from __future__ import annotations

import pytest

from toolkit.errors import UsageError
from toolkit.migrate.access import expectations
from toolkit.scenarios.model import reading
from toolkit.yaml_text import compose

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
HOSTILE = {
    "itself": ("&a [*a]", "expected YAML, got the alias *a inside of what it stands for"),
    "deep": ("[" * 5000 + "]" * 5000, "expected YAML, got values nested more than 50 deep"),
    "deep mappings": (
        "".join(" " * n + f"k{n}:\n" for n in range(200)),
        "got values nested more than 50 deep",
    ),
    "bomb": (BOMB, "expected YAML, got more than 100,000 values, those that aliases stand for included"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_in_one_sentence(kind: str) -> None:
    text, said = HOSTILE[kind]
    for parse in (expectations.parse, reading.parse):
        with pytest.raises(UsageError) as refused:
            parse(text, "file.yaml")
        assert said in str(refused.value)
        assert len(str(refused.value).splitlines()) == 2  # what is wrong and where, and what to do


def test_aliases_within_bounds_are_taken() -> None:
    node = compose("a: &a [1, 2]\nb: *a\nc: {<<: {d: *a}}")
    assert node is not None
    assert len(node.value) == 3
