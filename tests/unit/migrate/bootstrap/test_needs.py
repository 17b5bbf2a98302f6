"""Which parts of a Supabase project a file names, by what certainly runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.migrate.bootstrap.needs import named_by
from toolkit.migrate.folder.files import SqlFile, script_of


def named(text: str) -> list[str]:
    return list(named_by([script_of(SqlFile(Path("1_a.sql"), text.encode()))]))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("grant select on t to anon, authenticated;", ["role anon", "role authenticated"]),
        (
            "create policy p on t for select to authenticated using (owner = (select auth.uid()));",
            ["role authenticated", "schema auth", "function auth.uid"],
        ),
        ("alter publication supabase_realtime add table t;", ["publication supabase_realtime"]),
        ("create table t (id uuid references auth.users);", ["schema auth", "table auth.users"]),
        ("select storage.foldername('a/b');", ["schema storage"]),
        (
            "create function f() returns text language sql as $$ select auth.jwt() ->> 'sub' $$;",
            ["schema auth", "function auth.jwt"],
        ),
        # Read when it is called, or only under a condition.
        ("create function f() returns text language plpgsql as $$ begin return auth.uid(); end $$;", []),
        ("do $$ begin if to_regrole('anon') is not null then grant select on t to anon; end if; end $$;", []),
        # Of its own making.
        ("do $$ begin create role anon; end $$; grant select on t to anon;", []),
        (
            "create schema auth; create function auth.uid() returns int language sql as 'select 1'; select auth.uid();",
            [],
        ),
        ("create publication supabase_realtime; alter publication supabase_realtime add table t;", []),
        # Made by an extension.
        ("create extension pg_cron; select cron.schedule('a', '* * * * *', 'select 1');", []),
        ("select name from public.users where note = 'anon';", []),
    ],
)
def test_names(text: str, names: list[str]) -> None:
    assert named(text) == names


def test_the_first_place_is_told() -> None:
    script = script_of(SqlFile(Path("1_a.sql"), b"select 1;\ngrant select on t to anon;\ngrant select on u to anon;"))
    assert named_by([script]) == {"role anon": "1_a.sql:2"}
