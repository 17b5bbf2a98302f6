"""Accepting a finding: where it reaches, what it needs, and what it cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.migrate.lint.conftest import Look, told
from toolkit.errors import UsageError
from toolkit.migrate.lint.reading.findings import LintFinding, Severity
from toolkit.migrate.lint.run import IDS
from toolkit.migrate.lint.suppress import Settings, read_settings

OPEN = "create table public.{} (id int primary key);"
RULE = "table-without-rls"
IGNORE = f"-- toolkit: lint-ignore {RULE} nobody but the server reads it"


def reasons(findings: list[LintFinding]) -> dict[str, str]:
    return {str(f.at): f.accepted for f in findings if f.accepted}


def test_before_a_statement_it_holds_for_that_statement_only(look: Look) -> None:
    text = f"select 1;\n\n-- a word first\n{IGNORE}\n-- and one after\n{OPEN.format('a')}\n{OPEN.format('b')}"
    findings = look(text)
    assert reasons(findings) == {"2_x.sql:6": "nobody but the server reads it"}
    assert told(findings) == {f"{RULE} 2_x.sql:7"}


def test_first_in_a_file_with_a_blank_line_behind_it_holds_for_the_file(look: Look) -> None:
    findings = look({"2_x.sql": f"{IGNORE}\n\n{OPEN.format('a')}\n{OPEN.format('b')}", "3_y.sql": OPEN.format("c")})
    assert reasons(findings).keys() == {"2_x.sql:3", "2_x.sql:4"}
    assert told(findings) == {f"{RULE} 3_y.sql:1"}
    without_a_gap = look({"2_x.sql": f"{IGNORE}\n{OPEN.format('a')}\n{OPEN.format('b')}", "3_y.sql": "select 1;"})
    assert told(without_a_gap) == {f"{RULE} 2_x.sql:3"}


def test_above_the_first_statement_the_runner_takes_it_for_no_directive_of_its_own(look: Look) -> None:
    (accepted,) = look(f"{IGNORE}\n{OPEN.format('a')}")
    assert (accepted.rule, bool(accepted.accepted)) == (RULE, True)


def test_within_a_statement_of_many_lines_it_reaches_each(look: Look) -> None:
    head = "create function public.n() returns int language sql set search_path = ''"
    body = f"{head} as $$\n  select max(n) + 1 from t\n$$;"
    ignore = "-- toolkit: lint-ignore max-plus-one-numbering one writer, and rows are never deleted"
    assert told(look(f"select 1;\n{ignore}\n{body}")) == set()
    assert told(look(f"select 1;\n{body}")) == {"max-plus-one-numbering 2_x.sql:3"}


@pytest.mark.parametrize(
    ("comment", "rule"),
    [
        (f"-- toolkit: lint-ignore {RULE}", "suppression-without-reason"),
        ("-- toolkit: lint-ignore", "suppression-without-reason"),
        ("-- toolkit: lint-ignore rls-disabled it is not", "suppression-unused"),
        ("-- toolkit: lint-ignore no-such-rule because", "suppression-unused"),
    ],
)
def test_one_that_is_no_use_is_a_finding_and_hides_nothing(comment: str, rule: str, look: Look) -> None:
    assert told(look(f"select 1;\n{comment}\n{OPEN.format('a')}")) == {f"{rule} 2_x.sql:2", f"{RULE} 2_x.sql:3"}


def test_what_the_runner_refuses_cannot_be_accepted(look: Look) -> None:
    findings = look("select 1;\n-- toolkit: lint-ignore refused-file I know better\ncommit;")
    assert told(findings) == {"refused-file 2_x.sql:3", "suppression-unused 2_x.sql:2"}


def test_one_in_a_string_or_a_block_comment_is_none(look: Look) -> None:
    text = f"select '\n{IGNORE}\n';\n/*\n{IGNORE}\n*/\n{OPEN.format('a')}"
    assert told(look(text)) == {f"{RULE} 2_x.sql:7"}


def test_a_disabled_rule_leaves_its_suppressions_alone(look: Look) -> None:
    text = f"select 1;\n{IGNORE}\nselect 2;"
    assert told(look(text)) == {"suppression-unused 2_x.sql:2"}
    assert told(look(text, disabled=frozenset({RULE}))) == set()


def test_a_folders_lint_toml_accepts_grades_and_says_what_is_exposed(look: Look) -> None:
    toml = (
        'exposed_schemas = ["public", "api"]\n[severity]\n"table-without-rls" = "warning"\n'
        f'[[ignore]]\nrule = "{RULE}"\nfiles = ["1_*.sql"]\nreason = "from before"\n'
    )
    files = {"1_a.sql": OPEN.format("a"), "2_x.sql": "create table api.b (id int primary key);", "lint.toml": toml}
    findings = look(files)
    assert reasons(findings) == {"1_a.sql:1": "from before"}
    assert [(f.rule, str(f.at), f.severity) for f in findings if not f.accepted] == [
        (RULE, "2_x.sql:1", Severity.WARNING)
    ]
    unused = look({"lint.toml": toml.replace("1_*.sql", "9_*.sql")})
    assert "suppression-unused lint.toml:4" in told(unused)
    nameless = look({"lint.toml": toml.replace("from before", " ")})
    assert {"suppression-without-reason lint.toml:4", f"{RULE} 1_a.sql:1"} <= told(nameless)
    off = look({"lint.toml": '[severity]\n"table-without-rls" = "off"'})
    assert told(off) == set()


@pytest.mark.parametrize(
    ("toml", "what"),
    [
        ("not toml", "cannot be read"),
        ("[rules]", "it holds rules"),
        ('exposed_schemas = "public"', "no list of names"),
        ('[severity]\n"no-such-rule" = "error"', "'no-such-rule', which is no rule"),
        ('[severity]\n"table-without-rls" = "fatal"', "cannot be 'fatal'"),
        ('[severity]\n"refused-file" = "off"', "cannot be 'off'"),
        ("severity = 1", "no table"),
        ("ignore = 1", "no list of tables"),
        ('[[ignore]]\nreason = "x"', "number 1 cannot be understood"),
        ('[[ignore]]\nrule = "x"\nreason = "x"\nline = 3', "number 1 cannot be understood"),
    ],
)
def test_a_lint_toml_that_cannot_be_understood_is_a_mistake_with_a_way_out(
    toml: str, what: str, tmp_path: Path
) -> None:
    (tmp_path / "lint.toml").write_text(toml)
    with pytest.raises(UsageError) as refused:
        read_settings(tmp_path, IDS)
    assert what in refused.value.what
    assert refused.value.remedy


def test_a_folder_without_one_has_the_defaults(tmp_path: Path) -> None:
    assert read_settings(tmp_path, IDS) == Settings()
