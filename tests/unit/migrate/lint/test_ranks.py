"""What breaks or leaks is an error; the same thing where it is meant, or limits itself, ranks below."""

# ruff: noqa: E501

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.migrate.lint.conftest import Look
from toolkit.migrate.lint.reading.findings import Severity
from toolkit.migrate.lint.report import of_lint
from toolkit.migrate.lint.run import Linted
from toolkit.report.frame import Frame

BASE = (
    "create table notes (id uuid primary key, title text, user_id uuid); alter table notes enable row level security;\n"
)
DEFINER = "security definer set search_path = ''"
READS = f"create function f() returns text language sql {DEFINER} as $$ select title from public.notes $$;"
ANSWERS = f"create function f(a uuid) returns boolean language plpgsql {DEFINER} as $$ begin perform 1 from public.notes; return true; end $$;"
JOINED = (
    "create function joined() returns trigger language plpgsql {} as $$ begin insert into notes (title) values (new.email); "
    "return new; end $$; create trigger j after insert on {} for each row execute function public.joined();"
)
VIEW = "create view v as select title from notes;"

# (what is an error, its neighbour that is none)
PAIRS = [
    ("definer-executable-by-public", READS, READS.replace("notes $$", "notes where user_id = (select auth.uid()) $$")),
    ("definer-executable-by-public", READS, READS.replace("title from public.notes", "'x' where exists (select from public.notes)")),
    ("definer-executable-by-public", READS, READS.replace("f()", "f(invite_token text)")),
    ("definer-executable-by-public", READS, READS + "create policy p on notes for select using (title = f());"),
    ("definer-executable-by-public", READS, READS + "create policy p on notes for select using (true);"),
    ("definer-executable-by-public", READS + "create policy p on notes for select to authenticated using (true);", ANSWERS),
    ("definer-executable-by-public", READS + "grant all on function f() to anon;", READS + "grant execute on function f() to anon;"),
    ("definer-executable-by-public", ANSWERS.replace("perform 1", "delete"), ANSWERS),
    ("definer-executable-by-public", ANSWERS.replace("perform 1 from public.notes", "perform net.http_post('https://a.example')"), ANSWERS),
    ("definer-executable-by-public", ANSWERS.replace("perform 1 from public.notes", "execute 'truncate ' || a"), ANSWERS),
    (
        "definer-executable-by-public",
        READS + f"create function g() returns text language sql {DEFINER} as $$ select public.f() $$;",
        f"create function mine() returns uuid language sql {DEFINER} as $$ select auth.uid() $$;"
        + READS.replace("notes $$", "notes where user_id = public.mine() $$"),
    ),
    ("policy-open-write", "create policy p on notes for insert with check (true);", "create policy p on notes for insert to anon with check (true);"),
    ("policy-open-write", 'create policy "Anyone can tidy" on notes for delete using (true);', 'create policy "Anyone can add" on notes for insert with check (true);'),
    ("policy-open-write", "create policy \"System adds\" on notes for insert with check (true);", "create policy visitor_adds on notes for insert with check (true);"),
    (
        "policy-open-write",
        "create policy p on notes for insert to authenticated with check (true);",
        "create table teams (id int primary key, name text); alter table teams enable row level security;"
        "create policy p on teams for insert to authenticated with check (true);",
    ),
    ("auth-trigger-without-search-path", JOINED.format(DEFINER.split(" set", maxsplit=1)[0], "auth.users"), JOINED.format("set search_path = public", "auth.users")),
    ("auth-trigger-without-search-path", JOINED.format("", "auth.users"), JOINED.format("", "public.notes")),
    ("created-twice", "create table if not exists notes (id uuid primary key, rating int);", "create table if not exists notes (id uuid primary key, title text);"),
    ("created-twice", "create table notes (id uuid primary key);", "alter table notes add rating int; create table if not exists notes (id uuid primary key, rating int);"),
    ("view-without-security-invoker", VIEW + "grant all on v to anon;", VIEW + "grant select on v to anon;"),
    ("view-without-security-invoker", VIEW + "grant select on v to anon; revoke all on v from anon;", VIEW + "revoke all on v from anon; grant select on v to anon;"),
    (
        "overload-ambiguous",
        "create function f(a int) returns int language sql as 'select 1'; create function f(a int, b int default 0) returns int language sql as 'select 1';",
        "create function f(a int default 0) returns int language sql as 'select 1'; create function f(b uuid default null) returns int language sql as 'select 1';",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "worse", "better"), PAIRS)
def test_the_error_is_told_and_its_neighbour_ranks_below(rule: str, worse: str, better: str, look: Look) -> None:
    def errors(text: str) -> set[str]:
        return {f.rule for f in look({"1_a.sql": BASE, "2_b.sql": text}) if f.severity is Severity.ERROR}

    assert rule in errors(worse)
    assert rule not in errors(better)


ANEW = "drop publication if exists supabase_realtime; create publication supabase_realtime;"


def test_a_publication_made_anew_where_nobody_subscribes_yet_is_no_error(look: Look) -> None:
    gone = look({"1_a.sql": "drop publication supabase_realtime;"})
    first = look({"1_a.sql": ANEW})
    later = look({"1_a.sql": BASE, "2_b.sql": ANEW})
    assert [f.rule for f in later if f.severity is Severity.ERROR] == ["publication-recreated"]
    assert not [f for f in first if f.severity is Severity.ERROR]
    assert [f.rule for f in gone if f.severity is Severity.ERROR] == ["publication-recreated"]


def test_the_worst_is_told_first(look: Look, tmp_path: Path) -> None:
    found = look(
        {
            "1_a.sql": BASE,
            "2_b.sql": VIEW.replace("view v", "view w") + "revoke all on w from anon, authenticated;\n"
            "create function s() returns int language sql as 'select 1';\n" + VIEW,
        }
    )
    report = of_lint(
        Frame("migrate lint", datetime(2026, 1, 1, tzinfo=UTC), "x", "1"),
        Linted(("1_a.sql", "2_b.sql"), tuple(found)),
        Severity.ERROR,
    )
    told = [(check.group, check.title.partition(",")[0]) for check in report.checks if check.id != "file"]
    assert told[0] == ("2_b.sql", "error")
    ranks = [("error", "warning", "info").index(word) for file, word in told if file == "2_b.sql"]
    assert ranks == sorted(ranks)
    assert told[-1][0] == "1_a.sql"
