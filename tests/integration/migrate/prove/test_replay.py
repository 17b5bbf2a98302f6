"""The replay proof: it holds for folders that apply in their order, with rows or without, and for no others."""

from __future__ import annotations

import pytest

from tests.integration.migrate.prove.conftest import SubjectOf, refuted, said
from toolkit.migrate.prove import replay
from toolkit.migrate.prove.subject.claims import Level
from toolkit.migrate.prove.subject.states import CannotBuild
from toolkit.migrate.scratch.databases import Scratch
from toolkit.postgres.connection import connected
from toolkit.resources import migrations_dir

START = """
create table public.r (id integer primary key, flag boolean not null, word text);
"""
# id: (files, which claim is refuted, what is said)
PLANTS = {
    "an undefined table": (
        {"1_a.sql": "select 1;\n\nalter table public.missing add a integer"},
        "replay-1",
        '1_a.sql:3, statement 2: relation "public.missing" does not exist [42P01]',
    ),
    "a file before what it needs": (
        {"1_a.sql": "alter table public.later add a integer", "2_b.sql": "create table public.later ()"},
        "replay-1",
        'relation "public.later" does not exist',
    ),
    "a procedure that commits": (
        {"1_a.sql": "create procedure public.p() language plpgsql as $$ begin commit; end $$; call public.p()"},
        "replay-1",
        "invalid transaction termination",
    ),
    "rows that must be there": (
        {"1_a.sql": "do $$ begin if not exists (select from public.r) then raise 'no rows'; end if; end $$"},
        "replay-1",
        "it applies: it depends on rows that an empty database lacks",
    ),
    "a temporary table of another version": (
        {"1_a.sql": "create temp table kept (a integer)", "2_b.sql": "insert into kept values (1)"},
        "replay-2",
        'relation "kept" does not exist',
    ),
    "a temporary table that hides another one": (
        {"1_a.sql": "create temp table r (id integer)", "2_b.sql": "alter table r add extra integer"},
        "replay-2-whole",
        "removed: column public.r.extra",
    ),
    "a temporary table made twice": (
        {"1_a.sql": "create temp table kept (a integer)", "2_b.sql": "create temp table kept (a integer)"},
        "replay-2-whole",
        '"kept" already exists [42P07]; by itself it applies',
    ),
}


@pytest.mark.parametrize("plant", PLANTS)
async def test_what_does_not_apply_is_caught(subject_of: SubjectOf, plant: str) -> None:
    files, claim, named = PLANTS[plant]
    subject = await subject_of(files, start=START, rows_each=3)
    outcomes = []
    for version in subject.versions:
        outcomes.append(await replay.run(subject, version))
        if refuted(outcomes[-1]):
            break
    (only,) = refuted(outcomes[-1])
    assert only.id == claim
    assert named in said(outcomes[-1])
    assert only.remedy
    failed = await subject.states.failed()
    if claim == "replay-1":
        assert failed is not None
        for later in subject.versions[1:]:
            with pytest.raises(CannotBuild, match="version 1 does not apply"):
                await replay.run(subject, later)


async def test_what_applies_only_without_rows_is_caught(subject_of: SubjectOf) -> None:
    files = {
        "1_a.sql": "alter table public.r add a integer not null",
        "2_b.sql": "alter table public.r add unique (flag)",
        "3_c.sql": "alter table public.r add check (word = 'nothing else')",
        "4_d.sql": "create table public.free (id integer primary key, word text)",
        "5_e.sql": "alter table public.free alter word type uuid using word::uuid",
    }
    subject = await subject_of(files, start=START, rows_each=3)
    found = [await replay.run(subject, version) for version in subject.versions]
    for number, sqlstate in {1: "23502", 2: "23505", 3: "23514", 5: "22P02"}.items():
        (only,) = refuted(found[number - 1])
        assert only.id == f"replay-{number}-rows"
        assert only.violations[0].endswith(f"[{sqlstate}]; without rows it applies")
        assert only.remedy
    assert refuted(found[3]) == []


async def test_healthy_neighbours_are_proved(subject_of: SubjectOf) -> None:
    files = {
        "1_a.sql": "alter table public.r add a integer not null default 1, add unique (id, flag);"
        "alter table public.r add check (word <> 'nothing else'), alter word type varchar(200);"
        "create table public.never (id integer primary key, check (false))",
        "2_b.sql": "create temp table kept (a integer) on commit drop; insert into kept values (1);"
        "set search_path = auth; do $$ begin if exists (select from public.never) then raise 'rows'; end if; end $$",
        "3_c.sql": "create table kept (a integer)",
    }
    subject = await subject_of(files, start=START, rows_each=3)
    outcomes = [await replay.run(subject, version) for version in subject.versions]
    assert [said(outcome) for outcome in outcomes] == ["", "", ""]
    assert {claim.id: claim.level for outcome in outcomes for claim in outcome.claims} == {
        "replay-1": Level.PROVED,
        "replay-1-rows": Level.SAMPLED,
        "replay-2": Level.PROVED,
        "replay-2-rows": Level.SAMPLED,
        "replay-3": Level.PROVED,
        "replay-3-rows": Level.SAMPLED,
        "replay-3-whole": Level.PROVED,
    }
    assert "no row would go into public.never (" in outcomes[1].claims[1].basis


async def test_nothing_is_claimed_of_rows_where_none_can_be(subject_of: SubjectOf) -> None:
    subject = await subject_of({"1_a.sql": "create table public.a ()"}, start="drop schema realtime cascade")
    proved, whole = (await replay.run(subject, "1")).claims
    assert proved.basis.endswith("there is no table yet that could hold rows")
    assert whole.id == "replay-1-whole"
    start = "drop schema realtime cascade; create table public.never (id integer, check (false))"
    _, rows, _ = (await replay.run(await subject_of({"1_a.sql": "select 1"}, start=start), "1")).claims
    assert rows.level is Level.NOT_CHECKED
    assert "0 rows in 0 tables; no row would go into public.never" in rows.basis


async def test_what_belongs_to_the_server_is_not_held_against_a_second_copy(
    subject_of: SubjectOf, scratch: Scratch
) -> None:
    subject = await subject_of({"1_a.sql": "create role toolkit_planted"}, start=START)
    try:
        proved, rows, whole = (await replay.run(subject, "1")).claims
    finally:
        async with connected(scratch.admin_dsn) as conn:
            await conn.execute("drop role toolkit_planted")
    assert proved.level is Level.PROVED
    assert rows.level is whole.level is Level.NOT_CHECKED
    assert not rows.violations
    assert "another copy of this database put it there" in rows.basis


async def test_the_projects_own_migrations_replay(subject_of: SubjectOf) -> None:
    subject = await subject_of(migrations_dir(), rows_each=3)
    outcomes = [await replay.run(subject, version) for version in subject.versions]
    assert [said(outcome) for outcome in outcomes] == [""] * len(subject.versions)
    assert {claim.level for outcome in outcomes for claim in outcome.claims} == {Level.PROVED, Level.SAMPLED}
