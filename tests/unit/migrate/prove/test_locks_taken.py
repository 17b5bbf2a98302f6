"""What a statement did to tables, from the facts before and after it; the streams that the traffic is made of."""

from __future__ import annotations

import pytest

from toolkit.migrate.folder.statements import Statement, split
from toolkit.migrate.prove.locks.clients import (
    Client,
    ClientStatement,
    RefusedStatement,
    Verb,
    client_of,
    literal,
    newly_refused,
    quoted,
)
from toolkit.migrate.prove.locks.observed_runs import ObservedRun, meets
from toolkit.migrate.prove.locks.statement_locks import (
    Facts,
    Lock,
    Relation,
    StatementLocks,
    Work,
    work_between,
    works_under_lock,
)
from toolkit.migrate.prove.locks.traffic import MOST_STREAMS, streams
from toolkit.migrate.rows.inserting import Row
from toolkit.migrate.rows.shapes import Column, Shape

OLD = {1: "public.t"}
BEFORE = Facts({1: Relation("public.t", "r", 1, 100, 0), 2: Relation("public.t_pkey", "i", 1, 200, 0)})


def table(file: int, scans: int = 0) -> Relation:
    return Relation("public.t", "r", 1, file, scans)


def statement(text: str = "alter table t set (fillfactor = 50)") -> Statement:
    return split(text)[0]


def after(**changes: Relation) -> Facts:
    return Facts(dict(BEFORE.relations) | {int(oid[1:]): relation for oid, relation in changes.items()})


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        (after(), "select 1", ()),
        (after(_1=Relation("public.t", "r", 1, 101, 1)), "alter table t", (Work("public.t", "rewrites"),)),
        (after(_1=Relation("public.t", "r", 1, 100, 1)), "alter table t", (Work("public.t", "reads all of"),)),
        (
            after(_2=Relation("public.t_pkey", "i", 1, 201, 0)),
            "reindex table t",
            (Work("public.t", "rebuilds index public.t_pkey of"),),
        ),
        (after(_3=Relation("public.i", "i", 1, 300, 0)), "create", (Work("public.t", "builds index public.i on"),)),
        # Reads and builds: the heavier is told.
        (
            after(_1=table(100, 1), _3=Relation("public.i", "i", 1, 300, 0)),
            "create index",
            (Work("public.t", "builds index public.i on"),),
        ),
        # New files with nothing in them.
        (after(_1=table(101), _2=Relation("public.t_pkey", "i", 1, 201, 0)), "truncate t", ()),
        # An index under another oid on the file of an old one was not built.
        (after(_3=Relation("public.i", "i", 1, 200, 0)), "alter table t alter c type text", ()),
        # A table that is as new as the file is nobody's yet.
        (after(_7=Relation("public.n", "r", 7, 700, 3), _8=Relation("public.i", "i", 7, 800, 0)), "create index", ()),
        # Looked up, not read.
        (after(_2=Relation("public.t_pkey", "i", 1, 200, 4)), "update t", ()),
    ],
)
def test_work_is_told_from_files_and_scans(now: Facts, text: str, expected: tuple[Work, ...]) -> None:
    assert work_between(BEFORE, now, OLD, statement(text)) == expected


def test_a_foreign_key_is_work_when_an_index_was_read_for_it() -> None:
    relations = dict(BEFORE.relations) | {2: Relation("public.t_pkey", "i", 1, 200, 1)}
    key = {9: (1, "again")}
    (work,) = work_between(BEFORE, Facts(relations, key), OLD, statement())
    assert str(work.what) == "checks foreign key again on every row of"
    assert work_between(BEFORE, Facts(BEFORE.relations, key), OLD, statement()) == ()


@pytest.mark.parametrize(
    ("mode", "accepted", "whom"),
    [
        ("AccessExclusiveLock", False, "readers and writers wait"),
        ("ShareLock", False, " writers wait"),
        ("ShareUpdateExclusiveLock", False, None),
        ("AccessExclusiveLock", True, None),
        ("", False, None),
    ],
)
def test_work_is_a_violation_under_a_lock_that_stops_somebody(mode: str, accepted: bool, whom: str | None) -> None:
    held = {"public.t": mode} if mode else {}
    one = StatementLocks(1, "a.sql:3", "text", (), held, (Work("public.t", "rewrites"),), accepted)
    found = works_under_lock(one)
    assert bool(found) is (whom is not None)
    if whom:
        assert found[0].startswith("a.sql:3: rewrites public.t under")
        assert whom in found[0]


