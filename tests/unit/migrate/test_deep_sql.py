"""SQL that would run libpg_query out of its stack, and end the process, is told with its line."""

from __future__ import annotations

import pytest

from toolkit.migrate.folder.statements import SplitError, split
from toolkit.sql import parse
from toolkit.sql.bodies import body_of
from toolkit.sql.parse import Piece, Source, Unreadable

MANY = 6_000  # the limit is 5,000, libpg_query ends the process somewhat above 12,000
DEEP = {
    "plus": "select 1" + "+1" * MANY,
    "texts": "select 'a'" + "||'a'" * MANY,
    "comparisons": "select 1" + "=1" * MANY,
    "casts": "select 1" + "::int" * MANY,
    "collations": "select a" + ' collate "C"' * MANY,
    "null tests": "select a" + " is null" * MANY,
    "unions": "select 1" + " union all select 1" * MANY,
    "joins": "select from a" + " cross join a" * MANY,
    "negations": "select " + "not " * MANY + "true",
    "parentheses": "select " + "(" * MANY + "1" + ")" * MANY,
    "subscripts in each other": "select " + "a[" * MANY + "1" + "]" * MANY,
    "a chain in a chain": "select " + ("1+" * 3000 + "(") * 3 + "1" + ")" * 3,
}


@pytest.mark.parametrize("name", DEEP)
def test_a_text_too_deep_is_refused_with_its_place(name: str) -> None:
    with pytest.raises(Unreadable, match=r"too deeply|memory exhausted") as refused:
        parse.statements(f"select 1;\n\n{DEEP[name]}".encode())
    assert refused.value.offset is not None


def test_the_statement_is_told_with_its_line() -> None:
    _, deep, _ = split(f"select 1;\n\n{DEEP['plus']};\nselect 2;")
    assert deep.trouble is not None
    assert (deep.trouble.line, deep.trouble.what) == (3, parse.TOO_DEEP)


@pytest.mark.parametrize(
    "text",
    [
        "select 1" + "+1" * 2000,
        "select array[-1" + ",-1" * 5_500 + "]",
        "select 1 where 1 = 1" + " or 1 = 1" * 5_500,
        "insert into t values (-1, 'a'::text)" + ", (-1, 'a'::text)" * 5_500,
        "select case" + " when a = 1 then -1" * 5_500 + " end",
        "select 1 + 1;" * 3_000,
    ],
    ids=lambda text: text[:40],
)
def test_long_lists_are_not_deep(text: str) -> None:
    assert parse.statements(text.encode())


@pytest.mark.parametrize("language", ["sql", "plpgsql"])
@pytest.mark.parametrize("name", ["plus", "unions"])
def test_a_body_too_deep_is_told_with_its_line(language: str, name: str) -> None:
    body = f"\n{DEEP[name]};" if language == "sql" else f"\nbegin\nperform {DEEP[name].removeprefix('select ')}; end"
    text = f"create function f() returns int language {language} as $$\n{body} $$"
    ((node, start, end),) = parse.statements(text.encode())
    trouble = body_of(Piece(node, Source(text.encode()), start, end)).trouble
    assert trouble is not None
    assert trouble == (3 if language == "sql" else 4, parse.TOO_DEEP)


@pytest.mark.parametrize("depth", [3000])
@pytest.mark.parametrize(
    ("opens", "closes"), [("begin ", "end; "), ("if true then ", "end if; "), ("loop ", "end loop; ")]
)
def test_blocks_too_deep_are_told_not_crashed(opens: str, closes: str, depth: int) -> None:
    text = f"do $$ begin\n{opens * depth} null; {closes * depth} end $$"
    ((node, start, end),) = parse.statements(text.encode())
    assert body_of(Piece(node, Source(text.encode()), start, end)).trouble is not None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("\ufeff\ufeffselect 1;", 1, "two byte order marks"),
        ("select 1;\nselect '\ud800';", 2, "half a surrogate pair"),
    ],
)
def test_what_no_editor_shows_is_named(text: str, line: int, words: str) -> None:
    with pytest.raises(SplitError, match=words) as refused:
        split(text)
    assert refused.value.line == line


def test_a_byte_order_mark_inside_is_named() -> None:
    _, marked = split("select 1;\n\ufeffselect 2;")
    assert marked.trouble is not None
    assert (marked.trouble.line, "<byte order mark>" in marked.trouble.what) == (2, True)
