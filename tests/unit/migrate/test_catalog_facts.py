"""Facts without a database: what differs, what two versions of Postgres account for, and where two oracles part."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.migrate.catalog import Difference, Snapshot, Unmodelled, diff
from toolkit.migrate.catalog import document as documents
from toolkit.migrate.catalog.compare import Dumps, compare, why_no_dump
from toolkit.migrate.catalog.document import Document
from toolkit.migrate.catalog.facts import canonical, kind_of
from toolkit.migrate.catalog.oracles import disagreements, in_dump
from toolkit.migrate.catalog.pg_dump import DumpDifference, compare_dumps, diff_dumps, normalise
from toolkit.migrate.catalog.report import lines_of
from toolkit.migrate.catalog.versions import align
from toolkit.migrate.drift import keep

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def facts(**values: object) -> dict[str, str]:
    return {key.replace("_", " "): canonical(value) for key, value in values.items()}


def changed(key: str, before: object, after: object) -> Difference:
    return Difference("changed", key, canonical(before), canonical(after))


# -- differences --------------------------------------------------------------------------------------------------


def test_a_difference_says_what_was_and_what_is() -> None:
    before = Snapshot({"table a": canonical({"owner": "x", "kind": "r"}), "table b": "{}"})
    after = Snapshot(
        {"table a": canonical({"owner": "y", "kind": "r"}), "table c": canonical({"kind": "r", "of": False})}
    )
    found = diff(before, after)
    assert [str(one) for one in found] == ["changed: table a: owner x → y", "removed: table b", "added: table c"]
    assert [lines_of(one) for one in found] == [
        ("changed: table a", "    owner: x → y"),
        ("removed: table b",),
        ("added: table c", "    kind r"),
    ]
    assert diff(before, before) == ()


def test_of_a_long_text_the_lines_that_changed_are_shown() -> None:
    body = ["begin", "  one;", "  two;", "end"]
    found = changed(
        "function f()", {"definition": "\n".join(body)}, {"definition": "\n".join([*body[:2], "  2;", "end"])}
    )
    assert lines_of(found) == ("changed: function f()", "    definition: -  two;", "    definition: +  2;")
    gone = changed("function f()", {"definition": "begin\n-- x\nend"}, {"definition": "begin\nend"})
    assert lines_of(gone)[1:] == ("    definition: --- x",)


def test_positions_are_compared_on_request_only() -> None:
    before, after = (Snapshot({}, {"sequence s": canonical({"last": n})}) for n in (1, 2))
    assert diff(before, after) == ()
    assert [str(one) for one in diff(before, after, positions=True)] == ["changed: position of sequence s: last 1 → 2"]
    assert diff(before, Snapshot({}), positions=True) == (), "where they stand was not read"


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("column public.t.c", "column"),
        ("foreign key trigger t.k f", "foreign key trigger"),
        ("text search parser a.b", "text search parser"),
        ("database", "database"),
        ("not-null constraint t.n", "not-null constraint"),
    ],
)
def test_kinds_of_keys(key: str, kind: str) -> None:
    assert kind_of(key) == kind


# -- versions -----------------------------------------------------------------------------------------------------


def test_what_versions_account_for_is_no_difference_and_is_said() -> None:
    old = {
        "column t.c": canonical({"not_null": True}),
        "grant on table t to o": canonical({"privileges": ["SELECT by o"]}),
        "view v": canonical({"definition": " SELECT t.a,\n    t.b\n   FROM s.t;", "kind": "v"}),
    }
    new = {
        "column t.c": canonical({"not_null": True}),
        "not-null constraint t.t_c_not_null": canonical({"validated": True}),
        "grant on table t to o": canonical({"privileges": ["MAINTAIN by o", "SELECT by o"]}),
        "grant on table t to m": canonical({"privileges": ["MAINTAIN with grant option by o"]}),
        "default privileges of o on tables": canonical([["m", "MAINTAIN", False]]),
        "view v": canonical({"definition": " SELECT a,\n    b\n   FROM s.t;", "kind": "v"}),
    }
    assert diff(Snapshot(old, major=15), Snapshot(new, major=18)) == ()
    assert diff(Snapshot(new, major=18), Snapshot(old, major=15)) == ()
    notes = align(old, new, 15, 18).notes
    assert [word for word in ("NOT NULL", "MAINTAIN", "views") if not any(word in note for note in notes)] == []
    # Of one version, every one of them is a difference.
    assert len(diff(Snapshot(old, major=18), Snapshot(new, major=18))) == 5
    assert align(old, new, 18, 18).notes == ()


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("column t.c", {"not_null": True}, {"not_null": False}),
        ("grant on table t to o", {"privileges": ["SELECT by o"]}, {"privileges": ["INSERT by o", "MAINTAIN by o"]}),
        ("view v", {"definition": " SELECT a\n   FROM s.t;"}, {"definition": " SELECT t.a\n   FROM r.t;"}),
        ("view v", {"definition": " SELECT a\n   FROM s.t;"}, {"definition": " SELECT t.b\n   FROM s.t;"}),
        ("view v", {"definition": "x", "options": None}, {"definition": "x", "options": ["security_invoker=true"]}),
        ("policy t.p", {"using": "(t.a = 1)"}, {"using": "(a = 1)"}),
    ],
)
def test_what_versions_do_not_account_for_stays_a_difference(key: str, old: object, new: object) -> None:
    one, other = Snapshot({key: canonical(old)}, major=15), Snapshot({key: canonical(new)}, major=18)
    assert [found.key for found in diff(one, other)] == [key]


# -- the second oracle --------------------------------------------------------------------------------------------

DUMP = """--
-- PostgreSQL database dump
--

