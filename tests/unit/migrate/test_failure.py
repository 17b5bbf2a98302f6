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


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            asyncpg.UndefinedTableError('relation "site_events" does not exist'),
            "Correct the name. Where it was made out",
        ),
        (asyncpg.UndefinedColumnError('column "rating" does not exist'), "Correct the name. Where it was made outside"),
        (asyncpg.FeatureNotSupportedError('extension "postgis" is not available'), "This server does not have the ext"),
        (
            asyncpg.ForeignKeyViolationError('violates foreign key constraint "a_fkey"'),
            "The row that it refers to is",
        ),
        (
            asyncpg.InvalidObjectDefinitionError("functions in index predicate must be marked IMMUTABLE"),
            "What an index",
        ),
    ],
)
def test_what_strangers_folders_stop_at_has_a_remedy_of_its_own(tmp_path: Path, error: Exception, remedy: str) -> None:
    file = tmp_path / "1_a.sql"
    file.write_text("select 1")
    script = read_script(file)
    assert failure_of(script, script.statements[0], error).remedy.startswith(remedy)


def test_a_missing_semicolon_is_looked_for_before_the_line_that_is_told(tmp_path: Path) -> None:
    file = tmp_path / "1_a.sql"
    file.write_text("alter table t\nadd column a int\ncreate table u (id int);")
    script = read_script(file)
    error = asyncpg.PostgresSyntaxError('syntax error at or near "create"')
    error.position = str(script.text.index("create") + 1)
    told = failure_of(script, script.statements[0], error)
    assert told.line == 3
    assert "begins on line 1: a semicolon may be missing" in told.remedy
