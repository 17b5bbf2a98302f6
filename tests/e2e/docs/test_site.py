"""The site is built from files alone, a link that leads nowhere fails, and its pages ask nobody for anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documentation import ROOT

_LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?([^\"' >]+)|<link\b[^>]*\bhref=[\"']?([^\"' >]+)"
)

pytestmark = pytest.mark.xdist_group("documentation")


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """`make docs` of a copy of the documentation."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=folder,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, to build and to break."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    return folder


def test_the_site_is_built_and_loads_nothing_from_elsewhere(copied: Path) -> None:
    done = build(copied)
    assert done.returncode == 0, done.stderr
    pages = sorted((copied / "site").rglob("*.html"))
    assert len(pages) > 30
    text = {page.name: page.read_text() for page in pages}
    assert "toolkit migrate lint" in text["lint-rules.html"]
    assert "--migrations" in text["migrate.html"]
    assert "[error|warning|info]" in text["migrate.html"]  # as it is typed, not as a table has it
    loaded = {found[0] or found[1] for page in text.values() for found in _LOADED.findall(page)}
    assert any(address.endswith(".css") for address in loaded)
    assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []


def test_a_link_that_leads_nowhere_fails(copied: Path) -> None:
    page = copied / "docs" / "index.md"
    whole = page.read_text()
    page.write_text(
        whole.replace("(glossary.md)", "(glosary.md)").replace("how-to/ci.md", "how-to/ci.md#no-such-heading")
    )
    try:
        done = build(copied)
    finally:
        page.write_text(whole)
    assert done.returncode != 0
    assert "glosary.md" in done.stderr
    assert "no-such-heading" in done.stderr


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / "README.md").read_text())
    assert len(links) > 8
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []
