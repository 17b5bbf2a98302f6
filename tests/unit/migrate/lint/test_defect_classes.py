"""A folder with the mistakes that the generation system's own history is known for, all of them together: each class
that can be seen in files is found where it is, whatever stands around it."""

# ruff: noqa: E501

from __future__ import annotations

import pytest

from tests.unit.migrate.lint.conftest import Look, told
from toolkit.migrate.lint.reading.findings import LintFinding, Severity

# One word a line marks where a finding belongs; the markers are comments and so are never read.
FOLDER = {
    "20250105_ids_become_text.sql": """
alter table processes alter column user_id type text; -- D2
""",
    "20250605_base.sql": """
create table organizations (id uuid primary key, name text not null); -- D33
create table members (organization_id uuid references organizations (id), user_id text, primary key (organization_id, user_id));
create table processes (id uuid primary key, user_id text not null, status text, context jsonb, step text,
  organization_id uuid references organizations (id));
create table articles (id uuid primary key, process_id uuid references processes (id));
alter table members enable row level security;
alter table processes enable row level security;
alter table articles enable row level security;
create policy members_read on members for select -- D4
  using (exists (select 1 from members m where m.organization_id = members.organization_id and m.user_id =
    (select current_setting('request.jwt.claims')::json ->> 'sub'))); -- D6
create policy owner on processes for all using (user_id = auth.uid()::text); -- D5 D10
create policy org on processes for select to authenticated using (exists (select from members m where m.organization_id =
  processes.organization_id)); -- D35
create policy articles_read on articles for select to authenticated using (false);
create function cleanup_processes() returns void language plpgsql as $$
begin
  delete from processes where status = 'completed'; -- D25
end $$;
""",
    "20250727_realtime.sql": """
create table if not exists process_events (id uuid primary key, process_id uuid references processes (id) on delete cascade, -- D16
  event_type text, event_data jsonb, event_sequence int, unique (process_id, event_sequence));
alter table process_events enable row level security;
create index idx_events_process on process_events (process_id); -- D19
create policy "System can insert" on process_events for insert with check (true); -- D9
create or replace function create_event(p uuid, t text, d jsonb default '{}') returns uuid language plpgsql
  security definer as $$ -- D29
declare n int;
begin
  select coalesce(max(event_sequence), 0) + 1 into n from process_events where process_id = p; -- D7 D8
  insert into process_events (process_id, event_type, event_sequence) values (p, t, n)
  on conflict (event_sequence) do nothing; -- D34b
  perform public.extract_placeholders(p); -- D34
  return p;
end $$;
create function publish() returns trigger language plpgsql as $$
begin
  insert into process_events (process_id, event_type, event_data)
  values (new.id, 'changed', jsonb_build_object('status', new.status, 'context', new.context)); -- D14
  return new;
end $$;
create trigger publish before insert on processes for each row execute function publish(); -- D1 D12
create trigger publish_change after update on processes for each row execute function publish();
update processes set step = 'start' where step is null; -- D15
drop publication if exists supabase_realtime; -- D13
create publication supabase_realtime for table processes, process_events;
alter table processes replica identity full; -- D14b
create view latest as select * from process_events; -- D29b
""",
    "rollbacks/20250727_realtime.sql": """-- destroys: table process_events
drop function create_event(uuid, text, jsonb);
drop view latest;
drop table process_events;
drop trigger publish_change on processes;
drop function publish();
""",
    "20251002_priorities.sql": """
create or replace function create_event(p uuid, t text, d jsonb default '{}', category text default 'manual') -- D30
  returns uuid language sql security definer set search_path = '' as $$ select p $$;
create or replace function create_event(p uuid, t text, d jsonb default '{}') returns uuid language sql -- D32
  set search_path = '' as $$ select p $$;
do $$ declare r record; begin
  for r in select policyname, tablename from pg_policies where schemaname = 'public' loop
    execute format('drop policy %I on public.%I', r.policyname, r.tablename);
  end loop;
end $$;
""",
}
UP = "20250727_realtime.sql"
BASE_FILE = "20250605_base.sql"

