"""A file is not accused of what the scratch server lacks; a file that is wrong by itself stays refuted."""

from __future__ import annotations

import pytest

from tests.integration.migrate.prove.conftest import SubjectOf, refuted
from toolkit.migrate.prove import replay
from toolkit.migrate.prove.run import prove
from toolkit.migrate.prove.subject.claims import Level
from toolkit.migrate.run.failure import Failure
from toolkit.migrate.scratch.lacks import lack_behind

LACKING = {
    "an extension": ("create extension postgis;", "extension postgis", "postgis"),
    "a version of a stand-in": ("create extension http with version '1.6';", "extension http", "http"),
    "a type": ("create table public.t (place geography);", "type geography", "postgis"),
    "an operator class": (
        "create table public.t (place box); create index on public.t using gist (place gist_geometry_ops_2d);",
        "operator class gist_geometry_ops_2d",
        "postgis",
    ),
    "an access method": (
        "create table public.t (name text); create index on public.t using rum (name);",
        "access method rum",
        "rum",
    ),
    "a schema of an extension": ("select pgmq.create('jobs');", "schema pgmq", "pgmq"),
    "a function of an extension": ("select st_makepoint(1, 2);", "function st_makepoint", "postgis"),
    "a table of the platform": ("select from auth.webauthn_credentials;", "relation auth.webauthn_credentials", ""),
}
WRONG = {
    "a table of its own": "insert into public.missing values (1);",
    "a function of its own": "select public.missing(1);",
    "a type of its own": "create table public.t (state mood);",
    "a schema of its own": "create table missing.t (id int);",
    "a syntax error of its own": "select 1; do $$ begin select from; end $$;",
    "a column of the platform's": "select nickname from auth.users;",
}


@pytest.mark.parametrize("case", LACKING)
async def test_what_the_server_lacks_is_not_checked(subject_of: SubjectOf, case: str) -> None:
    statements, named, extension = LACKING[case]
    outcome = await replay.PROOF.run(await subject_of({"1_file.sql": statements}), "1")
    assert refuted(outcome) == []
    (claim,) = outcome.claims
    assert claim.level is Level.NOT_CHECKED
    assert f"the scratch server lacks {named}" in claim.basis
    assert extension in claim.remedy
    assert "--postgres" in claim.remedy
    assert "--scratch-url" in claim.remedy


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_by_itself_stays_refuted(subject_of: SubjectOf, case: str) -> None:
    outcome = await replay.PROOF.run(await subject_of({"1_file.sql": WRONG[case]}), "1")
    assert len(refuted(outcome)) == 1


async def test_what_comes_after_is_not_told_to_correct_the_file(subject_of: SubjectOf) -> None:
    files = {"1_file.sql": "create extension postgis;", "2_next.sql": "create table public.t (id int);"}
    found = await prove(await subject_of(files), wanted=("replay", "data"))
    claims = [claim for one in found for claim in one.outcome.claims if not claim.by_request]
    assert {claim.level for claim in claims if claim.version == "2"} == {Level.NOT_CHECKED}
    assert not any(claim.violations for claim in claims)
    assert not any("Correct" in claim.basis for claim in claims)


async def test_an_extension_that_the_server_has_was_the_files_to_create(subject_of: SubjectOf) -> None:
    subject = await subject_of({"1_file.sql": "create table public.t (place vector(3));"})
    outcome = await replay.PROOF.run(subject, "1")
    assert len(outcome.claims) >= 1
    offered = await subject.states.failed()
    assert offered is not None
    if offered.lack is None:
        assert len(refuted(outcome)) == 1
    else:
        assert offered.lack.extension == "vector"


async def test_stand_ins_that_a_claim_rests_on_are_told(subject_of: SubjectOf) -> None:
    files = {
        "1_file.sql": "create extension pg_cron; create table public.t (id uuid default uuid_generate_v4());"
        "select cron.schedule('a', '* * * * *', 'select 1');"
    }
    subject = await subject_of(files)
    await prove(subject, wanted=("replay",))
    told = "\n".join(subject.states.notes)
    assert "Extension pg_cron is a stand-in here: jobs are recorded and never run." in told
    assert "pg_net" not in told
    assert "pgcrypto" not in told


def test_a_failure_that_names_nothing_known_is_the_files_own() -> None:
    for message, sqlstate in (('relation "t" does not exist', "42P01"), ("duplicate key", "23505"), ("", "")):
        assert lack_behind(Failure("1.sql", 1, 1, sqlstate, message, "")) is None