def test_from_outside_work_on_a_table_whose_lock_was_missed_is_judged_by_the_statements_strongest() -> None:
    one = StatementLocks(
        1, "a.sql:3", "vacuum full", (), {"public.a": "AccessExclusiveLock"}, (Work("public.b", "rewrites"),)
    )
    assert works_under_lock(one) == ()
    outside = StatementLocks(1, "a.sql:3", "vacuum full", (), one.held, one.work, outside=True)
    assert len(works_under_lock(outside)) == 1


def look(*locks: tuple[str, str]) -> ObservedRun:
    taken = StatementLocks(1, "a.sql:1", "", tuple(Lock(table, table, mode, existed=True) for table, mode in locks))
    return ObservedRun("up", (taken,), "", ())


def test_the_transaction_ahead_holds_what_the_file_cannot_stand_beside() -> None:
    names = {"public.a": "a", "public.b": "b"}
    strong = meets(look(("public.a", "ShareLock"), ("public.b", "AccessExclusiveLock")), names, 1.5)
    assert strong is not None
    assert (strong.table, strong.mode, strong.seconds) == ("public.b", "AccessShareLock", 1.5)
    weak = meets(look(("public.a", "ShareRowExclusiveLock")), names, 1.5)
    assert weak is not None
    assert (weak.table, weak.mode) == ("public.a", "RowExclusiveLock")
    assert meets(look(("public.a", "ShareUpdateExclusiveLock"), ("public.b", "RowExclusiveLock")), names, 1.5) is None


# -- old clients and their traffic ------------------------------------------------------------------------------------


def column(name: str, **more: object) -> Column:
    facts: dict[str, object] = {
        "type": "text",
        "not_null": False,
        "has_default": False,
        "generated": False,
        "identity": "",
        "labels": (),
        "choices": (),
        "references": None,
    }
    return Column(name, **(facts | more))  # type: ignore[arg-type]


def test_an_old_client_names_every_column_and_casts_nothing() -> None:
    shape = Shape(
        "My.T",
        '"My"."T"',
        (column("Id", identity="a"), column("it's", has_default=True), column("twice", generated=True)),
        ("Id",),
        (),
        (),
        False,
    )
    client = client_of(shape, Row("My.T", {"Id": "7", "it's": "O'Hara", "twice": "14"}))
    insert = client.said[0].sql
    assert insert == """insert into "My"."T" ("Id", "it's") overriding system value values ('7', 'O''Hara')"""
    assert [said.verb for said in client.said] == ["insert", "select", "update", "delete"]
    assert client.said[2].sql.startswith("""update "My"."T" set "it's" = 'O''Hara' where """)
    assert '"Id", "it\'s", "twice"' in client.said[1].sql


def test_an_old_client_of_a_table_that_takes_no_row_only_reads() -> None:
    shape = Shape("public.t", "public.t", (column("a"),), (), (), (), False)
    client = client_of(shape, None, refused="a trigger says no")
    assert [said.verb for said in client.said] == ["select"]
    assert client.refused == "a trigger says no"
    assert (literal(None), quoted('a"b')) == ("null", '"a""b"')


def client(table: str, *verbs: Verb) -> Client:
    return Client(table, tuple(ClientStatement(table, verb, f"{verb} {table}") for verb in verbs))


def test_busy_tables_have_a_reader_and_a_writer_of_their_own() -> None:
    everything = [client(name, "insert", "select", "update", "delete") for name in "abc"]
    found = streams(everything, {"b"})
    assert [(stream.role, {said.table for said in stream.said}) for stream in found] == [
        ("reader", {"b"}),
        ("writer", {"b"}),
        ("reader", {"a", "c"}),
        ("writer", {"a", "c"}),
    ]


def test_many_busy_tables_share_the_streams_there_are() -> None:
    everything = [client(f"t{n}", "select", "update") for n in range(100)]
    found = streams(everything, {one.table for one in everything})
    assert len(found) == MOST_STREAMS
    assert {said.table for stream in found for said in stream.said} == {one.table for one in everything}


def test_statements_that_failed_before_are_not_repeated_and_rows_that_stay_are_not_inserted() -> None:
    one = client("a", "insert", "select", "update", "delete")
    found = streams([one], {"a"}, {one.said[3]})
    assert [[said.verb for said in stream.said] for stream in found] == [["select"], ["update"]]
    assert streams([client("a", "select")], ()) == streams([client("a", "select")], {"a"})


def test_only_what_was_understood_before_is_newly_refused() -> None:
    one, two = (RefusedStatement(ClientStatement("t", "select", text), "42703", "gone") for text in ("a", "b"))
    assert newly_refused([one], [one, two]) == (two,)
