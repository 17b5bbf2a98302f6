"""SECURITY.md promises nothing that no test holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = (
    "Who holds the anon key",
    "Another user",
    "A reader in one's organisation",
    "Who writes a migration",
    "Another program that writes rows",
    "A model's answer",
)


def missing(page: str) -> Iterator[str]:
    """What the page lacks: a kind of people, a test of a promise, a test that exists."""
    chapters = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    for heading in (*HOSTILE, "What is not defended against"):
        if not chapters.get(heading, "").strip():
            yield heading
    for promise, held in re.findall(r"^\| (?!Promise|---)(.+?) \| (.+?) \|$", page, re.MULTILINE):
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", held)
        if not named:
            yield f"a test of: {promise}"
        for file, test in named:
            if test not in names_in(ROOT / file):
                yield f"{file}::{test}"


def names_in(file: Path) -> set[str]:
    """The functions of a file of tests."""
    if not file.is_file():
        return set()
    found = ast.walk(ast.parse(file.read_text()))
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_promise_is_held_by_a_test_that_exists() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    assert list(missing(page)) == []
    assert page.count("`tests/") > 20


def test_a_promise_without_its_test_is_noticed() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    (first, *_) = re.findall(r"::(\w+)`", page)
    assert [line.rpartition("::")[2] for line in missing(page.replace(first, "test_gone", 1))] == ["test_gone"]
    assert list(missing(page + "| It is safe | believe us |\n")) == ["a test of: It is safe"]
    assert "Another user" in list(missing(page.replace("## Another user", "## Friends")))
