"""Small folders, and what our own rules find in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.migrate.folder.project_mode import ProjectMode
from toolkit.migrate.lint.reading.findings import LintFinding, Severity
from toolkit.migrate.lint.reading.sources import read
from toolkit.migrate.lint.run import IDS, judge
from toolkit.migrate.lint.suppress import read_settings

Files = str | dict[str, str]
Look = Callable[..., list[LintFinding]]

# A table as it should be: a key, row level security, a policy that names its role and compares text ids.
BASE = """
create table public.notes (
  id uuid primary key default gen_random_uuid(), user_id text not null, title text, data jsonb not null default '{}'
);
alter table public.notes enable row level security;
create policy notes_read on public.notes for select to authenticated using (user_id = (select auth.jwt() ->> 'sub'));
"""


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """`look("create …")` or `look({"1_a.sql": "…", "rollbacks/1_a.sql": "…"})`: what our rules find, squawk left out.

    That a folder has no rollbacks at all is left out too, unless it was asked for by `rollbacks=True`.
    """
    folder = tmp_path / "migrations"

    def _look(
        files: Files, *, rollbacks: bool = False, disabled: frozenset[str] = frozenset(), mode: ProjectMode = "old"
    ) -> list[LintFinding]:
        named = {"2_x.sql": files} if isinstance(files, str) else files
        for name, text in named.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        read_in = read(folder)
        chosen = frozenset(source.file for source in read_in.sources)
        settings = read_settings(folder, IDS)
        linted = judge(read_in, settings, (), disabled=disabled, chosen=chosen, whole=True, mode=mode)
        return [f for f in linted.findings if rollbacks or f.rule != "rollback-missing"]

    return _look


def told(findings: list[LintFinding]) -> set[str]:
    """`rule file:line` of what nobody accepted."""
    return {f"{f.rule} {f.at}" for f in findings if not f.accepted}


def bad(findings: list[LintFinding]) -> set[str]:
    """The same, infos left out."""
    return told([f for f in findings if f.severity > Severity.INFO])
