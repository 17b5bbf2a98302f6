"""Each mutation operator: a statement, and what becomes of it. Nothing here needs a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.mutate.derive import Derived, derive, sample
from toolkit.migrate.mutate.operators import OPERATORS, TEXT_OPERATORS
from toolkit.migrate.mutate.operators.outline import outline

# Operator, statement, and a part of what it becomes.
CHANGES = [
    ("condition-removed", "delete from t where a = 1", "DELETE FROM t"),
    ("condition-negated", "delete from t where a = 1", "WHERE NOT a = 1"),
    ("condition-exists", "delete from t where exists (select from u)", "WHERE true"),
    ("boolean-arm", "delete from t where a = 1 and b = 2", "WHERE b = 2"),
    ("boolean-turned", "delete from t where a = 1 and b = 2", "a = 1 OR b = 2"),
    ("comparison-turned", "delete from t where a < 1", "a <= 1"),
    ("comparison-null", "delete from t where a is null", "a IS NOT NULL"),
    ("list-member", "delete from t where a in (1, 2)", "a IN (2)"),
    ("list-member", "delete from t where (a, b) is distinct from (c, d)", "(b) IS DISTINCT FROM (d)"),
    ("column-itself", "create policy p on t using (owner = reader)", "owner = owner"),
    ("column-neighbour", "update n set b = 1 where b = 2", "WHERE c = 2"),
    ("constant", "alter table t alter column a set default 5", "DEFAULT 6"),
    ("constant", "alter table t alter column a set default '5 minutes'::interval", "10 minutes"),
    ("assignment-removed", "update t set a = 1, b = 2", "SET b = 2"),
    ("insert-column", "insert into t (a, b) values (1, 2)", "(b) VALUES (2)"),
    ("coalesce", "update t set a = coalesce(a, 0)", "SET a = a"),
    ("function", "update t set a = (select max(b) from u)", "min(b)"),
    ("least-greatest", "update t set a = greatest(a, 1)", "LEAST(a, 1)"),
    ("concatenation", "update t set a = a || b", "SET a = b"),
    ("conflict", "insert into t (a) values (1) on conflict (a) do update set a = 2", "DO NOTHING"),
    ("lock", "insert into t select * from u for update skip locked", "FOR UPDATE"),
    ("lock", "insert into t select * from u for update skip locked", "FOR KEY SHARE SKIP LOCKED"),
    ("order", "insert into t select * from u order by a desc", "ORDER BY a ASC"),
    ("limit", "insert into t select * from u limit 3", "SELECT * FROM u"),
    ("join", "insert into t select * from u left join v on true", "FROM u JOIN v"),
    ("case", "update t set a = case when b then 1 else 2 end", "THEN 2 ELSE 1"),
    ("policy-condition", "create policy p on t for select using (owner = auth.uid())", "USING (true)"),
    ("policy-reach", "create policy p on t for select to authenticated using (a)", "TO public"),
    ("policy-reach", "create policy p on t for select to authenticated using (a)", "CREATE POLICY p ON t TO"),
    ("grant", "grant select, insert on t to anon", "GRANT insert ON"),
    ("grant", "grant select on t to anon", "TO public"),
    ("row-security", "alter table t enable row level security, add column x int", "ALTER TABLE t ADD COLUMN x"),
    ("function-rights", "create function f() returns int language sql security definer as 'select 1'", "INVOKER"),
    ("function-rights", "create function f() returns int language sql set search_path = '' as 'select 1'", "sql AS"),
    ("function-character", "create function f() returns int language sql strict as 'select 1'", "sql AS"),
    ("view-security", "create view v with (security_invoker = true) as select 1", "CREATE VIEW v AS"),
    ("publication", "create publication p for table t, u with (publish = 'insert, update')", "FOR TABLE u"),
    ("publication", "create publication p for table t with (publish = 'insert, update')", "publish = 'update'"),
    ("constraint-removed", "create table x (a int not null default 3)", "CREATE TABLE x (a int DEFAULT 3)"),
    ("table-change", "alter table t add column x int, add column y int", "ALTER TABLE t ADD COLUMN y int"),
    ("foreign-key", "create table x (a int references t on delete cascade)", "ON DELETE SET NULL"),
    ("key-columns", "create table x (a int, b int, unique (a, b))", "UNIQUE (b)"),
    ("index", "create unique index i on t (a) where b", "CREATE INDEX i"),
    ("index", "create unique index i on t (a) where b", "(a)"),
    ("trigger", "create trigger g before insert on t for each row execute function f()", "AFTER INSERT"),
    ("trigger", "create trigger g before insert on t for each row execute function f()", "INSERT ON t EXECUTE"),
    ("storage", "create table x (a int) with (fillfactor = 50)", "CREATE TABLE x (a int)"),
]
BODY = """create function f(p integer) returns integer language plpgsql as $$
declare
  found_one integer := 3;
