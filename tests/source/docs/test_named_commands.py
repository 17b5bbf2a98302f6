"""Texts of the toolkit send people to commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import click

from toolkit.cli import toolkit

ROOT = Path(__file__).resolve().parents[3]
TEXTS = sorted(
    path
    for folder in ("toolkit", "reference_server", "migrations", "scenarios", "docs")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".sql", ".yaml", ".html", ".md"}
)
NAMED = re.compile(r"`(toolkit|make) ([a-z][^`]*)`|remedy: (toolkit|make) ([a-z ]+)")


def unknown(text: str) -> list[str]:
    """The commands that `text` names and nobody can run."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    bad = []
    for match in NAMED.finditer(text):
        program, words = match[1] or match[3], (match[2] or match[4]).split()
        if program == "make":
            bad += [] if words[0] in targets else [match[0]]
            continue
        group: click.Command = toolkit
        for word in words:
            if not isinstance(group, click.Group) or word.startswith("-"):
                break
            found = group.get_command(click.Context(group), word)
            if found is None:
                bad.append(match[0])
                break
            group = found
    return bad


def test_every_command_that_is_named_exists():
    assert len(TEXTS) > 100
    found = {str(path.relative_to(ROOT)): unknown(path.read_text()) for path in TEXTS}
    assert {path: commands for path, commands in found.items() if commands} == {}


def test_a_command_that_does_not_exist_is_noticed():
    assert unknown("`toolkit juggle run`, `make coffee`, `toolkit migrate up --to 1`, `make rehearse`") == [
        "`toolkit juggle run`",
        "`make coffee`",
    ]
    assert unknown("-- remedy: toolkit migrate sideways") == ["remedy: toolkit migrate sideways"]
