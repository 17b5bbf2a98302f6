"""The rules as a whole: each is planted and explained; the manual is made from them."""

from __future__ import annotations

from tests.unit.migrate.lint.conftest import BASE, Look, told
from tests.unit.migrate.lint.test_planted import CASES
from toolkit.migrate.lint.run import OURS
from toolkit.migrate.lint.squawk_rules import GRADES


def test_missing_rollbacks_are_told_once_for_a_folder_without_any_and_each_where_others_exist(look: Look) -> None:
    rollback = {"rollbacks/1_base.sql": "-- destroys: table notes\ndrop table notes;"}
    assert told(look({"1_base.sql": BASE, "2_x.sql": "select 1;"}, rollbacks=True)) == {"rollback-missing the folder"}
    assert told(look(rollback, rollbacks=True)) == {"rollback-missing 2_x.sql:1"}
    assert told(look({"rollbacks/2_x.sql": "select 1;"}, rollbacks=True)) == set()


def test_every_rule_has_a_planted_defect() -> None:
    assert {rule.id for rule in OURS} == {case.rule for case in CASES} | {"rollback-missing"}


def test_every_rule_says_why_and_what_to_do() -> None:
    assert len({rule.id for rule in OURS}) == len(OURS)
    for rule in OURS:
        assert rule.title, rule
        assert rule.why.endswith("."), rule
        assert rule.remedy[-1] in ".`;", rule


def test_every_rule_of_squawk_has_a_reason() -> None:
    assert [name for name, grade in GRADES.items() if not grade.reason] == []
