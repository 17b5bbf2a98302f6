"""Reading a folder: what is understood, and what is refused with file, line and remedy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.errors import RefusalError, UsageError
from toolkit.migrate.folder.files import Destroyed, merged, read_file, read_folder
from toolkit.resources import migrations_dir

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write("1_a.sql", "select 1", …)`: a folder with these files."""

    def _write(*pairs: str) -> Path:
        for name, text in zip(pairs[::2], pairs[1::2], strict=True):
            file = tmp_path / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return tmp_path

    return _write


def test_versions_are_ordered_as_text_like_the_supabase_cli(write: Write) -> None:
    folder = read_folder(write("20260107000000_b.sql", "select 1", "20260107_a.sql", "select 1", "9_.sql", "select 1"))
    assert [(m.version, m.name) for m in folder.migrations] == [
        ("20260107", "a"),
        ("20260107000000", "b"),
        ("9", ""),
    ]


def test_a_migration_knows_its_bytes_statements_rollback_and_verify_file(write: Write) -> None:
    text = "-- why\ncreate table a ();\ninsert into a default values;\n-- end\n"
    folder = read_folder(
        write("1_a.sql", text, "rollbacks/1_a.sql", "-- destroys: table a\ndrop table a", "verify/1_a.sql", "select 1")
    )
    (migration,) = folder.migrations
    assert migration.up.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert migration.up.size == len(text)
    assert [s.line for s in migration.up.statements] == [2, 3]
    assert migration.up.recorded == ("-- why\ncreate table a ()", "insert into a default values", "-- end")
    assert migration.rollback is not None
    assert migration.rollback.destroys == (Destroyed("public.a"),)
    assert migration.verify == read_file(folder.path / "verify" / "1_a.sql")


def test_files_that_the_cli_passes_over_are_passed_over_and_told(write: Write) -> None:
    folder = read_folder(write("1.sql", "x", "notes.sql", "x", "README.md", "x", "1_a.sql", "select 1"))
    assert [m.version for m in folder.migrations] == ["1"]
    assert [notice.split()[0] for notice in folder.notices] == ["1.sql", "notes.sql"]


@pytest.mark.parametrize("files", [(), ("README.md",), ("abc.sql",), ("x.SQL", "1.sql")])
def test_a_folder_without_migrations_is_a_mistake_that_names_it(write: Write, files: tuple[str, ...]) -> None:
    path = write(*(part for name in files for part in (name, "select 1")))
    with pytest.raises(UsageError) as caught:
        read_folder(path)
    assert f"{path} holds no migration" in caught.value.what
    assert "<version>_<name>.sql" in caught.value.remedy
    assert all(f"{name} is passed over" in caught.value.what for name in files if name != "README.md")


@pytest.mark.parametrize(
    "directive", ["toolkit: transaction=false", "pg-delta: transaction=false", "toolkit:transaction = FALSE"]
)
def test_the_directive_takes_a_file_out_of_the_transaction(write: Write, directive: str) -> None:
    folder = read_folder(write("1_a.sql", f"-- about\n-- {directive}\ncreate index concurrently i on t (a)"))
    assert not folder.migrations[0].up.transactional


@pytest.mark.parametrize(
    ("declaration", "expected"),
    [
        ("table process_events", Destroyed("public.process_events")),
        ("TABLE app.Things", Destroyed("app.things")),
        ('table "App"."Things"', Destroyed("App.Things")),
        ("rows orders", Destroyed("public.orders", rows_only=True)),
        ("rows of app.orders", Destroyed("app.orders", rows_only=True)),
        ("column orders.note", Destroyed("public.orders", ("note",))),
        ("column public.orders.note", Destroyed("public.orders", ("note",))),
        ('columns app.orders (note, "Tag")', Destroyed("app.orders", ("note", "Tag"))),
    ],
)
def test_what_a_rollback_destroys(write: Write, declaration: str, expected: Destroyed) -> None:
    folder = read_folder(write("1_a.sql", "select 1", "rollbacks/1_a.sql", f"-- destroys: {declaration}\nselect 1"))
    assert folder.migrations[0].rollback is not None
    assert folder.migrations[0].rollback.destroys == (expected,)
    again = write("1_a.sql", "select 1", "rollbacks/1_a.sql", f"-- destroys: {expected}\nselect 1")
    rollback = read_folder(again).migrations[0].rollback
    assert rollback is not None
    assert rollback.destroys == (expected,)  # what a refusal proposes can be pasted


def test_columns_of_one_table_are_one_entry_and_a_whole_table_swallows_them() -> None:
    entries = (Destroyed("a", ("x",)), Destroyed("a", ("y", "x")), Destroyed("b", ("z",)), Destroyed("b"))
    assert merged(entries) == (Destroyed("a", ("x", "y")), Destroyed("b"))
    rows = Destroyed("a", rows_only=True)
    assert merged((Destroyed("a", ("x",)), rows, Destroyed("a", ("y",)))) == (rows,)
    assert merged((rows, Destroyed("a"), rows)) == (Destroyed("a"),)


