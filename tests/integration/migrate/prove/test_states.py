"""The states of a proof: built once, in order, with the user's rows and ours; what cannot be built is said."""

from __future__ import annotations

import asyncpg
import pytest

from tests.integration.migrate.prove.conftest import SubjectOf
from toolkit.migrate.prove.subject.states import CannotBuild, States
from toolkit.migrate.scratch.start import read_statements

FILES = {
    "1_t.sql": "create table public.t (id integer primary key, note text not null);",
    "2_more.sql": "alter table public.t add column more text;",
    "3_broken.sql": "alter table public.nowhere add column x text;",
    "4_after.sql": "create table public.u (id integer);",
}


async def value(dsn: str, question: str) -> object:
    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        return await conn.fetchval(question, timeout=10)
    finally:
        await conn.close(timeout=5)


def with_seed(states: States, text: str) -> States:
    start = states._reached[0]
    return States(
        states.scratch,
        start,
        states.folder,
        states.versions,
        rows_each=3,
        seed_data=read_statements(text, "seed.sql"),
        options=states.options,
    )


async def test_each_state_has_what_came_before_and_nothing_else(subject_of: SubjectOf) -> None:
    states = (await subject_of(FILES)).states
    column = "select count(*) from pg_attribute where attrelid = to_regclass('public.t') and attname = 'more'"
    async with states.clone(await states.before("2")) as before, states.clone(await states.after("2")) as after:
        assert (await value(before, column), await value(after, column)) == (0, 1)
        assert await value(after, "select count(*) from public.t") == 0
    assert await states.before("3") == await states.after("2"), "built once"


async def test_a_version_that_does_not_apply_ends_the_chain_with_its_words(subject_of: SubjectOf) -> None:
    states = (await subject_of(FILES)).states
    failed = await states.failed()
    assert failed is not None
    assert failed.version == "3"
    for ask in (states.after("3"), states.before("4"), states.seeded("4")):
        with pytest.raises(CannotBuild, match=r"3_broken\.sql.*nowhere"):
            await ask
    assert await states.before("3")


async def test_the_users_rows_are_there_beside_the_synthetic_ones(subject_of: SubjectOf) -> None:
    states = with_seed((await subject_of(FILES)).states, "insert into public.t values (4711, 'mine');")
    async with states.clone(await states.seeded("2")) as dsn:
        assert await value(dsn, "select note from public.t where id = 4711") == "mine"
        assert await value(dsn, "select count(*) from public.t") == 4
    assert states.notes == []


async def test_rows_that_do_not_fit_a_state_are_told_and_leave_nothing_half_inserted(subject_of: SubjectOf) -> None:
    seed = "insert into public.t (id, note) values (4711, 'mine');\nupdate public.t set more = 'x';"
    states = with_seed((await subject_of(FILES)).states, seed)
    async with states.clone(await states.seeded("2")) as dsn:
        assert await value(dsn, "select count(*) from public.t where id = 4711") == 0
        assert await value(dsn, "select count(*) from public.t") == 3
    assert "2: the seed data does not fit this state (line 2" in states.notes[0]
    async with states.clone(await states.seeded("3")) as dsn:
        assert await value(dsn, "select more from public.t where id = 4711") == "x"
    assert len(states.notes) == 1


async def test_what_later_proofs_need_is_kept(subject_of: SubjectOf) -> None:
    subject = await subject_of(FILES)
    states = subject.states
    await states.seeded("2")
    await states.forget("1")
    await states.forget("2")
    async with states.clone(await states.before("3")) as dsn:
        assert await value(dsn, "select to_regclass('public.t') is not null")
