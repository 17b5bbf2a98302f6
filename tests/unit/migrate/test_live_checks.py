"""What migration files say of publications and constraints."""

from __future__ import annotations

import pytest

from toolkit.migrate.folder.statements import split
from toolkit.migrate.verify.meant import left_unvalidated, named_members


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["alter publication p add table a, public.b;"], {"p": {"public.a", "public.b"}}),
        (["create publication p for table only x.a (id, name) where (id > 1), b;"], {"p": {"x.a", "public.b"}}),
        (["alter publication p add table a;", "alter publication p drop table a;"], {"p": set()}),
        (["alter publication p add table a; alter publication p set table b;"], {"p": {"public.b"}}),
        (['alter publication "P q" add table t;'], {"P q": {"public.t"}}),
        (["do $$ begin if true then alter publication p add table a; end if; end $$;"], {"p": {"public.a"}}),
        (["alter publication p add tables in schema x;"], {}),
        (['alter publication p add table "My Table", s."T";'], {"p": {"public.My Table", "s.T"}}),
        (["-- alter publication p add table a;\nselect 1;"], {}),
        (["create publication p for all tables;"], {}),
    ],
)
def test_members_that_files_name(texts: list[str], wanted: dict[str, set[str]]) -> None:
    assert named_members(s for text in texts for s in split(text)) == wanted


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["alter table a add constraint c check (x > 0) not valid;"], {"c"}),
        (["alter table a add constraint c check (x > 0) not valid;", "alter table a validate constraint c;"], set()),
        (["alter table a add constraint c check (x > 0), add constraint d check (y > 0) not valid;"], {"d"}),
        (["alter table a add constraint c check (x > 0); alter table a add constraint d check (y) not valid"], {"d"}),
        (["-- alter table a add constraint c check (x > 0) not valid;"], set()),
    ],
)
def test_constraints_that_files_leave_unvalidated(texts: list[str], wanted: set[str]) -> None:
    assert left_unvalidated(s for text in texts for s in split(text)) == wanted
