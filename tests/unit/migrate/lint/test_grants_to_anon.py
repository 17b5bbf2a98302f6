"""What a grant to anon is judged as: open, not known, or behind policies, and whether what is said of it is true."""

from __future__ import annotations

import pytest

from tests.unit.migrate.lint.conftest import BASE, Look

OPEN, PERHAPS, BEHIND = "grant-write-to-anon", "grant-write-to-anon-unjudged", "grant-to-anon-behind-policies"


def judged(look: Look, *lines: str) -> tuple[str, str]:
    """The rule that the grant on the last line breaks, and what is said."""
    found = [one for one in look({"1_base.sql": BASE, "2_x.sql": "\n".join(lines)}) if one.rule.startswith("grant-")]
    assert [one.at.line for one in found] == [len(lines)]
    return found[0].rule, found[0].what


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        ("using (true or id is null)", OPEN),
        ("using (1 = 1 and true)", OPEN),
        ("to anon using (auth.role() = 'anon')", OPEN),
        ("for insert with check ((select auth.role()) = 'anon'::text)", OPEN),
        ("using (id is not null)", PERHAPS),
        ("using (not (title = 'a'))", PERHAPS),
        ("using (auth.uid() = id or title = 'a')", PERHAPS),
        ("using (auth.uid() is distinct from id)", PERHAPS),
        ("using (coalesce(auth.uid(), id) = id)", PERHAPS),
        ("using (exists (select count(*) from tags t where t.owner = auth.uid()))", PERHAPS),
        ("using (exists (select 1 from tags t where t.owner = id))", PERHAPS),
        ("for update using (id is not null) with check (true)", PERHAPS),
        ("using (auth.uid() = id)", BEHIND),
        ("using (auth.uid() is not null)", BEHIND),
        ("using ((select auth.uid())::text = user_id and title = 'a')", BEHIND),
        ("using (auth.uid() = id or (select auth.role()) = 'authenticated')", BEHIND),
        ("using (exists (select 1 from tags t where t.owner = (select auth.jwt() ->> 'sub')))", BEHIND),
        ("using (id in (select t.id from tags t where t.owner = auth.uid()))", BEHIND),
        ("for update using (auth.uid() = id) with check (true)", BEHIND),
        ("for select using (title = 'a')", BEHIND),
        ("to authenticated using (true)", BEHIND),
        ("as restrictive using (true)", BEHIND),
        ("using (false)", BEHIND),
    ],
)
def test_a_policy_decides_by_what_it_can_be_for_anon(look: Look, policy: str, rule: str) -> None:
    assert judged(look, f"create policy p on notes {policy};", "grant all on notes to anon;")[0] == rule


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        (("grant truncate on notes to anon;",), BEHIND),
        (("revoke truncate on notes from anon;", "grant truncate on notes to anon;"), OPEN),
        (("revoke all on all tables in schema public from anon;", "grant all on notes to anon;"), OPEN),
        (("revoke all on notes from anon;", "grant insert on notes to anon;"), BEHIND),
        (("grant all on elsewhere to anon;",), PERHAPS),
        (("alter table elsewhere enable row level security;", "grant all on elsewhere to anon;"), PERHAPS),
        (("grant insert on all tables in schema app to anon;",), PERHAPS),
        (("grant insert on all tables in schema public to anon;",), BEHIND),
        (("create view v as select * from elsewhere;", "grant all on v to anon;"), PERHAPS),
        (("create view v with (security_invoker) as select * from elsewhere;", "grant all on v to anon;"), PERHAPS),
        (("create view v with (security_invoker) as select * from notes;", "grant all on v to anon;"), BEHIND),
        (("create view v as select * from notes;", "grant all on v to anon;"), OPEN),
    ],
)
def test_what_is_not_the_folders_is_not_called_safe(look: Look, lines: tuple[str, ...], rule: str) -> None:
    assert judged(look, *lines)[0] == rule
