"""Transactions of an application that take two tables in another order than a file does: found without any timing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.migrate.prove.conftest import SubjectOf
from toolkit.errors import UsageError
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.prove.locks import locks_proof as locks
from toolkit.migrate.prove.locks.orders import read_transactions
from toolkit.migrate.prove.subject.claims import Level

START = "create table public.a (id int primary key); create table public.b (id int primary key);"
BOTH = "alter table public.a add column x int;\nalter table public.b add column x int;"
FIRST_B = "begin;\nupdate public.b set id = id;\nselect count(*) from public.a;\ncommit;\n"
FIRST_A = "begin; update public.a set id = id; update public.b set id = id; commit;"


@pytest.mark.parametrize(
    ("file", "traffic", "wrong"),
    [
        (BOTH, FIRST_B, True),
        (BOTH, FIRST_A, False),
        ("alter table public.a add column x int;", FIRST_B, False),
        # Reading beside writing stops nobody.
        ("update public.a set id = id; select count(*) from public.b;", FIRST_B, False),
        # A lock that is taken on the way to a stronger one.
        ("select count(*) from public.a; alter table public.b add column x int;", FIRST_B, False),
        ("-- toolkit: transaction=false\ncreate index concurrently on public.a (id);", FIRST_B, False),
    ],
)
async def test_opposite_orders_are_refuted_and_the_same_order_is_not(
    subject_of: SubjectOf, file: str, traffic: str, wrong: bool
) -> None:
    subject = await subject_of({"1_x.sql": file, "traffic.sql": traffic}, start=START)
    outcome = (await locks.quietly(subject, "1")).outcome()
    claim = next(one for one in outcome.claims if one.id == "locks-1-up-order")
    assert claim.level is Level.SAMPLED
    assert bool(claim.violations) is wrong
    if wrong:
        (line,) = claim.violations
        assert line == (
            "1_x.sql:2 asks for public.b (ACCESS EXCLUSIVE) while it holds public.a (ACCESS EXCLUSIVE) since "
            "1_x.sql:1; the application at traffic.sql:3 asks for public.a (ACCESS SHARE) while it holds public.b "
            "(ROW EXCLUSIVE) since traffic.sql:2"
        )


async def test_what_does_not_run_before_the_version_is_said(subject_of: SubjectOf) -> None:
    traffic = f"{FIRST_B}begin; select x from public.a; commit;"
    subject = await subject_of({"1_x.sql": BOTH, "traffic.sql": traffic}, start=START)
    outcome = (await locks.quietly(subject, "1")).outcome()
    claim = next(one for one in outcome.claims if one.id == "locks-1-up-order")
    assert "1 of 2 transactions" in claim.basis
    assert 'column "x" does not exist' in claim.basis
    assert subject.folder.notices == (), "the file is no migration with a wrong name"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("begin;\nselect 1;", "does not end"),
        ("select 1;", "traffic.sql:1"),
        ("begin; begin; commit;", "traffic.sql:1"),
        ("begin;\nselect from from;\ncommit;", "traffic.sql:2"),
    ],
)
def test_a_file_that_makes_no_sense_is_told_with_its_line(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "1_x.sql").write_text("select 1;")
    (tmp_path / "traffic.sql").write_text(text)
    with pytest.raises(UsageError, match=line):
        read_transactions(read_folder(tmp_path).path)
