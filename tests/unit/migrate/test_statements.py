"""Cutting SQL into statements: the places where a naive split at semicolons goes wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.migrate.folder.statements import SplitError, comments, split


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
        ("select $x$ open $$", 1, "dollar-quoted string"),
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
        ("rollback to savepoint a", False),
        ("savepoint a", False),
        ("release a", False),
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


def test_a_lone_carriage_return_ends_a_comment() -> None:
    first, second = split("create table a (x int);\n-- x\rcreate table b (y int);")
    assert (first.text, second.text) == ("create table a (x int)", "-- x\rcreate table b (y int)")
    assert (second.leading, second.body) == ("-- x", "create table b (y int)")
    assert [comment.text for comment in second.comments] == ["-- x"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_and_texts_are_exact_whatever_stands_before(end: str) -> None:
    before = ["\ufeff-- überschrift 🦊", "insert into t values ('日本語', U&'\\00e9', E'\\'ä;');", "/* ñ", "*/"]
    rest = ["-- why", "create table x (", "  id int", ");", "select $é$ ; é $é$"]
    text = end.join([*before, *rest])
    insert, create, select = split(text)
    assert (insert.line, create.line, create.start_line, select.line) == (2, 6, 3, 9)
    assert create.leading == end.join(["/* ñ", "*/", "-- why"])
    assert create.body == end.join(rest[1:3]) + end + ")"
    assert insert.leading == "-- überschrift 🦊"
    assert select.text == "select $é$ ; é $é$"
    assert [(comment.line, comment.text) for comment in create.comments] == [(5, "-- why")]


UNREADABLE = ["1\tit's", '1\t"open', "1\t$$", "1\t/* x", "\\N\t2", "1a\t2", "\\\\.\tx"]


@pytest.mark.parametrize("data", [*UNREADABLE, "1\tfine", "a;b", "-- c", "é\t🦊"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_behind_copy_belong_to_it_and_lines_stay(data: str, end: str) -> None:
    lines = ["select 1;", "copy public.t (a, b) from stdin; -- rows", data, data, "\\.", "-- two", "select 2;", ""]
    one, copy, two = split(end.join(lines))
    assert (one.rows, copy.line, copy.rows) == (None, 2, end.join([data, data, ""]))
    assert (copy.text, copy.trouble) == ("copy public.t (a, b) from stdin", None)
    assert (two.line, two.body, two.comments[-1].text) == (7, "select 2", "-- two")


def test_a_copy_without_rows_and_several_of_them_are_read() -> None:
    first, second, third = split("copy a from stdin;\n\\.\ncopy b from stdin;\n1\n\\.\nselect '\n\\.\n'")
    assert (first.rows, second.rows, third.rows) == ("", "1\n", None)
    assert third.text == "select '\n\\.\n'"


@pytest.mark.parametrize("data", UNREADABLE)
def test_rows_that_never_end_are_told_as_what_they_are(data: str) -> None:
    with pytest.raises(SplitError) as caught:
        split(f"select 1;\ncopy public.t (a, b) from stdin;\n{data}\nselect 2;")
    assert (caught.value.line, caught.value.what) == (2, "the rows behind COPY … FROM STDIN never end")
    assert "`\\.`" in caught.value.remedy


def test_rows_that_never_end_and_look_like_sql_leave_a_copy_without_rows() -> None:
    _, copy, *_ = split("select 1;\ncopy public.t (a, b) from stdin;\na;b\nselect 2;")
    assert (copy.is_copy_from_stdin, copy.rows) == (True, None)


@pytest.mark.parametrize("line", ["\\echo it's", "\\i other.sql", '\\set x "'])
def test_commands_of_psql_are_told_as_what_they_are(line: str) -> None:
    with pytest.raises(SplitError, match="is a psql meta-command") as caught:
        split(f"select 1;\n\n{line}\nselect 2;")
    assert (caught.value.line, caught.value.what.split()[0]) == (3, line.split(maxsplit=1)[0])


def test_commands_of_psql_that_mean_nothing_here_are_passed_over_and_lines_stay() -> None:
    text = "\\restrict 1xY'b\n\nselect '\n\\restrict in a text';\n\\unrestrict a'b"
    (statement,) = split(text)
    assert (statement.line, statement.text) == (3, "select '\n\\restrict in a text'")
    with pytest.raises(SplitError, match="meta-command"):
        split(f"{text}\n\\connect other")


def test_what_the_grammar_does_not_accept_is_marked_and_cut_off_like_the_rest() -> None:
    text = "create table é ();\n-- new\ncreate future f (a; b)\n  as 'x;y';\nselect 1;\nvacuum t; begin someday"
    table, future, select, vacuum, begin = split(text)
    assert future.text == "-- new\ncreate future f (a; b)\n  as 'x;y'"
    assert future.trouble is not None
    assert (future.trouble.line, future.trouble.what) == (3, 'syntax error at or near "future"')
    assert (future.tree, future.is_comment, future.refuses_transaction) == (None, False, None)
    assert [s.line for s in (table, future, select, vacuum)] == [1, 3, 5, 6]
    assert (select.is_read, vacuum.refuses_transaction) == (True, "VACUUM")
    assert begin.is_transaction_control, "whatever its options, it would end the runner's transaction"


def test_a_statement_is_cut_the_same_beside_one_that_cannot_be_read() -> None:
    for sql in (
        "create rule r as on insert to t do also (insert into a values (1); insert into b values (2))",
        "create function f() returns int language sql begin atomic select 1; select case when true then 1 end; end",
    ):
        alone, (cut, unread) = split(sql)[0], split(f"{sql}; no sql")
        assert (cut.text, cut.node) == (alone.text, alone.node)
        assert unread.trouble is not None


def test_long_chains_of_operators_are_read() -> None:
    (statement,) = split("select " + " || ".join(["a"] * 3_000))
    assert statement.trouble is None


def test_comments_are_those_of_the_grammar() -> None:
    text = "-- one\nselect '-- no', $$\n-- no\n$$ -- two\n, 1 /* -- no */;\n  -- three"
    assert [(comment.line, comment.text) for comment in comments(text)] == [
        (1, "-- one"),
        (4, "-- two"),
        (6, "-- three"),
    ]


_PIECES = st.sampled_from(
    ["select 1", "'a;b'", '"c;d"', "$$e;f$$", "/* g; */", "-- h;\n", "E'\\';'", "(1;2)", "x", "\n"]
)


@given(st.lists(st.lists(_PIECES, min_size=1, max_size=5).map(" ".join), max_size=6))
def test_nothing_is_lost_or_added(statements: list[str]) -> None:
    source = ";\n".join(statements)
    bare = "".join(source.split()).replace(";", "")
    assert "".join("".join(texts(source)).split()).replace(";", "") == bare


@given(st.text(alphabet="ab'\"$;-/*\\\n\r ()E{é\ufeff1", max_size=40))
def test_any_text_is_cut_or_refused_but_never_breaks_the_scanner(text: str) -> None:
    lines = text.count("\n") + 1
    try:
        seen = [statement.line for statement in split(text)]
    except SplitError as error:
        seen = [error.line]
    assert all(1 <= line <= lines for line in seen)