\\restrict {token}

-- Dumped from database version 16.1

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: f(); Type: FUNCTION; Schema: app; Owner: o
--

CREATE FUNCTION app.f() RETURNS integer
    LANGUAGE sql
    AS $$
--== TABLE app: t
{body}
$$;


SET default_tablespace = '';

SET default_table_access_method = {method};

--
-- Name: t; Type: TABLE; Schema: app; Owner: o
--

CREATE TABLE app.t (
    id integer
);


--
-- Name: USER MAPPING o SERVER s; Type: USER MAPPING; Schema: -; Owner: o
--

CREATE USER MAPPING FOR o SERVER s OPTIONS (
    password '{password}'
);


--
-- Name: TABLE t; Type: ACL; Schema: app; Owner: o
--

{grants}


--
-- PostgreSQL database dump complete
--

\\unrestrict {token}

"""
PARTS = {
    "token": "abc",
    "body": "select 1",
    "method": "heap",
    "password": "hunter2",
    "grants": "GRANT SELECT ON TABLE app.t TO a;\nGRANT SELECT ON TABLE app.t TO b;",
}


def dump(**parts: str) -> str:
    return normalise(DUMP.format(**(PARTS | parts)))


def test_tokens_and_the_order_of_grants_are_no_difference() -> None:
    other = dump(token="xyz", grants="\n".join(reversed(PARTS["grants"].splitlines())))
    assert compare_dumps(dump(), other) == ()
    assert dump() == other
    assert "restrict" not in other


def test_no_password_is_in_a_dump_and_a_change_of_it_is_seen() -> None:
    assert "hunter2" not in dump()
    (found,) = compare_dumps(dump(), dump(password="hunter3"))
    assert found.title == "USER MAPPING: USER MAPPING o SERVER s"
    assert "hunter" not in str(found)


@pytest.mark.parametrize(
    ("part", "title"),
    [
        ({"body": "select 2"}, "FUNCTION app: f()"),
        ({"body": "select 1\n"}, "FUNCTION app: f()"),
        ({"body": "-- a comment\nselect 1"}, "FUNCTION app: f()"),
        ({"method": "columnar"}, "TABLE app: t"),
        ({"grants": "GRANT SELECT ON TABLE app.t TO a;"}, "ACL app: TABLE t"),
    ],
)
def test_a_difference_of_the_dump_is_told_at_its_entry(part: dict[str, str], title: str) -> None:
    found = compare_dumps(dump(), dump(**part))
    assert [one.title for one in found] == [title]
    assert diff_dumps(dump(), dump(**part)), "a difference that no line shows would read as equal"
    assert all(title in line and line[0] in "+-" for line in diff_dumps(dump(), dump(**part)))


def test_a_statement_before_the_first_entry_is_kept() -> None:
    assert compare_dumps(normalise("SET row_security = off;\nALTER DATABASE x;\n"), normalise("")) == (
        DumpDifference("PREAMBLE", ("-ALTER DATABASE x;",)),
    )


COLUMN = changed("column app.child.note", {"default": "1"}, {"default": "2"})
SETTING = changed("settings of anon in this database", {"work_mem": "1"}, {"work_mem": "2"})


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([], []),
        ([COLUMN], ["TABLE app: child"]),
        ([SETTING], []),
        ([SETTING, changed("extension pg_net", {"version": "1"}, {"version": "2"})], []),
        ([changed("default privileges of o on tables", [], [1])], ["DEFAULT ACL: DEFAULT PRIVILEGES FOR TABLES of o"]),
        ([changed("cast (integer as app.mood)", {}, {"a": 1})], ["CAST: CAST (integer AS app.mood)"]),
        ([changed("grant on function app.f(integer) to anon", {}, {"a": 1})], ["ACL app: FUNCTION f(integer)"]),
        ([changed('policy app.child."May read"', {}, {"a": 1})], ["POLICY app: child May read"]),
    ],
)
def test_oracles_that_agree_raise_nothing(ours: list[Difference], theirs: list[str]) -> None:
    assert disagreements(ours, [DumpDifference(title, ("-x",)) for title in theirs]) == ()


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        ([COLUMN], [], "our facts say different, pg_dump says equal: changed: column app.child.note"),
        ([], ["TABLE app: child"], "our facts say equal, pg_dump says different: TABLE app: child (-x)"),
        ([COLUMN], ["TABLE app: child", "TABLE app: other"], "pg_dump says different: TABLE app: other"),
        ([SETTING], ["FUNCTION app: f(integer)"], "pg_dump says different: FUNCTION app: f(integer)"),
        ([changed("extension x", {"schema": "a"}, {"schema": "b"})], [], "pg_dump says equal: changed: extension x"),
        # An argument's type is no name.
        ([changed("column app.integer.x", {}, {"a": 1})], ["FUNCTION app: f(integer)"], "FUNCTION app: f(integer)"),
    ],
)
def test_oracles_that_part_are_a_finding(ours: list[Difference], theirs: list[str], says: str) -> None:
    (found,) = disagreements(ours, [DumpDifference(title, ("-x",)) for title in theirs])
    assert says in found


def test_a_property_of_a_table_may_stand_with_its_index() -> None:
    ours = [changed("table app.child", {"clustered_on": None}, {"clustered_on": "app.child_note"})]
    line = "+ALTER TABLE app.child CLUSTER ON by_note;"
    assert disagreements(ours, [DumpDifference("INDEX app: by_note", (line,))]) == ()
    assert disagreements(ours, [DumpDifference("INDEX app: by_note", (line.replace("child", "children"),))])


def test_what_pg_dump_does_not_write() -> None:
    assert not in_dump(SETTING)
    assert in_dump(COLUMN)
    assert in_dump(Difference("removed", "extension x", "{}", None))


# -- comparisons and files ----------------------------------------------------------------------------------------


def document(snapshot: Snapshot) -> Document:
    return Document(snapshot, "somewhere", "16.1", "0", NOW)


COMPLETE = Snapshot(
    {"table a": canonical({"owner": "é"})}, {"sequence s": canonical({"last": 3})}, (Unmodelled("k", 1, ("n",)),), 16
)


def test_objects_without_facts_are_compared_by_name() -> None:
    one = document(COMPLETE)
    other = document(
        Snapshot(COMPLETE.facts, {}, (Unmodelled("k", 1, ("m",)), Unmodelled("large object", 1, ("9",))), 16)
    )
    assert compare(one, one, None).equal
    found = compare(one, other, None)
    assert found.unmodelled == (("k", "m", "after"), ("k", "n", "before"))
    assert not found.equal


def test_pg_dump_is_asked_between_servers_of_one_version_only() -> None:
    other = document(Snapshot({}, major=15))
    assert why_no_dump(document(COMPLETE), document(COMPLETE)) == ""
    assert "15" in why_no_dump(document(COMPLETE), other)
    failed = compare(document(COMPLETE), document(COMPLETE), Dumps(problem="no pg_dump"))
    assert failed.disagreements == ()


def test_a_file_is_canonical_and_comes_back_as_it_went(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(documents.as_text(document(COMPLETE)))
    assert documents.read(path) == document(COMPLETE)
    backwards = Snapshot({"b": "1", "a": "2"}, {}, (), 16), Snapshot({"a": "2", "b": "1"}, {}, (), 16)
    assert len({documents.as_text(document(one)) for one in backwards}) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sha256": "0"}, "changed since"),
        ({"facts": {"table a": {"owner": "b"}}}, "changed since"),
        ({"positions": {}}, "positions_sha256"),
        ({"format": "x"}, "no snapshot"),
        ({"format_version": 99}, "version 99"),
        ({"facts": []}, "damaged"),
        ({"taken_at": "yesterday"}, "damaged"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps(documents.to_json(document(COMPLETE)) | change))
    with pytest.raises(UsageError, match=says):
        documents.read(path)


@pytest.mark.parametrize(("content", "says"), [(b"[1]", "no snapshot"), (b"{", "line 1"), (b"\xff", "UTF-8")])
def test_another_file_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UsageError, match=says):
        documents.read(tmp_path / "x")
    with pytest.raises(UsageError, match="cannot be read"):
        documents.read(tmp_path / "absent")


# -- the platform's part ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "database",
        "settings of anon in this database",
        'extension "uuid-ossp"',
        "comment on extension plpgsql",
        "event trigger pgrst_ddl_watch",
        "grant on function pg_ls_dir(text) to anon",
        "grant on table pg_stats to anon",
        "grant on column pg_subscription.subname to public",
        "default privileges of supabase_admin in public on tables",
        "grant on schema public to supabase_admin",
        "publication supabase_realtime_messages_publication table x",
    ],
)
def test_facts_of_the_platform_are_left_out(key: str) -> None:
    assert not keep(key)


@pytest.mark.parametrize(
    "key",
    [
        "extension vector",
        "event trigger mine",
        "grant on function public.f(text) to anon",
        "schema public",
        "grant on table public.t to anon",
        "grant on column public.t.c to anon",
        "grant on schema public to anon",
        "default privileges of postgres in public on tables",
        "publication supabase_realtime table public.t",
        "table public.database",
        "column public.settings.of",
    ],
)
def test_facts_of_migrations_are_kept(key: str) -> None:
    assert keep(key)
