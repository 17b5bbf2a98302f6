"""One word for one thing: the house's words (docs/words.yaml) are explained in the glossary, and nothing that people
read uses another word for the same thing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from tests.support.documentation import PAGES, ROOT, name_of

WORDS = yaml.safe_load((ROOT / "docs" / "words.yaml").read_text())
HEADINGS = re.findall(r"^### (.+)$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """Everything that people read, by where it stands: pages, and every text in the programs and their files."""
    return tuple(_texts())


def _texts() -> Iterator[tuple[str, str]]:
    for page in (*PAGES, ROOT / "CHANGELOG.md"):
        yield name_of(page), page.read_text()
    for room in ("toolkit", "reference_server"):
        for path in sorted((ROOT / room).rglob("*.py")):
            yield name_of(path), " | ".join(strings(path.read_text()))
    for path in sorted([*(ROOT / "migrations").rglob("*.sql"), *(ROOT / "scenarios").glob("*.yaml")]):
        yield name_of(path), path.read_text()


def strings(source: str) -> Iterator[str]:
    """The texts of a program: messages, titles, help and docstrings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def used(text: str, synonyms: dict[str, str]) -> list[str]:
    """Synonyms that a text uses, each with the word to use instead."""
    flat = " ".join(text.split()).lower()
    return [
        f"{other} → {word}"
        for other, word in synonyms.items()
        if other in flat and re.search(rf"\b{re.escape(other)}s?\b", flat)
    ]


def synonyms() -> dict[str, str]:
    """Other word → the house's word."""
    return {other.lower(): entry["word"] for entry in WORDS for other in entry["instead_of"]}


def test_every_word_is_explained_and_nothing_else_is_a_word() -> None:
    assert sorted(entry["word"] for entry in WORDS) == sorted(HEADINGS)
    assert len(set(HEADINGS)) == len(HEADINGS)


def test_nothing_that_people_read_uses_another_word() -> None:
    others = synonyms()
    wrong = {where: found for where, text in texts() if (found := used(text, others))}
    assert wrong == {}


def test_no_word_is_another_ones_synonym() -> None:
    words = {entry["word"].lower() for entry in WORDS}
    assert not words & synonyms().keys()


def test_another_word_is_noticed() -> None:
    assert used("Look into the\n  migration logs.", synonyms()) == ["migration log → History of migrations"]
    assert list(strings('def f():\n    """The audit log."""\n    raise E(f"the {x} table")')) == [
        "The audit log.",
        "the ",
        " table",
    ]


def test_the_texts_are_there() -> None:
    where = {name for name, _ in texts()}
    assert {"README.md", "toolkit/cli.py", "docs/glossary.md"} <= where
    assert any(name.startswith("migrations/verify") for name in where)
    assert Path("docs/words.yaml").name not in where
