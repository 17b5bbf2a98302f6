"""Cutting SQL into statements: the places where a naive split at semicolons goes wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.migrate.folder.statements import SplitError, split


def texts(sql: str) -> list[str]:
    return [statement.text for statement in split(sql)]


@pytest.mark.parametrize(
    "statement",
    [
        "select ';'",
        "select 'it''s; fine'",
        r"select E'a\';b'",
        "select E'a'\n  'b\\';c'",
        r"select 'backslash \' || ';'",
        'select ";" from "a;""b"',
        "select $$ ; $$",
        "select $tag$ ; $$ ; $other$ ; $tag$",
        "do $$ begin perform 1; end $$",
        "select 1 /* ; /* nested ; */ ; */ + 1",
        "select 1 -- ; comment\n+ 1",
        "create rule r as on insert to t do also (insert into a values (1); insert into b values (2))",
        "create function f() returns int language sql begin atomic select 1; select case when true then 1 end; end",
        "create procedure p() begin atomic insert into a values (1); end",
        'create function "begin atomic"() returns int language sql as $f$ select 1; $f$',
        "select a[1:2], $1, x$y from t",
        "select U&'d\\0061;t'",
        "select 1 as begin_, 2 as atomic",
    ],
)
def test_semicolons_inside_do_not_cut(statement: str) -> None:
    assert texts(f"{statement};\nselect 2;") == [statement, "select 2"]


def test_leading_comments_stay_with_their_statement_and_lines_are_those_of_the_first_word() -> None:
    first, second, rest = split("-- one\n\n/* two */ create table a ();\n;;\n-- three\ncreate table b ();\n-- end\n")
    assert (first.line, first.text, first.leading) == (
        3,
        "-- one\n\n/* two */ create table a ()",
        "-- one\n\n/* two */",
    )
    assert first.start_line == 1
    assert (second.line, second.start_line) == (6, 5)
    assert rest.is_comment
    assert rest.text == "-- end"
    assert [statement.index for statement in (first, second, rest)] == [1, 2, 3]


def test_byte_order_mark_and_missing_final_semicolon() -> None:
    assert texts("\ufeffselect 1;\r\nselect 2") == ["select 1", "select 2"]
    assert texts(" \n ; ;; ") == []


@pytest.mark.parametrize(
    ("sql", "line", "what"),
    [
        ("select 1;\nselect 'open", 2, "quoted string"),
        ('\n\nselect "open', 3, "quoted identifier"),
        ("select $x$ open $$", 1, "dollar-quoted text $x$"),
        ("/* /* */ open", 1, "block comment"),
        ("select 1;\n\\connect other", 2, "\\connect is a psql meta-command"),
        ("\\set x 1", 1, "\\set is a psql meta-command"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_its_line(sql: str, line: int, what: str) -> None:
    with pytest.raises(SplitError) as caught:
        split(sql)
    assert caught.value.line == line
    assert what in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("sql", "control"),
    [
        ("begin", True),
        ("BEGIN transaction", True),
        ("start transaction", True),
        ("commit", True),
        ("end", True),
        ("rollback to savepoint a", True),
        ("savepoint a", True),
        ("release a", True),
        ("abort", True),
        ("prepare transaction 'x'", True),
        ("/* x */ commit and chain", True),
        ("prepare p as select 1", False),
        ("do $$ begin commit; end $$", False),
        ("select 'commit'", False),
        ('create table "begin" ()', False),
        ("set transaction read only", False),
    ],
)
def test_transaction_control_is_recognised(sql: str, control: bool) -> None:
    assert split(sql)[0].is_transaction_control is control


@pytest.mark.parametrize(
    ("sql", "construct"),
    [
        ("create index concurrently i on t (a)", "CREATE INDEX CONCURRENTLY"),
        ("-- why\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)", "CREATE INDEX CONCURRENTLY"),
        ("drop index concurrently i", "DROP INDEX CONCURRENTLY"),
        ("reindex table concurrently t", "REINDEX CONCURRENTLY"),
        ("reindex (verbose) index concurrently i", "REINDEX CONCURRENTLY"),
        ("reindex schema s", "REINDEX SCHEMA/DATABASE/SYSTEM"),
        ("vacuum (analyze) t", "VACUUM"),
        ("cluster", "CLUSTER"),
        ("alter table p detach partition c concurrently", "ALTER TABLE … DETACH PARTITION … CONCURRENTLY"),
        ("create database d", "CREATE DATABASE"),
        ("drop subscription s", "DROP SUBSCRIPTION"),
        ("alter system set work_mem = 1", "ALTER SYSTEM"),
        ("discard all", "DISCARD ALL"),
        ("alter database d set work_mem = 1", None),
        ("create index i on t (a)", None),
        ("cluster t using i", None),
        ("refresh materialized view concurrently v", None),
        ('create index "concurrently" on t (a)', None),
        ("create table vacuum_log ()", None),
        ("reindex table t", None),
    ],
)
def test_statements_that_refuse_a_transaction_are_recognised(sql: str, construct: str | None) -> None:
    assert split(sql)[0].refuses_transaction == construct


def test_copy_from_stdin_is_recognised() -> None:
    assert split("copy t from stdin")[0].is_copy_from_stdin
    assert not split("copy t to '/dev/null'")[0].is_copy_from_stdin


_PIECES = st.sampled_from(
    ["select 1", "'a;b'", '"c;d"', "$$e;f$$", "/* g; */", "-- h;\n", "E'\\';'", "(1;2)", "x", "\n"]
)


@given(st.lists(st.lists(_PIECES, min_size=1, max_size=5).map(" ".join), max_size=6))
def test_nothing_is_lost_or_added(statements: list[str]) -> None:
    source = ";\n".join(statements)
    bare = "".join(source.split()).replace(";", "")
    assert "".join("".join(texts(source)).split()).replace(";", "") == bare


@given(st.text(alphabet="ab'\"$;-/*\\\n ()E", max_size=40))
def test_any_text_is_cut_or_refused_but_never_breaks_the_scanner(text: str) -> None:
    lines = text.count("\n") + 1
    try:
        seen = [statement.line for statement in split(text)]
    except SplitError as error:
        seen = [error.line]
    assert all(1 <= line <= lines for line in seen)
