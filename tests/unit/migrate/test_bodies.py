"""What functions and DO blocks run, with the lines of their file."""

from __future__ import annotations

import pytest

from toolkit.migrate.folder.statements import split
from toolkit.migrate.lint.reading.code import calls, inserts
from toolkit.sql.bodies import Body, body_of


def read(sql: str) -> Body:
    tree = split(sql)[0].tree
    assert tree is not None
    return body_of(tree)


def told(body: Body) -> list[tuple[int, str]]:
    return [(piece.line(piece.start), piece.source.text(piece.start, piece.end)) for piece in body.pieces]


def test_statements_and_expressions_of_a_trigger_function_stand_on_their_lines() -> None:
    body = read("""-- é
create function f() returns trigger language plpgsql as $$
declare n int := g();
begin
  if new.a > 1 then
    insert into t values (1)
      returning id into n;
  end if;
  n := (select max(x) from t)
    + 1;
  perform h(
    n);
  execute
    'drop table x';
  return new;
end $$;""")
    assert told(body) == [
        (3, "SELECT g()"),
        (5, "SELECT new.a > 1"),
        (6, "insert into t values (1)\n      returning id"),
        (9, "SELECT  (select max(x) from t)\n    + 1"),
        (11, "SELECT h(\n    n)"),
        (14, "SELECT 'drop table x'"),
    ]
    assert (body.performs, body.executes, body.trouble) == (True, True, None)
    assert [piece.source.text(0, 6) for piece in body.ran] == ["insert", "SELECT"]


@pytest.mark.parametrize(
    "sql",
    [
        "create function f() returns int language sql as '\n select g(1)'",
        "create function f() returns int language sql as E'\n select g(1)'",
        "create function f() returns int language sql return\n g(1)",
        "create function f() returns int begin atomic\n select g(1); end",
        "create function f() returns setof app.t language plpgsql as $x$ begin return query\n select g(1); end $x$",
        "do $do$ begin\n perform g(1); end $do$",
        "do language plpgsql 'begin\n perform g(1); end'",
    ],
)
def test_every_way_to_write_a_body_is_read(sql: str) -> None:
    body = read(sql)
    assert body.trouble is None
    assert [line for _, line in calls(body.pieces, "g")] == [2]


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("f(a t.c%type)", "begin perform g(); end"),
        ("f(variadic a text[])", "begin perform g(); end"),
        ("f(a app.t, b app.mood[])", "begin a.x := 1; perform g(); end"),
        ("f()", "declare m app.mood; r app.t%rowtype; s public.t; begin r.a := 1; s.b := g(); end"),
        ("f()", "declare m mood[]; c constant app.mood := 'a'; begin m[1] := g(); end"),
        ("f()", "declare a mood; b mood; begin select g(), 2 into a, b; end"),
    ],
)
def test_types_that_only_a_catalog_knows_are_no_obstacle(head: str, body: str) -> None:
    found = read(f"create function {head} returns void language plpgsql as $$ {body} $$")
    assert found.trouble is None
    assert any("g()" in text for _, text in told(found))


@pytest.mark.parametrize(
    ("sql", "line", "what"),
    [
        ("\ncreate function f() returns int language sql as $$\n\n selec 1 $$", 4, "syntax error"),
        ("create function f() returns int language plpgsql as $$\nbegin\n retur 1; end $$", 3, "syntax error"),
        ("do $$ begin perform 1 +; end $$", 1, "syntax error"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line_and_has_no_pieces(sql: str, line: int, what: str) -> None:
    body = read(sql)
    assert body.pieces == ()
    assert body.trouble is not None
    assert body.trouble[0] == line
    assert body.trouble[1].startswith(what)


def test_other_languages_are_nobodys_business() -> None:
    assert read("create function f() returns int language plpython3u as $$ return 1 $$") == Body()
    assert read("select 1") == Body()


@pytest.mark.parametrize(
    ("body", "insert", "update"),
    [
        ("insert into a values (1);", {"a"}, {"a"}),
        (
            "if tg_op = 'INSERT' and new.x then insert into a values (1); else insert into b values (1); end if;",
            {"a", "b"},
            {"b"},
        ),
        (
            "if 'UPDATE' = tg_op then insert into a values (1); elsif true then insert into b values (1); end if;",
            {"b"},
            {"a"},
        ),
        ("if new.x or tg_op in ('UPDATE', 'DELETE') then insert into a values (1); end if;", {"a"}, {"a"}),
        ("if not (tg_op = 'UPDATE') then return new; end if; insert into a values (1);", set(), {"a"}),
        (
            "if tg_op <> all (array['INSERT', 'DELETE']) then raise exception 'no'; end if; insert into a values (1);",
            {"a"},
            set(),
        ),
        ("if tg_op = 'UPDATE' then raise notice 'so'; end if; insert into a values (1);", {"a"}, {"a"}),
        (
            "case tg_op when 'INSERT' then insert into a values (1); else insert into b values (1); end case;",
            {"a"},
            {"b"},
        ),
        ("case when tg_op = 'UPDATE' then insert into a values (1); else null; end case;", set(), {"a"}),
        ("for i in 1..n loop return new; end loop; insert into a values (1);", {"a"}, {"a"}),
        ("begin return new; exception when others then insert into a values (1); end;", {"a"}, {"a"}),
    ],
)
def test_for_which_events_of_a_trigger_a_statement_runs(body: str, insert: set[str], update: set[str]) -> None:
    sql = f"create function f() returns trigger language plpgsql as $$ declare n int; begin {body} return new; end $$"
    read = body_of(split(sql)[0].tree)
    for event, tables in (("insert", insert), ("update", update)):
        assert {str(name.name) for _, _, name in inserts(read.run_for(event))} == tables, event


def test_what_a_trigger_function_assigns_is_told_with_its_value() -> None:
    sql = (
        "create function f() returns trigger language plpgsql as "
        "$$ begin NEW.at := now(); new.a[1] = 2; return new; end $$"
    )
    assigned = body_of(split(sql)[0].tree).assigned
    assert [target for target, _ in assigned] == ["new.at", "new.a[1]"]
    assert any(calls((assigned[0][1],), "now"))
