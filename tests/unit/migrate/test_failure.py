"""The remedy of a failed statement, by what it would have changed."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from toolkit.migrate.folder.files import read_script
from toolkit.migrate.run.failure import failure_of


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        ("alter table storage.objects enable row level security", "Delete the line: it is on already."),
        ("do $$ begin alter table auth.users enable row level security; end $$", "Delete the line: it is on already."),
        ("create index i on auth.users (phone)", "Delete the line; what you look up often"),
        ("create table auth.more ()", "Make it in a schema of yours"),
        ("alter table public.notes add column x int", "Connect as the owner"),
    ],
)
def test_what_the_platform_owns_is_to_be_left_alone_and_the_rest_asks_for_its_owner(
    tmp_path: Path, statement: str, remedy: str
) -> None:
    file = tmp_path / "1_a.sql"
    file.write_text(statement)
    script = read_script(file)
    refused = asyncpg.InsufficientPrivilegeError("must be owner of table objects")
    assert failure_of(script, script.statements[0], refused).remedy.startswith(remedy)
