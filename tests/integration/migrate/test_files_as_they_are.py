"""Files as people have them: wrapped in BEGIN and COMMIT, dumped, empty, broken, two of one version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import asyncpg
import pytest

from tests.integration.migrate.conftest import Write
from tests.integration.migrate.prove.conftest import SubjectOf, bare_template, scratch, subject_of  # noqa: F401
from toolkit.migrate import MigrationRefused, migrate_down, migrate_plan, migrate_status, migrate_up
from toolkit.migrate.drift import drift_from_folder
from toolkit.migrate.dry_run.run import dry_run
from toolkit.migrate.eject import eject
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.prove.run import prove
from toolkit.migrate.prove.subject.claims import Level
from toolkit.migrate.repair.mend import look, mend
from toolkit.migrate.run.history import record_applied
from toolkit.migrate.run.plan import Up
from toolkit.migrate.verify.run import migrate_verify
from toolkit.probes.chosen import probes_of
from toolkit.resources import migrations_dir

Connect = Callable[[str], Awaitable[asyncpg.Connection]]

WRAPPED = "-- head\nBEGIN; -- opened\n\n-- why\ncreate table public.a (id integer);\n-- closing\nCOMMIT;\n-- the end\n"
BARE = "-- head\n-- opened\n\n-- why\ncreate table public.a (id integer);\n-- closing\n-- the end\n"
ROWS = [(1, "it's"), (2, None), (3, "a\\b\tc"), (4, "\\."), (5, '"open $$ /* {'), (6, "a;b\nc"), (7, "é 🦊")]
DUMP = (
    "\\restrict aB'3\n\ncreate table public.t (id integer primary key, note text);\n\n"
    "COPY public.t (id, note) FROM stdin;\n1\tit's\n2\t\\N\n3\ta\\\\b\\tc\n4\t\\\\.\n5\t\"open $$ /* {\n6\ta;b\\nc\n"
    "7\té 🦊\n\\.\n\n"
    "create index on public.t (note);\n\n\\unrestrict aB'3\n"
)


async def states(dsn: str, folder: object) -> dict[str, str]:
    return {v.version: v.state for v in (await migrate_status(dsn, folder)).versions}  # type: ignore[arg-type]


@pytest.mark.parametrize(("ran", "now"), [(WRAPPED, BARE), (BARE, WRAPPED)])
async def test_a_wrapper_of_begin_and_commit_means_nothing(bare_db: str, write: Write, ran: str, now: str) -> None:
    """It is one transaction with its history row; taken away or put around afterwards it is no edit."""
    folder = read_folder(write({"1_a.sql": ran, "2_b.sql": "begin; select 1; select 1 / 0; commit;"}))
    result = await migrate_up(bare_db, folder)
    assert [step.outcome for step in result.steps] == ["applied", "failed"]
    assert await states(bare_db, folder) == {"1": "applied", "2": "pending"}
    changed = read_folder(write({"1_a.sql": now, "2_b.sql": "select 2"}))
    assert await states(bare_db, changed) == {"1": "applied", "2": "pending"}
    assert [s.migration.version for s in (await migrate_plan(bare_db, changed, Up())).steps] == ["2"]
    assert (await look(bare_db, changed)).disagreements == ()
    edited = read_folder(write({"1_a.sql": now.replace("integer", "bigint")}))
    assert (await states(bare_db, edited))["1"] == "edited"


async def test_what_another_tool_applied_with_a_wrapper_is_not_edited_without_it(
    bare_db: str, write: Write, connect: Connect
) -> None:
    folder = read_folder(write({"1_a.sql": WRAPPED}))
    await migrate_up(bare_db, folder)
    conn = await connect(bare_db)
    await conn.execute("truncate supabase_migrations.toolkit_events")
    assert await states(bare_db, read_folder(write({"1_a.sql": BARE}))) == {"1": "applied"}
    assert await states(bare_db, read_folder(write({"1_a.sql": BARE.replace("why", "not why")}))) == {"1": "edited"}


async def test_savepoints_run_in_the_files_transaction(bare_db: str, write: Write, connect: Connect) -> None:
    text = "create table public.a (id integer);\nsavepoint s;\ninsert into public.a values (1);\nrollback to s;\n"
    folder = read_folder(write({"1_a.sql": text + "insert into public.a values (2);\nrelease s;"}))
    assert (await dry_run(bare_db, folder, Up())).ok
    assert (await migrate_up(bare_db, folder)).ok
    assert await (await connect(bare_db)).fetchval("select array_agg(id) from public.a") == [2]


@pytest.mark.parametrize("text", ["", "-- nothing any more\n", "begin;\ncommit;", "-- toolkit: transaction=false\n"])
async def test_a_file_without_statements_is_applied_and_recorded(bare_db: str, write: Write, text: str) -> None:
    folder = read_folder(write({"1_a.sql": text, "rollbacks/1_a.sql": "-- nothing to undo\n"}))
    assert (await dry_run(bare_db, folder, Up(), may_copy_rows=True)).ok
    result = await migrate_up(bare_db, folder)
    assert (result.ok, [step.notes for step in result.steps]) == (True, [()])
    assert await states(bare_db, folder) == {"1": "applied"}
    assert (await migrate_down(bare_db, folder)).ok
    assert await states(bare_db, folder) == {"1": "pending"}


@pytest.mark.parametrize("header", ["", "-- toolkit: transaction=false\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_rows_of_a_dump_are_copied_as_psql_would(
    bare_db: str, write: Write, connect: Connect, header: str, end: str
) -> None:
    folder = write({"1_a.sql": ""})
    (folder / "1_a.sql").write_bytes((header + DUMP).replace("\n", end).encode())
    contents = read_folder(folder)
    assert (await dry_run(bare_db, contents, Up(), may_copy_rows=True)).ok
    result = await migrate_up(bare_db, contents)
    assert result.ok, [step.failure for step in result.steps]
    conn = await connect(bare_db)
    assert [tuple(row) for row in await conn.fetch("select * from public.t order by id")] == ROWS
    assert await states(bare_db, contents) == {"1": "applied"}


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ("with (format csv, header true, null 'NIL')", 'id,note\n1,"it\'s, so"\n2,NIL\n'),
        ("csv header null as 'NIL'", 'id,note\n1,"it\'s, so"\n2,NIL\n'),
        ("(delimiter '|', null '', encoding 'utf8')", "1|it's, so\n2|\n"),
        ("delimiter E'\\x01' null 'N'", "1\x01it's, so\n2\x01N\n"),
    ],
)
async def test_options_of_copy_are_kept(bare_db: str, write: Write, connect: Connect, options: str, lines: str) -> None:
    text = (
        f'create table public."T 1" (id integer, note text);\ncopy "T 1" (id, note) from stdin {options};\n{lines}\\.\n'
    )
    result = await migrate_up(bare_db, read_folder(write({"1_a.sql": text})))
    assert result.ok, [step.failure for step in result.steps]
    rows = await (await connect(bare_db)).fetch('select * from public."T 1" order by id')
    assert [tuple(row) for row in rows] == [(1, "it's, so"), (2, None)]


async def test_a_row_that_does_not_fit_fails_with_its_line_and_leaves_nothing(
    bare_db: str, write: Write, connect: Connect
) -> None:
    text = "create table public.t (id integer);\n\ncopy public.t from stdin;\n1\nx\n\\.\n"
    (step,) = (await migrate_up(bare_db, read_folder(write({"1_a.sql": text})))).steps
    assert step.failure is not None
    assert str(step.failure).startswith("1_a.sql:3, statement 2: invalid input syntax for type integer")
    assert await (await connect(bare_db)).fetchval("select to_regclass('public.t')") is None


async def test_a_row_of_the_history_with_copied_rows_becomes_a_file_that_runs(bare_db: str, write: Write) -> None:
    folder = write({"1_a.sql": DUMP, "2_b.sql": "select 2"})
    await migrate_up(bare_db, read_folder(folder))
    (folder / "1_a.sql").unlink()
    contents = read_folder(folder)
    await mend(bare_db, contents, await look(bare_db, contents))
    written = read_folder(folder)
    assert [step.migration.version for step in (await migrate_plan(bare_db, written, Up())).steps] == []
    assert written.migrations[0].up.problem is None
    assert [statement.rows is None for statement in written.migrations[0].up.statements] == [True, False, True]


BAD = "select 1;\ncommit;\nselect 2;"


async def test_readers_go_on_beside_a_file_that_is_refused(
    bare_db: str,
    write: Write,
    subject_of: SubjectOf,  # noqa: F811
) -> None:
    """Applied (by another tool) or pending: only a run of it is refused."""
    files = {
        "1_a.sql": "create table public.a (id integer primary key);",
        "verify/1_a.sql": "-- check: A it is there\nselect 1 where to_regclass('public.a') is null;",
        "2_bad.sql": BAD,
        "verify/2_bad.sql": "select 'never ends",
        "3_c.sql": "create table public.c (id integer primary key);",
    }
    folder = read_folder(write(files))
    with pytest.raises(MigrationRefused, match=r"2_bad\.sql:2: the file controls transactions itself") as caught:
        await migrate_up(bare_db, folder)
    assert [refusal.code for refusal in caught.value.refusals] == ["refused-file"]
    assert (await migrate_up(bare_db, folder, to="1")).ok
    assert await states(bare_db, folder) == {"1": "applied", "2": "refused", "3": "pending"}
    assert (await look(bare_db, folder)).in_step == ("1",)
    assert [check.verdict.value for check in (await drift_from_folder(bare_db, folder)).checks] == ["pass"]
    await _record_as_another_tool(bare_db, folder)
    assert await states(bare_db, folder) == {"1": "applied", "2": "applied", "3": "pending"}
    verified = {check.id: check for check in (await migrate_verify(bare_db, folder, generic=False)).checks}
    assert {key: check.verdict.value for key, check in verified.items()} == {"A": "pass", "2-verify": "unknown"}
    assert "2_bad.sql:1: the quoted string" in verified["2-verify"].detail
    (replayed,) = (await drift_from_folder(bare_db, folder)).checks[1:]
    assert (replayed.verdict.value, "2_bad.sql:2: the file controls" in replayed.detail) == ("unknown", True)
    assert (await migrate_up(bare_db, folder)).ok
    subject = await subject_of(files)
    found = await prove(subject, ("replay",))
    claims = {
        (claim.version, claim.level): claim for one in found for claim in one.outcome.claims if not claim.by_request
    }
    assert ("1", Level.PROVED) in claims
    assert {level for version, level in claims if version in {"2", "3"}} == {Level.NOT_CHECKED}
    assert "2_bad.sql:2: the file controls transactions" in claims["3", Level.NOT_CHECKED].basis


async def _record_as_another_tool(dsn: str, folder: object) -> None:
    from toolkit.migrate.run.history import Runner
    from toolkit.postgres.connection import connected

    bad = folder.get("2")  # type: ignore[attr-defined]
    async with connected(dsn) as conn, conn.transaction():
        await record_applied(conn, bad, duration_ms=0, runner=Runner.of_this_process())
        await conn.execute("delete from supabase_migrations.toolkit_events where version = '2'")


async def test_two_files_of_one_version_are_told_and_only_a_run_is_refused(bare_db: str, write: Write) -> None:
    folder = read_folder(write({"1_a.sql": "create table public.a ();", "2_b.sql": "create table public.b ();"}))
    assert (await migrate_up(bare_db, folder)).ok
    both = read_folder(write({"2_aa.sql": "create table public.aa ();", "3_c.sql": "create table public.c ();"}))
    found = [(v.version, v.name, v.state) for v in (await migrate_status(bare_db, both)).versions]
    assert found == [
        ("1", "a", "applied"),
        ("2", "b", "applied"),
        ("2", "aa", "refused"),
        ("3", "c", "pending"),
    ]
    with pytest.raises(MigrationRefused, match=r"2_b\.sql and 2_aa\.sql have the same version 2"):
        await migrate_up(bare_db, both)
    assert not [c for c in (await drift_from_folder(bare_db, both)).checks if c.verdict.value != "pass"]


async def test_ejected_migrations_work_beside_a_foreign_history(bare_db: str, write: Write) -> None:
    folder = write({"20260101000000_users.sql": "create table public.users (id integer primary key);"})
    assert (await migrate_up(bare_db, read_folder(folder))).ok
    eject(read_folder(migrations_dir()), folder, datetime.now(UTC))
    contents = read_folder(folder)
    assert (await migrate_up(bare_db, contents)).ok
    assert set((await states(bare_db, contents)).values()) == {"applied"}
    probes = probes_of(contents)
    verified = await migrate_verify(bare_db, contents, probes=probes, generic=False)
    bad = {check.id for check in verified.checks if check.verdict.value != "pass"}
    assert bad == {"20260101000000-verify"}, "the project's own file has no verify file"
    assert {probe.id for (_, found) in probes.items() for probe in found} <= {check.id for check in verified.checks}
    assert (await look(bare_db, contents)).disagreements == ()
    assert (await migrate_down(bare_db, contents, last=1)).ok