CLASSES = [
    ("D1", "before-insert-writes-child", UP),
    ("D2", "used-before-created", "20250105_ids_become_text.sql"),
    ("D4", "policy-recursion", BASE_FILE),
    ("D4", "policy-without-role", BASE_FILE),
    ("D5", "auth-uid-as-text", BASE_FILE),
    ("D6", "claims-cast-unguarded", BASE_FILE),
    ("D9", "policy-open-write", UP),
    ("D10", "policy-update-all-columns", BASE_FILE),
    ("D13", "publication-recreated", UP),
    ("D14", "whole-row-in-event", UP),
    ("D14b", "replica-identity-full", UP),
    ("D15", "backfill-fires-trigger", UP),
    ("D16", "create-table-if-not-exists", UP),
    ("D19", "redundant-index", UP),
    ("D25", "delete-blocked-by-foreign-key", BASE_FILE),
    ("D29b", "view-without-security-invoker", UP),
    ("D30", "overload-ambiguous", "20251002_priorities.sql"),
    ("D32", "replace-loses-settings", "20251002_priorities.sql"),
    ("D33", "table-without-rls", BASE_FILE),
    ("D35", "policy-nested-on-published", BASE_FILE),
]


def line_of(mark: str, file: str) -> int:
    """The line that ends with this mark."""
    lines = FOLDER[file].splitlines()
    return next(n for n, line in enumerate(lines, start=1) if "--" in line and mark in line.rpartition("--")[2].split())


@pytest.fixture
def found(look: Look) -> list[LintFinding]:
    return look(FOLDER)


@pytest.mark.parametrize(("mark", "rule", "file"), CLASSES, ids=lambda value: value if value.startswith("D") else "")
def test_each_class_is_found(mark: str, rule: str, file: str, found: list[LintFinding]) -> None:
    here = {(f.at.line, f.rule) for f in found if f.at.file == file}
    statement = range(line_of(mark, file) - 3, line_of(mark, file) + 1)  # a statement is told by its first line
    assert any(line in statement and name == rule for line, name in here), sorted(here)


def test_what_later_files_replace_is_judged_as_it_is_at_the_end(look: Look) -> None:
    before = {name: text for name, text in FOLDER.items() if not name.startswith("20251002")}
    findings = told(look(before))
    assert f"definer-without-search-path {UP}:{line_of('D29', UP) - 1}" in findings
    assert f"max-plus-one-numbering {UP}:{line_of('D7', UP)}" in findings
    assert f"on-conflict-without-key {UP}:{line_of('D34b', UP)}" in findings
    assert f"calls-unknown-function {UP}:{line_of('D34', UP)}" in findings


def test_nothing_else_is_an_error(found: list[LintFinding]) -> None:
    expected = {rule for _, rule, _ in CLASSES} | {"definer-executable-by-public", "rollback-incomplete"}
    assert {f.rule for f in found if f.severity is Severity.ERROR} <= expected
    assert len([f for f in found if f.rule == "rollback-incomplete"]) == 1


def test_a_trigger_writes_as_its_caller_where_no_policy_lets_the_caller_write(look: Look) -> None:
    opened = [f.what for f in look(FOLDER) if f.rule == "trigger-writes-as-caller"]
    assert opened
    assert all(what.endswith("it works only while System can insert lets everybody write") for what in opened)
    closed = "\n".join(line for line in FOLDER[UP].splitlines() if "System can insert" not in line)
    assert f"trigger-writes-as-caller {UP}:{line_of('D12', UP) - 1}" in told(look(FOLDER | {UP: closed}))


def test_the_trigger_that_its_rollback_leaves_is_found(found: list[LintFinding]) -> None:
    (left,) = [f for f in found if f.rule == "rollback-incomplete" and "trigger publish on" in f.what]  # D26
    assert "fails once its tables are gone" in left.what


def test_a_loop_that_drops_every_policy_is_found(look: Look) -> None:
    lost = {f.what.split()[0] for f in look(FOLDER) if f.rule == "policies-lost"}  # D3
    assert lost == {"public.members", "public.processes", "public.articles", "public.process_events"}
    again = "create policy back on articles for select to authenticated using (false);"
    lost_then = {f.what.split()[0] for f in look({**FOLDER, "20251003_back.sql": again}) if f.rule == "policies-lost"}
    assert lost_then == lost - {"public.articles"}


def test_a_loop_over_the_policies_of_one_table_takes_those_alone(look: Look) -> None:
    loop = FOLDER["20251002_priorities.sql"].replace("schemaname = 'public'", "tablename = 'articles'")
    lost = {f.what.split()[0] for f in look({**FOLDER, "20251002_priorities.sql": loop}) if f.rule == "policies-lost"}
    assert lost == {"public.articles"}