def test_what_the_grammar_does_not_accept_is_left_to_the_server_of_a_later_version(write: Write) -> None:
    folder = read_folder(write("1_a.sql", "create future thing;\ncreate table a ()"))
    future, table = folder.migrations[0].up.statements
    assert (future.text, future.line, table.line) == ("create future thing", 1, 2)
    assert future.trouble is not None


def test_a_header_is_made_of_comments_to_the_end_of_a_line(write: Write) -> None:
    text = "\n/*\n-- toolkit: transaction=false\n*/ -- changes: columns orders (note)\nselect 1"
    script = read_folder(write("1_a.sql", text)).migrations[0].up
    assert (script.transactional, script.changes) == (True, (Destroyed("public.orders", ("note",)),))
    with pytest.raises(RefusalError, match=r"2_b\.sql:3: unknown directive"):
        read_folder(write("2_b.sql", "\n\n-- toolkit: never\nselect 1"))


REFUSED: dict[str, tuple[tuple[str, ...], str, str]] = {
    "duplicate version": (("1_a.sql", "select 1", "1_b.sql", "select 1"), "same version 1", "version of its own"),
    "down file beside": (("1_a.down.sql", "drop table a"), "would be applied", "rollbacks/1_a.sql"),
    "rollback of nothing": (("1_a.sql", "select 1", "rollbacks/1_b.sql", "select 1"), "belongs to no", "Rename"),
    "verify of nothing": (("1_a.sql", "select 1", "verify/1_b.sql", "select 1"), "belongs to no", "Rename"),
    "authored commit": (("1_a.sql", "select 1;\ncommit;\nbegin;"), "1_a.sql:2: the file controls", "Remove it"),
    "authored rollback in rollback": (
        ("1_a.sql", "select 1", "rollbacks/1_a.sql", "begin;\nselect 1;\ncommit"),
        "1_a.sql:1: the file controls",
        "Remove",
    ),
    "meta-command": (("1_a.sql", "select 1;\n\\i other.sql"), "1_a.sql:2: \\i is a psql", "Remove it"),
    "copy data": (("1_a.sql", "copy t from stdin;\n"), "1_a.sql:1: COPY", "INSERT"),
    "unterminated": (("1_a.sql", "select 1;\nselect $$ x"), "1_a.sql:2: the dollar-quoted", "Close it"),
    "concurrently without directive": (
        ("1_a.sql", "create table t ();\ncreate index concurrently i on t (a)"),
        "1_a.sql:2: CREATE INDEX CONCURRENTLY",
        "-- toolkit: transaction=false",
    ),
    "NUL byte": (("1_a.sql", "select 1;\nselect '\0'"), "1_a.sql:2: the file holds a NUL", "Remove it"),
    "misspelt directive": (
        ("1_a.sql", "-- toolkit: transacton=false\nselect 1"),
        "1_a.sql:1: unknown",
        "transaction=false",
    ),
    "empty file": (("1_a.sql", "-- only words\n"), "has no statement", "Write one"),
    "destroys in a migration": (
        ("1_a.sql", "-- destroys: table a\nselect 1"),
        "1_a.sql:1: only a rollback",
        "rollbacks/",
    ),
    "unreadable destroys": (
        ("1_a.sql", "select 1", "rollbacks/1_a.sql", "-- destroys: everything\nselect 1"),
        "1_a.sql:1: cannot read",
        "table NAME",
    ),
    "destroys outside a transaction": (
        (
            "1_a.sql",
            "select 1",
            "rollbacks/1_a.sql",
            "-- toolkit: transaction=false\n-- destroys: table a\ndrop table a",
        ),
        "cannot run outside a transaction",
        "one transaction",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_run_faithfully_is_refused(write: Write, case: str) -> None:
    files, what, remedy = REFUSED[case]
    with pytest.raises(RefusalError) as caught:
        read_folder(write(*files))
    assert what in caught.value.what
    assert remedy in caught.value.remedy


def test_a_file_that_is_not_utf8_is_refused_with_its_line(write: Write, tmp_path: Path) -> None:
    write("1_a.sql", "")
    (tmp_path / "1_a.sql").write_bytes(b"select 1;\nselect '\xe9';")
    with pytest.raises(RefusalError, match=r"1_a\.sql:2: the file is not UTF-8"):
        read_folder(tmp_path)


def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1_a.sql").symlink_to("nowhere.sql")
    with pytest.raises(RefusalError, match=r"1_a\.sql is no file"):
        read_folder(tmp_path)


def test_a_folder_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no migrations folder"):
        read_folder(tmp_path / "absent")


def test_the_migrations_of_this_project_are_complete() -> None:
    folder = read_folder(migrations_dir())
    assert len(folder.migrations) >= 2
    assert not folder.notices
    for migration in folder.migrations:
        assert migration.rollback is not None, migration.label
        assert migration.verify is not None, migration.label
