"""The map of the two packages: where SQL may be, how long a file may be, what begins a package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import reference_server
import toolkit

ROOT = Path(toolkit.__path__[0]).parent
LONGEST = 450  # lines

SQL_ROOMS = (
    "toolkit/sql/",
    "reference_server/store/",
    "reference_server/replication/",
    "reference_server/realtime/changes/visibility.py",  # statements made from bindings, by the rules of the protocol
    "reference_server/realtime/changes/conditions.py",  # the same for filters
    "reference_server/realtime/sockets/policies.py",  # the question is the statement: may this role insert, may it see
    "reference_server/realtime/messages/",  # one table of the platform's: streamed, replayed, partitioned
    "reference_server/connection_kind.py",  # which session answers: asked before any other statement, of any address
    "toolkit/postgres/pooler.py",  # the same for the tools
    "toolkit/targets/embedded.py",  # makes the database that everything else asks
)
# Statements that people are told to run; nothing here is sent to a database. One with a <name> to fill in is always so.
WORDS_FOR_PEOPLE = ("toolkit/checks/", "toolkit/migrate/run/report.py", "toolkit/migrate/folder/statements.py")

# In one case, as statements are written: "Select" and "Create" begin sentences.
_KEYWORDS = r"""
  select \s+ (?: [^\s]+ \( | \{ | '[^']*' | \d+ \s*$ | true | null | .* \b from \s )
| with \s+ \w+ \s+ as \s+ (?: (?:not\s+)? materialized \s+ )? \(
| insert \s+ into \s+ \S
| update \s+ \S+ \s+ (?: (?:as\s+)? \w+ \s+ )? set \s
| delete \s+ from \s+ \S
| (?: create | alter | drop ) \s+ (?: or \s+ replace \s+ | (?:temp|temporary|unlogged|unique|materialized) \s+ )*
  (?: database | domain | extension | function | index | policy | procedure | publication | role | schema | sequence
    | subscription | table | trigger | type | user | view ) \b
"""
_STATEMENT = re.compile(
    rf"^ (?: \s | --[^\n]*\n )* (?: {_KEYWORDS} | {re.sub('[a-z]{3,}', lambda word: word[0].upper(), _KEYWORDS)} )",
    re.VERBOSE | re.DOTALL,
)
_TO_FILL_IN = re.compile(r"<[a-z]+(?: [a-z]+)?>")


def statements(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every string that is an SQL statement; docstrings are not looked at."""
    tree = ast.parse(source)
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    skipped |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        match node:
            case ast.Constant(value=str() as text):
                pass
            case ast.JoinedStr(values=parts):
                text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts)
            case _:
                continue
        if _STATEMENT.match(text) and not _TO_FILL_IN.search(text):
            yield node.lineno, " ".join(text.split())


def sources() -> dict[str, str]:
    files = [file for package in (toolkit, reference_server) for file in Path(package.__path__[0]).rglob("*.py")]
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in sorted(files)}


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    """Statements by file, each with its line."""
    everything = {
        path: [f"{path}:{line}: {text[:80]}" for line, text in statements(source)] for path, source in sources().items()
    }
    return {path: lines for path, lines in everything.items() if lines}


def test_sql_is_in_its_rooms_only(found: dict[str, list[str]]) -> None:
    elsewhere = [
        line for path, lines in found.items() if not path.startswith((*SQL_ROOMS, *WORDS_FOR_PEOPLE)) for line in lines
    ]
    assert elsewhere == [], "move these to store/, replication/ or toolkit/sql/:\n" + "\n".join(elsewhere)


@pytest.mark.parametrize("room", [*SQL_ROOMS, *WORDS_FOR_PEOPLE])
def test_no_room_is_allowed_more_than_it_uses(found: dict[str, list[str]], room: str) -> None:
    assert any(path.startswith(room) for path in found), f"{room} holds no statement any more; take it from the list"


@pytest.mark.parametrize(
    "statement",
    [
        "select 1",
        "select pg_notify($1, $2)",
        "SELECT id FROM articles",
        "\n  -- why\n  select distinct a\n  from b where c = $1",
        "with due as (select 1) select * from due",
        "insert into realtime.messages (topic) values ($1)",
        "update public.articles a set title = $1",
        "delete from articles",
        "create or replace function f() returns int language sql as $$ select 1 $$",
        "create unique index i on t (c)",
        "ALTER TABLE t ADD COLUMN c int",
        "drop policy p on t",
    ],
)
def test_a_planted_statement_is_found_at_its_line(statement: str) -> None:
    planted = f'"""insert into nothing: a docstring."""\n\nasync def f(db):\n    await db.execute({statement!r})\n'
    assert [line for line, _ in statements(planted)] == [4]


def test_a_planted_statement_with_a_name_in_it_is_found() -> None:
    assert [line for line, _ in statements('x = 1\nquery = f"drop table {name} cascade"\n')] == [2]


@pytest.mark.parametrize(
    "prose",
    [
        "Select a persona first.",
        "select_theme",
        "Create the table again",
        "update",
        "drop it",
        "with care",
        "select drop_it('<name>')",
    ],
)
def test_prose_is_no_statement(prose: str) -> None:
    assert list(statements(f"text = {prose!r}\n")) == []


def test_no_source_file_is_too_long() -> None:
    lengths = {path: source.count("\n") for path, source in sources().items()}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


def test_a_package_begins_with_what_it_is_or_with_nothing() -> None:
    unsaid = [
        path
        for path, source in sources().items()
        if path.endswith("__init__.py") and source.strip() and not ast.get_docstring(ast.parse(source))
    ]
    assert unsaid == []
