"""Proofs side by side: no more at once than asked for, none after a failure, and none of what databases share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.prove.run import _side_by_side
from toolkit.migrate.prove.shared_objects import shared_objects


async def test_no_more_run_at_once_than_asked_for() -> None:
    running, most, done = 0, 0, []

    async def work(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(number):
            await asyncio.sleep(0)
        running -= 1
        done.append(number)

    await _side_by_side([work(number) for number in (5, 1, 1, 2, 3)], 2)
    assert (most, sorted(done)) == (2, [1, 1, 2, 3, 5])


async def test_an_error_of_ours_ends_the_others_and_begins_no_more() -> None:
    began = []

    async def work(number: int) -> None:
        began.append(number)
        if number == 1:
            raise AssertionError("a defect")
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="a defect"):
        await _side_by_side([work(number) for number in range(4)], 2)
    assert began == [0, 1]


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("create table public.users (id integer); grant select on public.users to anon;", ""),
        ("revoke all on all tables in schema public from anon;", ""),
        ("create policy p on public.t for select to authenticated using (owner = current_user);", ""),
        ("create role reporter;", "roles"),
        ("do $$ begin execute 'create  user ' || quote_ident('x'); end $$;", "roles"),
        ("grant reporter to authenticated;", "roles"),
        ("revoke reporter from authenticated;", "roles"),
        ("alter role anon set statement_timeout = '1s';", "roles"),
        ("drop owned by reporter;", "roles"),
        ("alter database postgres set work_mem = '8MB';", "databases"),
        ("create subscription s connection 'x' publication p;", "subscriptions"),
    ],
)
def test_what_databases_share_is_found_in_the_text(text: str, shares: str, tmp_path: Path) -> None:
    (tmp_path / "1_a.sql").write_text(f"{text}\n")
    (migration,) = read_folder(tmp_path).migrations
    assert shared_objects(migration) == shares


def test_a_rollback_counts_too(tmp_path: Path) -> None:
    (tmp_path / "1_a.sql").write_text("create table public.t (id integer);\n")
    (tmp_path / "rollbacks").mkdir()
    (tmp_path / "rollbacks" / "1_a.sql").write_text("drop role if exists reporter;\n")
    (migration,) = read_folder(tmp_path).migrations
    assert shared_objects(migration) == "roles"