begin
  -- not; a statement
  select a into strict found_one from t where b = p and c for update;
  if found_one > 3 then
    perform g(';');
  elsif p = 1 then
    raise notice 'else; if';
  else
    update t set a = case when b = 1 then 2 else 3 end where c;
  end if;
  for found_one in select 1 loop
    found_one := found_one + 1;
  end loop;
  return found_one;
exception when others then
  return 0;
end $$"""


def _derived(tmp_path: Path, sql: str) -> Derived:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "1_first.sql").write_text("create table n (a text, b integer, c integer);\n")
    (folder / "2_second.sql").write_text(f"{sql};\n")
    return derive(read_folder(folder), ["2"])


@pytest.mark.parametrize(("operator", "sql", "becomes"), CHANGES)
def test_an_operator_makes_it_wrong_in_this_way(tmp_path: Path, operator: str, sql: str, becomes: str) -> None:
    found = [one for one in _derived(tmp_path, sql).mutants if one.operator == operator]
    assert [one for one in found if becomes in one.after], [one.after for one in found]
    assert all(one.after != one.before and one.id.startswith(f"{operator}:") for one in found)


def test_every_operator_is_planted_and_says_which_mistake_it_stands_for() -> None:
    planted = {operator for operator, _, _ in CHANGES} | {"condition-constant"}
    assert {one.id for one in OPERATORS} == planted
    every = [*OPERATORS, *TEXT_OPERATORS]
    assert all(one.title and one.sentence.endswith(".") for one in every)


def test_a_body_is_cut_into_its_commands_and_parts() -> None:
    body = BODY.partition("$$")[2].rpartition("$$")[0]
    read = outline(body)
    kinds = [one.kind for one in read.commands]
    assert kinds == ["sql", "perform", "raise", "sql", "if", "assign", "for", "return", "return"]
    assert [branch.word for one in read.commands for branch in one.branches] == ["if", "elsif", "else"]
    assert "SELECT found_one > 3" in [part.sql for part in read.parts if part.condition]
    assert "select a from t where b = p and c for update" in [part.sql for part in read.parts]


def test_a_body_gives_mutants_of_its_commands_branches_and_conditions(tmp_path: Path) -> None:
    derived = _derived(tmp_path, BODY)
    told = {(one.operator, one.told) for one in derived.mutants if one.in_body}
    assert ("command-removed", "without: perform g(';');") in told
    assert ("branch-removed", "without the branch ELSE") in told
    assert ("condition-constant", "the condition is always false") in told
    assert ("lock", "the rows are not locked") in told
    assert derived.unread == []
    # INTO, which the grammar does not know, is in every one of them.
    assert all("strict found_one" in one.content for one in derived.mutants if one.operator == "lock")


def test_equal_changes_are_folded_and_ids_are_unique_and_stable(tmp_path: Path) -> None:
    derived = _derived(tmp_path, "update t set a = 1 where b = 1 or b = 1")
    again = derive(read_folder(tmp_path / "migrations"), ["2"])
    ids = [one.id for one in derived.mutants]
    assert ids == [one.id for one in again.mutants]
    assert len(ids) == len(set(ids))


def test_a_sample_has_of_each_kind_and_is_the_same_for_a_seed(tmp_path: Path) -> None:
    mutants = _derived(tmp_path, BODY).mutants
    kinds = {one.kind for one in mutants}
    chosen = sample(mutants, len(kinds) + 2, seed=4)
    assert {one.kind for one in chosen} == kinds
    assert len(chosen) == len(kinds) + 2
    assert chosen == sample(mutants, len(kinds) + 2, seed=4) != sample(mutants, len(kinds) + 2, seed=5)
    assert sample(mutants, 10_000, seed=1) == mutants


def test_what_differs_is_shown_with_little_around_it(tmp_path: Path) -> None:
    columns = ", ".join(f"c{number} integer" for number in range(40))
    derived = _derived(tmp_path, f"create table x ({columns}, last_one integer not null)")
    before, after = next(one for one in derived.mutants if one.operator == "constraint-removed").excerpt()
    assert before.endswith("last_one int NOT NULL)")
    assert after.endswith("last_one int)")
    assert before.startswith("… ")
    assert len(before) < 90


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    body = "create function f() returns integer language plpgsql as $$ begin frobnicate x; end $$"
    assert "the body is not cut: frobnicate begins no command" in _derived(tmp_path, body).unread[0]
