"""Reading a folder: what is understood, and what is refused with file, line and remedy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.migrate.folder.files import read_file, read_folder
from toolkit.migrate.folder.headers import Destroyed, merged
from toolkit.migrate.run.history import AppliedRow, History
from toolkit.migrate.run.plan import Down, MigrationRefused, Up, make_plan, statuses
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
    problem = read_folder(write("2_b.sql", "\n\n-- toolkit: never\nselect 1")).migrations[1].up.problem
    assert problem is not None
    assert "2_b.sql:3: unknown directive" in problem.what


REFUSED: dict[str, tuple[tuple[str, ...], str, str]] = {
    "duplicate version": (("1_a.sql", "select 1", "1_b.sql", "select 1"), "same version 1", "version of its own"),
    "down file beside": (("1_a.down.sql", "drop table a"), "would be applied", "rollbacks/1_a.sql"),
    "authored commit": (("1_a.sql", "select 1;\ncommit;\nbegin;"), "1_a.sql:2: the file controls", "Remove it"),
    "authored rollback in rollback": (
        ("1_a.sql", "select 1", "rollbacks/1_a.sql", "begin;\nselect 1;\nrollback"),
        "1_a.sql:1: the file controls",
        "Remove",
    ),
    "two wrappers": (
        ("1_a.sql", "begin;\nselect 1;\ncommit;\nbegin;\nselect 2;\ncommit"),
        "1_a.sql:1: the file controls transactions itself (BEGIN)",
        "Remove it",
    ),
    "a statement before the wrapper": (
        ("1_a.sql", "select 1;\nbegin;\nselect 2;\ncommit"),
        "1_a.sql:2: the file controls",
        "Remove it",
    ),
    "a wrapper that asks for more": (
        ("1_a.sql", "begin isolation level serializable;\nselect 2;\ncommit"),
        "1_a.sql:1: the file controls",
        "Remove it",
    ),
    "a wrapper that goes on": (("1_a.sql", "begin;\nselect 2;\ncommit and chain"), "1_a.sql:1: the file", "Remove it"),
    "a wrapper where each statement runs by itself": (
        ("1_a.sql", "-- toolkit: transaction=false\nbegin;\nselect 2;\ncommit"),
        "1_a.sql:2: the file controls",
        "Remove it",
    ),
    "a savepoint where each statement runs by itself": (
        ("1_a.sql", "-- toolkit: transaction=false\nsavepoint a;\nrelease a"),
        "1_a.sql:2: the file controls transactions itself (SAVEPOINT A)",
        "Remove it",
    ),
    "meta-command": (("1_a.sql", "select 1;\n\\i other.sql"), "1_a.sql:2: \\i is a psql", "Remove it"),
    "rows without an end": (("1_a.sql", "copy t from stdin;\n1\n"), "1_a.sql:1: the rows behind COPY", "`\\.` alone"),
    "rows without an end, unreadable": (
        ("1_a.sql", "select 1;\ncopy t from stdin;\nit's\n"),
        "1_a.sql:2: the rows behind COPY",
        "`\\.` alone",
    ),
    "rows in binary": (
        ("1_a.sql", "copy t from stdin (format binary);\n1\n\\.\n"),
        "1_a.sql:1: COPY … FROM STDIN in the format binary cannot be sent",
        "INSERT",
    ),
    "rows under a condition": (
        ("1_a.sql", "copy t from stdin where a > 1;\n1\n\\.\n"),
        "1_a.sql:1: COPY … FROM STDIN with WHERE cannot be sent",
        "INSERT",
    ),
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


def refused(path: Path) -> MigrationRefused:
    """What `up` says of a folder without history, or, where that goes through, `down` of what it applied."""
    folder = read_folder(path)
    try:
        make_plan(folder, History(), Up())
        applied = tuple(AppliedRow(m.version, m.name, m.up.recorded) for m in folder.migrations)
        make_plan(folder, History(applied), Down())
    except MigrationRefused as caught:
        return caught
    raise AssertionError("nothing was refused")


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_run_faithfully_is_refused_when_it_is_to_run(write: Write, case: str) -> None:
    files, what, remedy = REFUSED[case]
    found = refused(write(*files))
    assert what in found.what
    assert remedy in found.remedy


@pytest.mark.parametrize("case", REFUSED)
def test_readers_go_on_beside_a_file_that_cannot_be_run(write: Write, case: str) -> None:
    """Applied, it is no trouble at all; pending, it is told, and what comes before it can be applied."""
    files, what, _ = REFUSED[case]
    folder = read_folder(write(*files, "0_fine.sql", "select 0"))
    assert [step.migration.version for step in make_plan(folder, History(), Up("0")).steps] == ["0"]
    told = {status.version: status for status in statuses(folder, History())}
    rows = tuple(AppliedRow(m.version, m.name, m.up.recorded if m.up.pieces else None) for m in folder.migrations)
    now = {(status.version, status.name): status.state for status in statuses(folder, History(rows))}
    if folder.doubles:
        assert told["1"].state == "refused"
        assert now == {("0", "fine"): "applied", ("1", "a"): "applied", ("1", "b"): "refused"}
        return
    if any(name.startswith("rollbacks/") for name in files):
        assert told["1"].state == "pending"
        (note,) = [n for n in make_plan(folder, History(), Up()).notes if "cannot be taken back: " in n]
        assert what in note
    else:
        assert told["1"].state == "refused"
        assert what in told["1"].detail
    assert set(now.values()) == {"applied"}
    assert make_plan(folder, History(rows), Up()).steps == ()


@pytest.mark.parametrize("part", ["rollbacks", "verify"])
def test_a_file_that_belongs_to_no_migration_is_passed_over_and_told(write: Write, part: str) -> None:
    folder = read_folder(write("1_a.sql", "select 1", f"{part}/1_b.sql", "select 1"))
    (notice,) = folder.notices
    assert notice.startswith(f"{part}/1_b.sql belongs to no migration")
    assert "Rename it" in notice


WRAPPED = "-- head\nBEGIN; -- opened\n\n-- why\ncreate table a ();\nselect 1;\n-- closing\nCOMMIT;\n-- the end\n"


@pytest.mark.parametrize(
    "text", [WRAPPED, "start transaction;create table a();end", "begin work;create table a();end work;"]
)
def test_one_begin_first_and_one_commit_last_mean_nothing(write: Write, text: str) -> None:
    script = read_folder(write("1_a.sql", text)).migrations[0].up
    assert script.problem is None
    assert [statement.verb for statement in script.statements][:1] == ["CREATE"]
    assert [statement.index for statement in script.statements] == list(range(1, len(script.statements) + 1))
    assert script.recorded[0].split()[-1].lower() in {"begin", "transaction", "work"}, "as the Supabase CLI stores it"


def test_savepoints_are_a_files_own_business(write: Write) -> None:
    text = "savepoint a;\nselect 1;\nrollback to savepoint a;\nrelease savepoint a"
    script = read_folder(write("1_a.sql", text)).migrations[0].up
    assert (script.problem, len(script.statements)) == (None, 4)


@pytest.mark.parametrize("text", ["", "\n", "-- nothing any more\n", "/* nothing */;", "begin;\n-- nothing\ncommit;"])
def test_a_file_of_comments_is_nothing_to_do(write: Write, text: str) -> None:
    folder = read_folder(write("1_a.sql", text))
    assert (folder.migrations[0].up.statements, folder.migrations[0].up.problem) == ((), None)
    (step,) = make_plan(folder, History(), Up()).steps
    assert step.script.statements == ()


def test_rows_of_a_dump_and_lines_for_psql_are_read(write: Write) -> None:
    text = "\\restrict aB'3\n\nCOPY public.t (a) FROM stdin;\nit's\n\\.\n\n\\unrestrict aB'3\n"
    script = read_folder(write("1_a.sql", text)).migrations[0].up
    (copy,) = script.statements
    assert (script.problem, copy.line, copy.text, copy.rows) == (None, 3, "COPY public.t (a) FROM stdin", "it's\n")
    assert script.recorded == ("COPY public.t (a) FROM stdin;\nit's\n\\.",)


def test_a_file_that_is_not_utf8_is_refused_with_its_line(write: Write, tmp_path: Path) -> None:
    write("1_a.sql", "")
    (tmp_path / "1_a.sql").write_bytes(b"select 1;\nselect '\xe9';")
    assert "1_a.sql:2: the file is not UTF-8" in refused(tmp_path).what


def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1_a.sql").symlink_to("nowhere.sql")
    assert "1_a.sql cannot be read: No such file" in refused(tmp_path).what


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
